import type { Registrant } from '../reservation/registrant.ts';
import type { ReservationTable } from '../reservation/reservation-table.ts';
import type { Command } from './command.ts';

/**
 * How a command gets on with the reservations of others (SPC-4 and SBC-3, commands allowed in the presence of various reservations; SPC-2 for RESERVE).
 * X: RESERVATION CONFLICT. Those whom a type makes holders or registrants are not stopped by it.
 *
 * | Group       | RESERVE | Write Exclusive types | Exclusive Access types | Commands                                                      |
 * | ----------- | ------- | --------------------- | ---------------------- | ------------------------------------------------------------- |
 * | free        |         |                       |                        | INQUIRY, READ CAPACITY; those that look for themselves        |
 * | ready       | X       |                       |                        | TEST UNIT READY                                               |
 * | read        | X       |                       | X                      | what looks at the medium or at settings                       |
 * | write       | X       | X                     | X                      | what changes either                                           |
 * | persistent  | X (*)   |                       |                        | PERSISTENT RESERVE IN and OUT, which look for themselves      |
 *
 * (*) also for who has the unit: the two methods exclude each other.
 */
export type ReservationGroup = 'free' | 'ready' | 'read' | 'write' | 'persistent';

/** Whether a command of the nexus meets RESERVATION CONFLICT. Called only while the table restricts anything. */
export function conflicts(table: ReservationTable, command: Command, cdb: Buffer, registrant: Registrant): boolean {
	const group = typeof command.reservation === 'function' ? command.reservation(cdb) : command.reservation;
	switch (group) {
		case 'free':
			return false;
		case 'ready':
			return table.unitHolder !== undefined && table.unitHolder.name !== registrant.name;
		case 'persistent':
			return table.unitHolder !== undefined;
		case 'read':
		case 'write':
			return !table.allows(registrant, group);
		default:
			return group satisfies never;
	}
}
