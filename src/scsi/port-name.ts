/** RFC 7143 §4.4.2: name of the initiator port of a session. The same for every spelling of its parts. */
export function initiatorPortName(initiatorName: string, isid: string): string {
	return `${initiatorName.toLowerCase()}${initiatorPortMark}${isid.toLowerCase()}`;
}

/** RFC 7143 §4.4.2: name of the target port that a portal group is. */
export function targetPortName(targetName: string, targetPortalGroupTag: number): string {
	return `${targetName}${targetPortMark}${targetPortalGroupTag.toString(16).padStart(4, '0')}`;
}

/** The portal group tag in a name that targetPortName() made; 0 in any other. */
export function targetPortalGroupTagIn(portName: string): number {
	const at = portName.lastIndexOf(targetPortMark);
	return at < 0 ? 0 : Number.parseInt(portName.slice(at + targetPortMark.length), 16);
}

/** What stands between the name and the ISID, also in a TransportID (SPC-4). */
export const initiatorPortMark = ',i,0x';
const targetPortMark = ',t,0x';
