/** What a device server knows of the target port through which a nexus reaches it. */
export interface TargetPort {
	/** iSCSI name of the target. */
	readonly name: string;
	readonly targetPortalGroupTag: number;
	/** LUNs that REPORT LUNS lists, ascending. */
	luns(): readonly number[];
	/** A nexus has read the LUN inventory: its REPORTED LUNS DATA HAS CHANGED are void on all logical units (SAM-5, unit attention conditions). */
	lunsReported(nexus: Nexus): void;
}

/** An I_T nexus: one iSCSI session. Two sessions of one initiator are two nexuses (RFC 7143 §4.4.2: initiator name and ISID name the port). */
export class Nexus {
	readonly initiatorName: string;
	/** 12 hex digits. */
	readonly isid: string;
	/** Set by ScsiTarget.attach(). */
	port: TargetPort | undefined = undefined;

	constructor(initiatorName: string, isid: string) {
		if (!/^[0-9a-f]{12}$/i.test(isid)) throw new RangeError(`not an ISID of 12 hex digits: ${isid}`);
		this.initiatorName = initiatorName;
		this.isid = isid;
	}
}
