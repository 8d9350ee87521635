import { limits } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

export type KeyValue = readonly [key: string, value: string];

const keyName = /^[A-Za-z][A-Za-z0-9.+@_#-]*$/;

/** RFC 7143 §6.1: pairs `key=value`, each ended by a NUL. Throws ProtocolError for anything else. The order is kept; duplicates are left to the caller. */
function parseText(data: Uint8Array): KeyValue[] {
	if (data.length > limits.textBytes) throw new ProtocolError(`${data.length} bytes of text`);
	const pairs: KeyValue[] = [];
	for (const pair of Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8').split('\0')) {
		// Some initiators pad with more NULs than one.
		if (pair === '') continue;
		const equals = pair.indexOf('=');
		if (equals < 0) throw new ProtocolError('text without "="');
		const key = pair.slice(0, equals);
		if (key.length > limits.keyNameBytes || !keyName.test(key)) throw new ProtocolError('text with a key that is no key name');
		pairs.push([key, pair.slice(equals + 1)]);
	}
	return pairs;
}

export function formatText(pairs: readonly KeyValue[]): Buffer {
	return Buffer.from(pairs.map(([key, value]) => `${key}=${value}\0`).join(''), 'utf8');
}

/**
 * Collects a text over PDUs with the C bit (§6.2). Bounded: what exceeds limits.textBytes is a ProtocolError.
 */
export class TextCollector {
	readonly #parts: Buffer[] = [];
	#bytes = 0;

	add(part: Uint8Array): void {
		this.#bytes += part.length;
		if (this.#bytes > limits.textBytes) throw new ProtocolError(`more than ${limits.textBytes} bytes of text`);
		// Empty parts cost memory too, so they are not kept.
		if (part.length > 0) this.#parts.push(Buffer.from(part));
	}

	take(): KeyValue[] {
		const whole = Buffer.concat(this.#parts);
		this.clear();
		return parseText(whole);
	}

	clear(): void {
		this.#parts.length = 0;
		this.#bytes = 0;
	}
}
