import { hash as digest } from 'node:crypto';
import { limits } from './limits.ts';
import { atOnce, type Steps } from './steps.ts';

/**
 * The Merkle tree of RFC 9162 §2.1.1 (that of RFC 6962) over the chunks' hashes, with SHA-256: a leaf is the hash of 00h and the chunk's hash, a node that of 01h and both children, and the left child
 * is the largest power of two below the number of leaves. A list is a power of two of chunks, so each list is a subtree, and the root follows from the lists' roots.
 */
export const hashBytes = 32;

/** Some 2 µs each. */
const hashesPerStep = 512;

/** A chunk's entry: SHA-256 of its plain bytes, and the generation of its object. All zeros: the chunk is zeros and has no object. */
export const entryBytes = 40;

/** Over entries of a list, of which the hashes count. */
export function treeOfEntries(entries: Uint8Array): Buffer {
	const count = entries.length / entryBytes;
	const leaf = Buffer.alloc(1 + hashBytes);
	const level = Buffer.allocUnsafe(count * hashBytes);
	for (let index = 0; index < count; index++) {
		leaf.set(entries.subarray(index * entryBytes, index * entryBytes + hashBytes), 1);
		level.set(sha256(leaf), index * hashBytes);
	}
	return atOnce(reduce(level));
}

/** Over the roots of lists, all of which but the last are full. */
export function treeOfRoots(roots: readonly Uint8Array[]): Buffer {
	return atOnce(treeOfRootsInSteps(roots));
}

/** The same: a volume of 64 TiB has 16 Ki roots. */
export function treeOfRootsInSteps(roots: readonly Uint8Array[]): Steps<Buffer> {
	return reduce(Buffer.concat(roots));
}

/** Joining neighbours level by level, the odd one going up as it is, is the same tree. `level` holds the hashes of one level, one behind the other, and then those above. */
function* reduce(level: Buffer): Steps<Buffer> {
	let count = level.length / hashBytes;
	if (count === 0) return sha256(level);
	const node = Buffer.alloc(1 + 2 * hashBytes, 1);
	let hashes = 0;
	for (; count > 1; count = Math.ceil(count / 2)) {
		for (let index = 0; index < count; index += 2) {
			const pair = level.subarray(index * hashBytes, Math.min(index + 2, count) * hashBytes);
			node.set(pair, 1);
			level.set(pair.length === hashBytes ? pair : sha256(node), (index / 2) * hashBytes);
			if (++hashes % hashesPerStep === 0) yield;
		}
	}
	return Buffer.from(level.subarray(0, hashBytes));
}

const zeroRoots = new Map<number, Buffer>();

/** Of a list of so many zero chunks. */
export function treeOfZeros(count: number): Buffer {
	let root = zeroRoots.get(count);
	if (root === undefined) {
		root = treeOfEntries(new Uint8Array(count * entryBytes));
		// Two lengths occur in one volume; volumes come and go.
		if (zeroRoots.size >= 64) zeroRoots.clear();
		zeroRoots.set(count, root);
	}
	return root;
}

export function listsOf(chunks: number): number {
	return Math.ceil(chunks / limits.entriesPerList);
}

export function entriesOfList(chunks: number, list: number): number {
	return Math.min(limits.entriesPerList, chunks - list * limits.entriesPerList);
}

export function sha256(bytes: Uint8Array): Buffer {
	return digest('sha256', bytes, 'buffer');
}
