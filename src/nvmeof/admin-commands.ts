import { abort } from './abort.ts';
import { type AdminCommand, byOpcode } from './admin-command.ts';
import { asynchronousEventRequest, keepAlive } from './common-commands.ts';
import { getFeatures, setFeatures } from './features.ts';
import { defineGetLogPage } from './get-log-page.ts';
import { identify } from './identify.ts';
import { findLogPage } from './log-pages.ts';
import type { NvmController } from './nvm-controller.ts';

/** Every admin command of an I/O controller besides the Fabrics commands, once. Ascending by opcode. */
export const adminCommands: readonly AdminCommand<NvmController>[] = [
	defineGetLogPage(findLogPage),
	identify,
	abort,
	setFeatures,
	getFeatures,
	asynchronousEventRequest,
	keepAlive,
];

const table = byOpcode(adminCommands);

export function findAdminCommand(opcode: number): AdminCommand<NvmController> | undefined {
	return table.get(opcode);
}
