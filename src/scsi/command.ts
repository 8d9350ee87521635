import { bits } from './field.ts';
import type { Field } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus } from './nexus.ts';
import type { Access } from './outcome-sense.ts';
import type { ReservationGroup } from './reservation-group.ts';
import type { NextStep, ScsiTask } from './task.ts';

/** One row of the dispatch table; REPORT SUPPORTED OPERATION CODES shows the same rows. */
export interface Command extends CommandRow {
	readonly serviceAction: number | undefined;
	/** CDB usage data (SPC-4): operation code, then a 1 for each bit that is looked at. Its length is that of the CDB. */
	readonly usage: readonly number[];
	/** NACA of the CONTROL byte, the last of the CDB. */
	readonly naca: Field;
	readonly access: Access;
	readonly attention: 'reported' | 'exempt';
	readonly duringSanitize: boolean;
	readonly timeoutSeconds: number;
	readonly isOffered: (unit: LogicalUnit) => boolean;
}

export interface CommandRow {
	/** The standard's name. */
	readonly name: string;
	readonly opcode: number;
	readonly serviceAction?: number | undefined;
	readonly lengthBytes: 6 | 10 | 12 | 16;
	/** The fields of the CDB that are looked at, besides operation code, service action and NACA. Reserved and ignored bits are in no field. */
	readonly fields: Readonly<Record<string, Field>>;
	/** How it gets on with reservations of others; some depend on what the CDB asks for. */
	readonly reservation: ReservationGroup | ((cdb: Buffer) => ReservationGroup);
	/** What it does to the medium; default none. */
	readonly access?: Access;
	/** `exempt`: carried out although a unit attention waits (SAM-5); default reported. */
	readonly attention?: 'reported' | 'exempt';
	/** Carried out while the unit is being sanitized, or that has failed; default false. */
	readonly duringSanitize?: boolean;
	/** Whether a unit has it; default always. */
	readonly isOffered?: (unit: LogicalUnit) => boolean;
	/** What an initiator should wait at least (SPC-4, RECOMMENDED COMMAND TIMEOUT); default limits.timeoutSeconds. */
	readonly timeoutSeconds?: number;
	start(unit: LogicalUnit, task: ScsiTask, nexus: Nexus): NextStep;
	/** Goes on with the data-out, if start() answers `parameters`. */
	parameters?(unit: LogicalUnit, task: ScsiTask, data: Buffer): NextStep;
}

/** Where a CDB has its service action, if its operation code has any. */
export const serviceAction = bits(1, 0, 5);

/** Completes a row; throws at load if two fields overlap or one leaves the CDB. */
export function defineCommand(row: CommandRow): Command {
	const naca = bits(row.lengthBytes - 1, 2, 1);
	const usage = Array.from({ length: row.lengthBytes }, () => 0);
	const fields: [string, Field][] = [...Object.entries(row.fields), ['naca', naca]];
	if (row.serviceAction !== undefined) fields.push(['serviceAction', serviceAction]);
	for (const [name, field] of fields) {
		for (const [index, mask] of field.mask.entries()) {
			const at = field.byte + index;
			if (at === 0 || at >= row.lengthBytes || (usage[at]! & mask) !== 0)
				throw new Error(`${row.name}: field ${name} does not fit at byte ${at}`);
			usage[at]! |= mask;
		}
	}
	usage[0] = row.opcode;
	// SPC-4: in the usage data the service action's field holds its value.
	if (row.serviceAction !== undefined) usage[1] = (usage[1]! & ~0x1f) | row.serviceAction;
	const { serviceAction: action, access = 'none', attention = 'reported', timeoutSeconds = limits.timeoutSeconds } = row;
	const { duringSanitize = false, isOffered = () => true } = row;
	return { ...row, serviceAction: action, usage, naca, access, attention, duringSanitize, isOffered, timeoutSeconds };
}
