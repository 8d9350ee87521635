import { u32le } from '../wire/layout.ts';
import type { Field } from '../wire/layout.ts';

/**
 * 64 bits as a number. Above 2^53 it comes in rounded, where every value is beyond any capacity, so a field that is compared with a bound needs no bigint. set() takes integers up to 2^53.
 */
export function number64le(offset: number): Field<number> {
	const low = u32le(offset);
	const high = u32le(offset + 4);
	return Object.freeze({
		offset,
		size: 8,
		mask: 0xff,
		get: (buffer: Uint8Array, base: number) => high.get(buffer, base) * 2 ** 32 + low.get(buffer, base),
		set: (buffer: Uint8Array, base: number, value: number) => {
			low.set(buffer, base, value % 2 ** 32);
			high.set(buffer, base, Math.floor(value / 2 ** 32));
		},
	});
}

/** 128 bits, of which as many are used as a number holds. */
export function number128le(offset: number): Field<number> {
	const low = number64le(offset);
	return Object.freeze({
		offset,
		size: 16,
		mask: 0xff,
		get: (buffer: Uint8Array, base: number) => low.get(buffer, base),
		set: (buffer: Uint8Array, base: number, value: number) => {
			low.set(buffer, base, value);
			buffer.fill(0, base + offset + 8, base + offset + 16);
		},
	});
}
