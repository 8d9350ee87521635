import type { Registrant } from '../reservation/registrant.ts';
import { bits, u16be } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import { initiatorPortMark, initiatorPortName } from './port-name.ts';

/** SPC-4, TransportID. */
const header = { formatCode: bits(0, 6, 2), protocolIdentifier: bits(0, 0, 4), additionalLength: u16be(2) };
const transportIdHeaderBytes = 4;
/** SPC-4, iSCSI TransportID: at least 20 bytes behind the header, and a multiple of 4. */
const shortestAdditionalLength = 20;

const protocol = { iscsi: 5, none: 0xf } as const;
const format = { deviceName: 0, portName: 1 } as const;

/** An initiator port that a TransportID names; all ports of the initiator if it says no ISID. */
export interface InitiatorPort {
	/** Lower case. */
	readonly initiatorName: string;
	/** As initiatorPortName() has it. */
	readonly portName: string | undefined;
}

/**
 * Who is registered. SCSI has no TransportID for an NVMe host: it is shown as one of no specific protocol with its HOSTID in bytes 8 to 23, so that an
 * initiator sees that somebody is registered, and that two are not one.
 */
export function transportId(registrant: Registrant): Buffer {
	if (registrant.protocol === 'nvme') {
		const data = Buffer.alloc(transportIdHeaderBytes + shortestAdditionalLength);
		header.protocolIdentifier.set(data, protocol.none);
		data.write(registrant.id, 8, 'hex');
		return data;
	}
	const text = Buffer.from(registrant.id, 'utf8');
	// Null-terminated, null-padded.
	const additionalLength = Math.max(shortestAdditionalLength, Math.ceil((text.length + 1) / 4) * 4);
	const data = Buffer.alloc(transportIdHeaderBytes + additionalLength);
	header.formatCode.set(data, format.portName);
	header.protocolIdentifier.set(data, protocol.iscsi);
	header.additionalLength.set(data, additionalLength);
	text.copy(data, transportIdHeaderBytes);
	return data;
}

/** Reads the TransportID at the beginning of `data`. Otherwise the field that is wrong, counted from there. */
export function parseTransportId(data: Buffer): { port: InitiatorPort; lengthBytes: number } | { wrong: Pick<Field, 'byte' | 'bit'> } {
	if (data.length < transportIdHeaderBytes) return { wrong: header.additionalLength };
	if (header.protocolIdentifier.get(data) !== protocol.iscsi) return { wrong: header.protocolIdentifier };
	const code = header.formatCode.get(data);
	if (code > format.portName) return { wrong: header.formatCode };
	const additionalLength = header.additionalLength.get(data);
	const lengthBytes = transportIdHeaderBytes + additionalLength;
	if (additionalLength < shortestAdditionalLength || additionalLength % 4 !== 0 || lengthBytes > data.length)
		return { wrong: header.additionalLength };
	const text = data.subarray(transportIdHeaderBytes, lengthBytes);
	const end = text.indexOf(0);
	const port = end < 0 ? undefined : portOf(text.toString('utf8', 0, end), code);
	return port === undefined ? { wrong: { byte: transportIdHeaderBytes, bit: 7 } } : { port, lengthBytes };
}

function portOf(text: string, code: number): InitiatorPort | undefined {
	if (code === format.deviceName) return isName(text) ? { initiatorName: text.toLowerCase(), portName: undefined } : undefined;
	const at = text.lastIndexOf(initiatorPortMark);
	if (at < 0) return undefined;
	const name = text.slice(0, at);
	const isid = text.slice(at + initiatorPortMark.length);
	// Leading zeros of the number may be left out.
	if (!isName(name) || !/^[0-9a-f]{1,12}$/i.test(isid)) return undefined;
	return { initiatorName: name.toLowerCase(), portName: initiatorPortName(name, isid.padStart(12, '0')) };
}

/** RFC 7143 §4.2.7. */
function isName(text: string): boolean {
	return /^(?:iqn|eui|naa)\.[^\s\p{C}]+$/iu.test(text) && Buffer.byteLength(text) <= limits.iscsiNameBytes;
}
