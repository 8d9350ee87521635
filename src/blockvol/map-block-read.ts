import type { DiskFile } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import { blockBytes, damagedSectors } from './page-map-block.ts';

/** Of three reads one may lie. */
const attemptsMax = 3;
const emptyBlock = Buffer.alloc(blockBytes);

/**
 * Reads a block of a page map; returns bits of its damaged sectors, 0 if it is sound. One misread must not make 126 pages unreadable, or absent: what looks damaged is read again, and so is
 * a block without entries where `expectsEntries`, which is what a read of the wrong place may look like. Without entries twice, it has none.
 */
export async function readSoundBlock(
	file: DiskFile,
	layer: number,
	blockIndex: number,
	target: Buffer,
	expectsEntries: boolean,
): Promise<number> {
	let damaged = 0;
	let empty = 0;
	for (let attempt = 0; attempt < attemptsMax; attempt++) {
		await readFully(file, target, blockIndex * blockBytes);
		damaged = damagedSectors(target, layer, blockIndex);
		if (damaged !== 0) continue;
		if (!expectsEntries || !target.equals(emptyBlock) || ++empty === 2) return 0;
	}
	return damaged;
}
