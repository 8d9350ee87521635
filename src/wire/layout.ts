/**
 * Wire formats as tables: rows in the order of the standard's figure, byte offsets stated, reserved bytes written down.
 * layout() refuses at load what a typing slip makes of such a table: a hole, an overlap, a wrong total.
 *
 * A field is read and written alone, at an offset into any buffer; nothing is decoded that nobody asks for.
 */
export interface Field<Value> {
	readonly offset: number;
	/** In bytes; a bits() field takes part of one byte. */
	readonly size: number;
	/** The bits of its byte that a bits() field takes; 0xff for all others. */
	readonly mask: number;
	get(buffer: Uint8Array, base: number): Value;
	set(buffer: Uint8Array, base: number, value: Value): void;
}

/** Bytes that the standard reserves: sent as zero, ignored on receipt. */
export interface Reserved {
	readonly offset: number;
	readonly size: number;
	readonly mask: number;
}

type Fields = Record<string, Field<number> | Field<bigint> | Field<Uint8Array> | Reserved>;

export type Layout<Rows extends Fields> = Readonly<Rows> & { readonly sizeBytes: number };

/** Throws Error when the rows do not cover exactly `size` bytes once. A byte of bits() rows may leave bits unnamed: they are reserved. */
export function layout<Rows extends Fields>(name: string, size: number, rows: Rows): Layout<Rows> {
	const taken = new Uint8Array(size);
	let reached = -1;
	for (const [row, field] of Object.entries(rows)) {
		if (field.offset < reached) throw new Error(`${name}.${row}: byte ${field.offset} stands behind byte ${reached} in the table`);
		reached = field.offset;
		if (field.size < 1 || field.mask < 1 || field.mask > 0xff) throw new Error(`${name}.${row} is empty or no field`);
		if (field.offset + field.size > size) throw new Error(`${name}.${row} ends at byte ${field.offset + field.size} of ${size}`);
		for (let at = field.offset; at < field.offset + field.size; at++) {
			if ((taken[at]! & field.mask) !== 0) throw new Error(`${name}.${row} overlaps another field at byte ${at}`);
			taken[at]! |= field.mask;
		}
	}
	const hole = taken.indexOf(0);
	if (hole >= 0) throw new Error(`${name}: byte ${hole} of ${size} is in no field`);
	return Object.freeze({ ...rows, sizeBytes: size });
}

export function u8(offset: number): Field<number> {
	return whole(
		offset,
		1,
		(buffer, base) => buffer[base + offset]!,
		(buffer, base, value) => {
			buffer[base + offset] = value;
		},
	);
}

export function u16be(offset: number): Field<number> {
	return whole(
		offset,
		2,
		(buffer, base) => (buffer[base + offset]! << 8) | buffer[base + offset + 1]!,
		(buffer, base, value) => {
			buffer[base + offset] = value >>> 8;
			buffer[base + offset + 1] = value;
		},
	);
}

export function u24be(offset: number): Field<number> {
	return whole(
		offset,
		3,
		(buffer, base) => (buffer[base + offset]! << 16) | (buffer[base + offset + 1]! << 8) | buffer[base + offset + 2]!,
		(buffer, base, value) => {
			buffer[base + offset] = value >>> 16;
			buffer[base + offset + 1] = value >>> 8;
			buffer[base + offset + 2] = value;
		},
	);
}

export function u32be(offset: number): Field<number> {
	return whole(
		offset,
		4,
		(buffer, base) => {
			const at = base + offset;
			return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
		},
		(buffer, base, value) => {
			const at = base + offset;
			buffer[at] = value >>> 24;
			buffer[at + 1] = value >>> 16;
			buffer[at + 2] = value >>> 8;
			buffer[at + 3] = value;
		},
	);
}

export function u16le(offset: number): Field<number> {
	return whole(
		offset,
		2,
		(buffer, base) => buffer[base + offset]! | (buffer[base + offset + 1]! << 8),
		(buffer, base, value) => {
			buffer[base + offset] = value;
			buffer[base + offset + 1] = value >>> 8;
		},
	);
}

export function u32le(offset: number): Field<number> {
	return whole(
		offset,
		4,
		(buffer, base) => {
			const at = base + offset;
			return (buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24)) >>> 0;
		},
		(buffer, base, value) => {
			const at = base + offset;
			buffer[at] = value;
			buffer[at + 1] = value >>> 8;
			buffer[at + 2] = value >>> 16;
			buffer[at + 3] = value >>> 24;
		},
	);
}

export function u64le(offset: number): Field<bigint> {
	const low = u32le(offset);
	const high = u32le(offset + 4);
	return whole(
		offset,
		8,
		(buffer, base) => (BigInt(high.get(buffer, base)) << 32n) | BigInt(low.get(buffer, base)),
		(buffer, base, value) => {
			low.set(buffer, base, Number(value & 0xffffffffn));
			high.set(buffer, base, Number((value >> 32n) & 0xffffffffn));
		},
	);
}

/** 64 bits as a bigint: it lives on the wire only, convert it once and check its range. */
export function u64be(offset: number): Field<bigint> {
	const high = u32be(offset);
	const low = u32be(offset + 4);
	return whole(
		offset,
		8,
		(buffer, base) => (BigInt(high.get(buffer, base)) << 32n) | BigInt(low.get(buffer, base)),
		(buffer, base, value) => {
			high.set(buffer, base, Number((value >> 32n) & 0xffffffffn));
			low.set(buffer, base, Number(value & 0xffffffffn));
		},
	);
}

/** `width` bits of one byte, the lowest of them bit `shift` (bit 0 is the least significant). set() leaves the byte's other bits alone. */
export function bits(offset: number, shift: number, width: number): Field<number> {
	const low = (1 << width) - 1;
	const mask = low << shift;
	return Object.freeze({
		offset,
		size: 1,
		mask: mask > 0xff ? 0 : mask,
		get: (buffer: Uint8Array, base: number) => (buffer[base + offset]! >>> shift) & low,
		set: (buffer: Uint8Array, base: number, value: number) => {
			buffer[base + offset] = (buffer[base + offset]! & ~mask) | ((value & low) << shift);
		},
	});
}

/** A run of bytes. get() is a view of the buffer, not a copy. */
export function bytes(offset: number, size: number): Field<Uint8Array> {
	return whole<Uint8Array>(
		offset,
		size,
		(buffer, base) => buffer.subarray(base + offset, base + offset + size),
		(buffer, base, value) => {
			if (value.length !== size) throw new RangeError(`${value.length} bytes for a field of ${size}`);
			buffer.set(value, base + offset);
		},
	);
}

export function reserved(offset: number, size: number): Reserved {
	return Object.freeze({ offset, size, mask: 0xff });
}

function whole<Value>(offset: number, size: number, get: Field<Value>['get'], set: Field<Value>['set']): Field<Value> {
	return Object.freeze({ offset, size, mask: 0xff, get, set });
}
