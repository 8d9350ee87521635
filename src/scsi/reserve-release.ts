import { defineCommand } from './command.ts';
import type { Command } from './command.ts';
import { bits } from './field.ts';

const thirdParty = bits(1, 4, 1);
const extent = bits(1, 0, 1);

/**
 * SPC-2, RESERVE and RELEASE of the whole unit, for one nexus; SPC-4 keeps what they do beside persistent reservations (CRH). Reservations for a third party
 * and of extents do not exist, and without them nothing else in the CDB means anything.
 */
export const reserve6 = unitReservation('RESERVE (6)', 0x16, 6, 'reserveUnit');
export const release6 = unitReservation('RELEASE (6)', 0x17, 6, 'releaseUnit');
export const reserve10 = unitReservation('RESERVE (10)', 0x56, 10, 'reserveUnit');
export const release10 = unitReservation('RELEASE (10)', 0x57, 10, 'releaseUnit');

function unitReservation(name: string, opcode: number, lengthBytes: 6 | 10, operation: 'reserveUnit' | 'releaseUnit'): Command {
	return defineCommand({
		name,
		opcode,
		lengthBytes,
		fields: { thirdParty, extent },
		reservation: 'free',
		start(unit, task, nexus) {
			if (thirdParty.get(task.cdb) !== 0) return unit.invalidField(task, thirdParty);
			if (extent.get(task.cdb) !== 0) return unit.invalidField(task, extent);
			return unit.reservations[operation](nexus.registrant) === 'good' ? 'finished' : unit.conflict(task);
		},
	});
}
