import { limits } from './limits.ts';

export type ReservationProtocol = 'iscsi' | 'nvme';

/**
 * Who registers. NVMe: a host, by its HOSTID in 32 hexadecimal digits, over whatever controllers it comes. SCSI: an I_T nexus, that is the initiator port
 * (`NAME,i,0xISID`) together with the target port (`NAME,t,0xTPGT`): the same initiator on another port is another registrant (SPC-4, registering).
 *
 * Made once for a session or a controller and then kept: the table compares `name`, which is built here.
 */
export class Registrant {
	readonly protocol: ReservationProtocol;
	readonly id: string;
	/** The target port; empty for NVMe, which has none in its registrations. */
	readonly port: string;
	/** Unique among all registrants of both protocols. */
	readonly name: string;

	constructor(protocol: ReservationProtocol, id: string, port = '') {
		if (id.length === 0 || id.length > limits.registrantIdLength) throw new RangeError(`a registrant's id has ${id.length} characters`);
		if (port.length > limits.registrantPortLength) throw new RangeError(`a registrant's port has ${port.length} characters`);
		this.protocol = protocol;
		this.id = id;
		this.port = port;
		this.name = `${protocol} ${id} ${port}`;
	}
}
