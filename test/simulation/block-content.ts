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

/** Which write each block of `source` came from; -1: from none. */
export function writeNumbersOf(source: Buffer, firstBlock: number): Int32Array {
	const words = wordsOf(source);
	const numbers = new Int32Array(words.length / wordsPerBlock);
	for (let index = 0; index < numbers.length; index++) numbers[index] = writeNumberAt(words, index * wordsPerBlock, firstBlock + index);
	return numbers;
}

function writeNumberAt(words: Int32Array, at: number, block: number): number {
	const writeNumber = words[at] ?? 0;
	let word = (Math.imul(writeNumber, 0x9e3779b1) + Math.imul(block, 0x85ebca6b)) | 0;
	let step = 0x6c8e9cf5;
	if (writeNumber === 0) word = step = 0;
	for (let index = at + 1; index < at + wordsPerBlock; index++) {
		if (words[index] !== word) return -1;
		word = (word + step) | 0;
	}
	return writeNumber;
}

const wordsPerBlock = sectorBytes / 4;

function wordsOf(buffer: Buffer): Int32Array {
	return new Int32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
}
