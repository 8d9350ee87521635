import { limits } from './limits.ts';

/** NVMe Base 2.0, Discovery Service: the NQN of every discovery subsystem. */
export const discoveryNQN = 'nqn.2014-08.org.nvmexpress.discovery';

/** The name in a field of 256 bytes of Connect; undefined if it is not ended by a zero, is too long or is no NQN. */
export function readNQN(field: Uint8Array): string | undefined {
	const end = field.indexOf(0);
	if (end < 0 || end > limits.nqnBytes) return undefined;
	const name = Buffer.from(field.buffer, field.byteOffset, end).toString('utf8');
	// What was no UTF-8 would come out with U+FFFD in it, and then two names could look alike.
	return name.startsWith('nqn.') && !name.includes('\u{FFFD}') ? name : undefined;
}
