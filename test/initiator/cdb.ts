import { putU32 } from './wire.ts';

/** Command descriptor blocks of SPC-4 and SBC-3, written into a 16-byte buffer that is cleared first. LBAs up to 2^53. */
function start(cdb: Uint8Array, code: number): void {
	cdb.fill(0);
	cdb[0] = code;
}

function putU64(buffer: Uint8Array, at: number, value: number): void {
	putU32(buffer, at, Math.floor(value / 0x1_0000_0000));
	putU32(buffer, at + 4, value);
}

function putU16(buffer: Uint8Array, at: number, value: number): void {
	buffer[at] = value >>> 8;
	buffer[at + 1] = value;
}

const fuaBit = 0x08;

function transfer10(cdb: Uint8Array, code: number, lba: number, blocks: number, flags: number): void {
	start(cdb, code);
	cdb[1] = flags;
	putU32(cdb, 2, lba);
	putU16(cdb, 7, blocks);
}

function transfer16(cdb: Uint8Array, code: number, lba: number, blocks: number, flags: number): void {
	start(cdb, code);
	cdb[1] = flags;
	putU64(cdb, 2, lba);
	putU32(cdb, 10, blocks);
}

export function read10(cdb: Uint8Array, lba: number, blocks: number, fua = false): void {
	transfer10(cdb, 0x28, lba, blocks, fua ? fuaBit : 0);
}

export function read16(cdb: Uint8Array, lba: number, blocks: number, fua = false): void {
	transfer16(cdb, 0x88, lba, blocks, fua ? fuaBit : 0);
}

export function write10(cdb: Uint8Array, lba: number, blocks: number, fua = false): void {
	transfer10(cdb, 0x2a, lba, blocks, fua ? fuaBit : 0);
}

export function write16(cdb: Uint8Array, lba: number, blocks: number, fua = false): void {
	transfer16(cdb, 0x8a, lba, blocks, fua ? fuaBit : 0);
}

/** 0 blocks: all of the medium. */
export function synchronizeCache10(cdb: Uint8Array, lba = 0, blocks = 0): void {
	transfer10(cdb, 0x35, lba, blocks, 0);
}

export function synchronizeCache16(cdb: Uint8Array, lba = 0, blocks = 0): void {
	transfer16(cdb, 0x91, lba, blocks, 0);
}

/** Data-out: one logical block (none with `noDataOut`), repeated over the range. */
export function writeSame16(cdb: Uint8Array, lba: number, blocks: number, options: { unmap?: boolean; noDataOut?: boolean } = {}): void {
	transfer16(cdb, 0x93, lba, blocks, (options.unmap ? 0x08 : 0) | (options.noDataOut ? 0x01 : 0));
}

export function unmap(cdb: Uint8Array, parameterBytes: number): void {
	start(cdb, 0x42);
	putU16(cdb, 7, parameterBytes);
}

/** The parameter list of UNMAP: SBC-3, block descriptors of 16 bytes. */
export function unmapParameters(ranges: readonly { lba: number; blocks: number }[]): Buffer {
	const list = Buffer.alloc(8 + ranges.length * 16);
	putU16(list, 0, list.length - 2);
	putU16(list, 2, ranges.length * 16);
	ranges.forEach(({ lba, blocks }, index) => {
		putU64(list, 8 + index * 16, lba);
		putU32(list, 16 + index * 16, blocks);
	});
	return list;
}

export function testUnitReady(cdb: Uint8Array): void {
	start(cdb, 0x00);
}

/** `page`: a vital product data page, or undefined for the standard data. */
export function inquiry(cdb: Uint8Array, page: number | undefined, allocationBytes: number): void {
	start(cdb, 0x12);
	cdb[1] = page === undefined ? 0 : 1;
	cdb[2] = page ?? 0;
	putU16(cdb, 3, allocationBytes);
}

export function readCapacity10(cdb: Uint8Array): void {
	start(cdb, 0x25);
}

export function readCapacity16(cdb: Uint8Array, allocationBytes = 32): void {
	start(cdb, 0x9e);
	cdb[1] = 0x10;
	putU32(cdb, 10, allocationBytes);
}

export function reportLUNs(cdb: Uint8Array, allocationBytes: number): void {
	start(cdb, 0xa0);
	putU32(cdb, 6, allocationBytes);
}

export function modeSense6(cdb: Uint8Array, page: number, allocationBytes: number): void {
	start(cdb, 0x1a);
	cdb[2] = page;
	cdb[4] = allocationBytes;
}

export function requestSense(cdb: Uint8Array, allocationBytes: number): void {
	start(cdb, 0x03);
	cdb[4] = allocationBytes;
}
