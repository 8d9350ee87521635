import { crc32cOfRange } from '../wire/crc32c.ts';
import { writeU64 } from './u64.ts';

/**
 * docs/format.md, "page map": 512-byte sectors of 126 entries, each sector with its own checksum, so that a write torn between sectors leaves
 * every sector old or new. Eight sectors are a block, the unit of caching and I/O.
 */
export const entriesPerSector = 126;
export const sectorBytes = 512;
export const blockBytes = 4096;
export const sectorsPerBlock = blockBytes / sectorBytes;
export const entriesPerBlock = entriesPerSector * sectorsPerBlock;

/** Map entries that are no checksum. */
export const entryAbsent = 0;
export const entryZero = 1;
/** The page's checksum is gone (its map sector was damaged): every read is a medium error until the page is written anew. */
export const entryLost = 2;

const magic = 0x4d505642; // 'BVPM'

/** Byte offset of an entry inside its block. */
export function entryOffset(page: number): number {
	const inBlock = page % entriesPerBlock;
	const sector = Math.floor(inBlock / entriesPerSector);
	return sector * sectorBytes + 8 + (inBlock - sector * entriesPerSector) * 4;
}

const address = Buffer.alloc(16);

/** A sector's checksum covers which layer and which sector it belongs to: one from elsewhere does not look right. */
function checksum(block: Buffer, at: number, layer: number, sector: number): number {
	writeU64(address, layer, 0);
	writeU64(address, sector, 8);
	return crc32cOfRange(block, at + 4, at + sectorBytes, crc32cOfRange(address, 0, 16));
}

/** Seals the sectors of a block whose bits are set. A sector without entries becomes all zeros, which is how a hole reads. */
export function sealSectors(block: Buffer, layer: number, blockIndex: number, sectors: number): void {
	for (let sector = 0; sector < sectorsPerBlock; sector++) {
		if ((sectors & (1 << sector)) === 0) continue;
		const at = sector * sectorBytes;
		if (isZero(block, at + 8, at + sectorBytes)) {
			block.fill(0, at, at + 8);
			continue;
		}
		block.writeUInt32LE(magic, at + 4);
		block.writeUInt32LE(checksum(block, at, layer, blockIndex * sectorsPerBlock + sector), at);
	}
}

/** Bits of the sectors that are damaged; 0 when the whole block is sound. */
export function damagedSectors(block: Buffer, layer: number, blockIndex: number): number {
	let damaged = 0;
	for (let sector = 0; sector < sectorsPerBlock; sector++) {
		const at = sector * sectorBytes;
		const sound =
			block.readUInt32LE(at + 4) === magic
				? block.readUInt32LE(at) === checksum(block, at, layer, blockIndex * sectorsPerBlock + sector)
				: isZero(block, at, at + sectorBytes);
		if (!sound) damaged |= 1 << sector;
	}
	return damaged;
}

/** Makes every entry of the damaged sectors `lost`. */
export function markLost(block: Buffer, sectors: number): void {
	for (let sector = 0; sector < sectorsPerBlock; sector++) {
		if ((sectors & (1 << sector)) === 0) continue;
		for (let entry = 0; entry < entriesPerSector; entry++) block.writeUInt32LE(entryLost, sector * sectorBytes + 8 + entry * 4);
	}
}

function isZero(block: Buffer, from: number, to: number): boolean {
	for (let at = from; at < to; at += 4) if (block.readUInt32LE(at) !== 0) return false;
	return true;
}
