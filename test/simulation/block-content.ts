import { sectorBytes } from './sparse-content.ts';

/**
 * Every write has a number, and every 512-byte block of it says number and block, so that what is read tells which write it came from, and a block in the wrong
 * place, a torn one or a mixed one is none. Number 0 stands for zeros.
 */
export function fillBlocks(target: Buffer, writeNumber: number, firstBlock: number): void {
	const words = wordsOf(target);
	for (let at = 0; at < words.length; at += wordsPerBlock) {
		let word = (Math.imul(writeNumber, 0x9e3779b1) + Math.imul(firstBlock + at / wordsPerBlock, 0x85ebca6b)) | 0;
		words[at] = writeNumber;
		for (let index = 1; index < wordsPerBlock; index++) {
			words[at + index] = word;
			word = (word + 0x6c8e9cf5) | 0;
		}
	}
}

/** Which write the block at the start of `source` came from; -1: from none. */
export function writeNumberOf(source: Buffer, sourceAt: number, block: number): number {
	const words = new Int32Array(source.buffer, source.byteOffset + sourceAt, wordsPerBlock);
	const writeNumber = words[0] ?? 0;
	if (writeNumber === 0) {
		for (const word of words) if (word !== 0) return -1;
		return 0;
	}
	let word = (Math.imul(writeNumber, 0x9e3779b1) + Math.imul(block, 0x85ebca6b)) | 0;
	for (let index = 1; index < wordsPerBlock; index++) {
		if (words[index] !== word) return -1;
		word = (word + 0x6c8e9cf5) | 0;
	}
	return writeNumber;
}

const wordsPerBlock = sectorBytes / 4;

function wordsOf(buffer: Buffer): Int32Array {
	return new Int32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
}
