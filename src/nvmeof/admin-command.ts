import type { Controller } from './controller.ts';
import type { Queue } from './queue.ts';
import type { NextStep, Request } from './request.ts';

/** One row of the dispatch table for the admin queue of one kind of controller. The Commands Supported and Effects log shows the same rows. */
export interface AdminCommand<Of extends Controller = Controller> {
	/** The standard's name. */
	readonly name: string;
	readonly opcode: number;
	start(controller: Of, request: Request, queue: Queue): NextStep;
	/** Goes on with the data, if start() answers `parameters`. */
	parameters?(controller: Of, request: Request, data: Buffer, queue: Queue): NextStep;
}

/** Commands by opcode; throws at load if two have the same. */
export function byOpcode<Of extends Controller>(commands: readonly AdminCommand<Of>[]): ReadonlyMap<number, AdminCommand<Of>> {
	const table = new Map<number, AdminCommand<Of>>();
	for (const command of commands) {
		if (table.has(command.opcode)) throw new Error(`${command.name}: opcode is taken`);
		table.set(command.opcode, command);
	}
	return table;
}
