import { Registrant } from '../reservation/registrant.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { initiatorPortName, targetPortName } from './port-name.ts';

/** What a device server knows of the target port through which a nexus reaches it. */
export interface TargetPort {
	/** iSCSI name of the target. */
	readonly name: string;
	readonly targetPortalGroupTag: number;
	/** LUNs that REPORT LUNS lists, ascending. */
	luns(): readonly number[];
	/** What the initiator reaches through it. */
	reachableUnits(): Iterable<LogicalUnit>;
	/** A nexus has read the LUN inventory: its REPORTED LUNS DATA HAS CHANGED are void on all logical units (SAM-5, unit attention conditions). */
	lunsReported(nexus: Nexus): void;
}

/** An I_T nexus: one iSCSI session. Two sessions of one initiator are two nexuses (RFC 7143 §4.4.2: initiator name and ISID name the port). */
export class Nexus {
	readonly initiatorName: string;
	/** 12 hex digits. */
	readonly isid: string;
	/** The transport's: ends the tasks that the nexus has on a unit, with TASK ABORTED, and calls back once when the device has nothing of them any more. */
	abortTasks: ((unit: LogicalUnit, ended: () => void) => void) | undefined = undefined;
	#port: TargetPort | undefined;
	#registrant: Registrant;

	constructor(initiatorName: string, isid: string) {
		if (!/^[0-9a-f]{12}$/i.test(isid)) throw new RangeError(`not an ISID of 12 hex digits: ${isid}`);
		this.initiatorName = initiatorName;
		this.isid = isid;
		this.#registrant = registrantThrough(initiatorPortName(initiatorName, isid), undefined);
	}

	/** Set by ScsiTarget.attach(). */
	get port(): TargetPort | undefined {
		return this.#port;
	}

	set port(port: TargetPort | undefined) {
		this.#port = port;
		this.#registrant = registrantThrough(this.#registrant.id, port);
	}

	/** The nexus in reservation tables: equal to that of an earlier session with the same names and ISID, so that registrations outlive sessions. */
	get registrant(): Registrant {
		return this.#registrant;
	}
}

/** The nexus of an initiator port, by its name, with a target port. */
export function registrantThrough(initiatorPort: string, port: TargetPort | undefined): Registrant {
	return new Registrant('iscsi', initiatorPort, port === undefined ? '' : targetPortName(port.name, port.targetPortalGroupTag));
}
