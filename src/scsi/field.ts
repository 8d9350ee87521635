/**
 * One field of a CDB, a parameter list or a page of data-in: where it stands and how to get at it. Numbers are big-endian, as everywhere in SCSI.
 * A 64-bit field is a number too: above 2^53 it is rounded, so compare it with a bound before any arithmetic.
 */
export interface Field {
	/** Byte offset of the field. */
	readonly byte: number;
	/** Most significant bit of the field within `byte`, as a field pointer wants it (SPC-4, sense key specific data). */
	readonly bit: number;
	/** Bytes that the field touches, and which of their bits. */
	readonly mask: readonly number[];
	get(buffer: Buffer): number;
	/** Sets the field in a zeroed buffer. */
	set(buffer: Buffer, value: number): void;
}

/** `width` bits of one byte, the lowest of them at `low`. */
export function bits(byte: number, low: number, width: number): Field {
	const mask = (1 << width) - 1;
	return {
		byte,
		bit: low + width - 1,
		mask: [mask << low],
		get: (buffer) => (buffer[byte]! >> low) & mask,
		set: (buffer, value) => {
			buffer[byte]! |= checked(value, mask) << low;
		},
	};
}

export function u8(byte: number): Field {
	return bits(byte, 0, 8);
}

export function u16be(byte: number): Field {
	return {
		byte,
		bit: 7,
		mask: [0xff, 0xff],
		get: (buffer) => (buffer[byte]! << 8) | buffer[byte + 1]!,
		set: (buffer, value) => void buffer.writeUInt16BE(value, byte),
	};
}

export function u24be(byte: number): Field {
	return {
		byte,
		bit: 7,
		mask: [0xff, 0xff, 0xff],
		get: (buffer) => (buffer[byte]! << 16) | (buffer[byte + 1]! << 8) | buffer[byte + 2]!,
		set: (buffer, value) => void buffer.writeUIntBE(value, byte, 3),
	};
}

/** 21 bits: the LBA of a 6-byte CDB. */
export function u21be(byte: number): Field {
	return {
		byte,
		bit: 4,
		mask: [0x1f, 0xff, 0xff],
		get: (buffer) => ((buffer[byte]! & 0x1f) << 16) | (buffer[byte + 1]! << 8) | buffer[byte + 2]!,
		set: (buffer, value) => void buffer.writeUIntBE(checked(value, 0x1fffff), byte, 3),
	};
}

export function u32be(byte: number): Field {
	return {
		byte,
		bit: 7,
		mask: [0xff, 0xff, 0xff, 0xff],
		get: (buffer) => ((buffer[byte]! << 24) | (buffer[byte + 1]! << 16) | (buffer[byte + 2]! << 8) | buffer[byte + 3]!) >>> 0,
		set: (buffer, value) => void buffer.writeUInt32BE(value, byte),
	};
}

export function u64be(byte: number): Field {
	const high = u32be(byte);
	const low = u32be(byte + 4);
	return {
		byte,
		bit: 7,
		mask: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
		get: (buffer) => high.get(buffer) * 0x1_0000_0000 + low.get(buffer),
		set: (buffer, value) => {
			high.set(buffer, Math.floor(checked(value, Number.MAX_SAFE_INTEGER) / 0x1_0000_0000));
			low.set(buffer, value % 0x1_0000_0000);
		},
	};
}

function checked(value: number, max: number): number {
	if (!(value >= 0 && value <= max)) throw new RangeError(`${value} does not fit a field whose largest value is ${max}`);
	return value;
}
