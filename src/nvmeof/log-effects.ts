import type { AdminCommand } from './admin-command.ts';
import { ioCommands } from './io-commands.ts';

/** NVMe Base 2.0, Commands Supported and Effects Log Page (05h): four bytes for each admin opcode, then for each I/O opcode. */
const pageBytes = 4096;
const ioOffset = 1024;
/** CSUPP and LBCC. The scope is not said: Linux takes any other bit of an I/O command for an unusual effect. */
const supported = 1;
const contentChanges = 1 << 1;

export function commandEffects(adminCommands: readonly Pick<AdminCommand, 'opcode'>[]): Buffer {
	const page = Buffer.alloc(pageBytes);
	for (const { opcode } of adminCommands) page.writeUInt32LE(supported, 4 * opcode);
	for (const { opcode, changesContent } of ioCommands) {
		page.writeUInt32LE(supported | (changesContent ? contentChanges : 0), ioOffset + 4 * opcode);
	}
	return page;
}
