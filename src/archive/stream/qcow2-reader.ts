import type { DiskImage, DiskPart, RandomSource } from './image-source.ts';
import { writeBytes } from './limits.ts';
import { compressed, copied, offsetMask, sectorBytes, tableEntry, zeroFlag } from './qcow2-format.ts';
import { type Qcow2Facts, readQcow2Header } from './qcow2-header.ts';
import { inflateCluster } from './qcow2-inflate.ts';
import { ImageError } from './stream-error.ts';

/** A piece of the first table that is held at a time. */
const l1WindowEntries = 4096;

/** Where a cluster of the disk is. */
type Place =
	| { readonly kind: 'zero' }
	| { readonly kind: 'plain'; readonly offsetBytes: number }
	| { readonly kind: 'compressed'; readonly offsetBytes: number; readonly lengthBytes: number };

const zero: Place = { kind: 'zero' };

/**
 * A qcow2 image, versions 2 and 3, that is read from the front to the back. What it says is believed only as far as it can be true: places inside of the file, reserved bits zero, and all
 * that its tables refer to together not more than the file has, so that a small file with tables that lead to one place again and again is refused and not unfolded.
 * Memory: a window of the first table, one table of the second level (up to 2 MiB), one piece of data.
 */
export class Qcow2Disk implements DiskImage {
	readonly sizeBytes: number;
	readonly #source: RandomSource;
	readonly #facts: Qcow2Facts;
	readonly #clusterBytes: number;
	readonly #entriesPerTable: number;
	#referredBytes = 0;
	#l1: { first: number; entries: Buffer } = { first: 0, entries: Buffer.alloc(0) };

	private constructor(source: RandomSource, facts: Qcow2Facts) {
		this.#source = source;
		this.#facts = facts;
		this.sizeBytes = facts.sizeBytes;
		this.#clusterBytes = 2 ** facts.clusterBits;
		this.#entriesPerTable = this.#clusterBytes / tableEntry.sizeBytes;
	}

	/** Rejects with ImageError. */
	static async open(source: RandomSource): Promise<Qcow2Disk> {
		return new Qcow2Disk(source, await readQcow2Header(source));
	}

	async *parts(fromBytes: number): AsyncGenerator<DiskPart> {
		this.#referredBytes = 0;
		let zeroBytes = 0;
		let at = fromBytes;
		for await (const { place, lengthBytes } of this.#runs(fromBytes)) {
			if (place.kind === 'zero') {
				zeroBytes += lengthBytes;
			} else {
				if (zeroBytes > 0) yield { lengthBytes: zeroBytes, data: undefined };
				zeroBytes = 0;
				yield { lengthBytes, data: await this.#data(place, at, lengthBytes) };
			}
			at += lengthBytes;
		}
		if (zeroBytes > 0) yield { lengthBytes: zeroBytes, data: undefined };
	}

	/** From a byte on: clusters, those that follow each other in the file too as one, up to writeBytes. */
	async *#runs(fromBytes: number): AsyncGenerator<{ place: Place; lengthBytes: number }> {
		let run: { place: Place; lengthBytes: number } | undefined;
		for await (const { place, lengthBytes } of this.#clusters(fromBytes)) {
			if (run !== undefined && continues(run, place) && (place.kind === 'zero' || run.lengthBytes + lengthBytes <= writeBytes)) {
				run.lengthBytes += lengthBytes;
				continue;
			}
			if (run !== undefined) yield run;
			run = { place, lengthBytes };
		}
		if (run !== undefined) yield run;
	}

	async *#clusters(fromBytes: number): AsyncGenerator<{ place: Place; lengthBytes: number }> {
		const tableBytes = this.#entriesPerTable * this.#clusterBytes;
		for (let at = fromBytes; at < this.sizeBytes;) {
			const table = await this.#levelTwo(Math.floor(at / tableBytes));
			const end = Math.min(this.sizeBytes, (Math.floor(at / tableBytes) + 1) * tableBytes);
			if (table === undefined) {
				yield { place: zero, lengthBytes: end - at };
				at = end;
				continue;
			}
			while (at < end) {
				const index = Math.floor(at / this.#clusterBytes) % this.#entriesPerTable;
				const next = Math.min(end, at - (at % this.#clusterBytes) + this.#clusterBytes);
				const place = this.#place(tableEntry.get(table, index * tableEntry.sizeBytes), next - at + (at % this.#clusterBytes));
				const skip = at % this.#clusterBytes;
				yield {
					place: place.kind === 'plain' && skip > 0 ? { kind: 'plain', offsetBytes: place.offsetBytes + skip } : place,
					lengthBytes: next - at,
				};
				at = next;
			}
		}
	}

	/** Undefined: all zeros. */
	async #levelTwo(index: number): Promise<Buffer | undefined> {
		const { first, entries } = this.#l1;
		if (index < first || index >= first + entries.length / tableEntry.sizeBytes) {
			const count = Math.min(l1WindowEntries, Math.ceil(this.sizeBytes / (this.#entriesPerTable * this.#clusterBytes)) - index);
			const offset = this.#facts.l1OffsetBytes + index * tableEntry.sizeBytes;
			this.#l1 = { first: index, entries: await this.#source.read(offset, count * tableEntry.sizeBytes) };
		}
		const entry = tableEntry.get(this.#l1.entries, (index - this.#l1.first) * tableEntry.sizeBytes);
		if ((entry & ~(offsetMask | copied)) !== 0n)
			throw new ImageError(`It is damaged: entry ${index} of its first table has reserved bits.`);
		if ((entry & offsetMask) === 0n) return undefined;
		const offset = this.#inside(entry & offsetMask, this.#clusterBytes);
		this.#refer(this.#clusterBytes);
		return await this.#source.read(offset, this.#clusterBytes);
	}

	/** Where an entry of the second level leads to; of the cluster, `usedBytes` are in the disk. */
	#place(entry: bigint, usedBytes: number): Place {
		if ((entry & compressed) !== 0n) return this.#compressedPlace(entry);
		const isZero = (entry & zeroFlag) !== 0n;
		if ((entry & ~(offsetMask | copied | zeroFlag)) !== 0n || (isZero && this.#facts.version === 2))
			throw new ImageError('It is damaged: an entry of its second tables has reserved bits.');
		if (isZero || (entry & offsetMask) === 0n) return zero;
		const offsetBytes = this.#inside(entry & offsetMask, usedBytes);
		this.#refer(usedBytes);
		return { kind: 'plain', offsetBytes };
	}

	/** The lower bits are the offset, those above count the sectors beyond the first. */
	#compressedPlace(entry: bigint): Place {
		const offsetBits = BigInt(62 - (this.#facts.clusterBits - 8));
		const offset = entry & ((1n << offsetBits) - 1n);
		const sectors = Number((entry & ~copied & ~compressed) >> offsetBits);
		if (offset >= BigInt(this.#source.sizeBytes))
			throw new ImageError('It is damaged, or a part of it is missing: a cluster is behind the end of the file.');
		const offsetBytes = Number(offset);
		const end = Math.min(this.#source.sizeBytes, offsetBytes - (offsetBytes % sectorBytes) + (sectors + 1) * sectorBytes);
		// Neighbours share the first and the last sector.
		this.#refer(Math.max(0, sectors - 1) * sectorBytes);
		return { kind: 'compressed', offsetBytes, lengthBytes: end - offsetBytes };
	}

	#inside(offset: bigint, lengthBytes: number): number {
		if (offset % BigInt(this.#clusterBytes) !== 0n) throw new ImageError('It is damaged: a table leads to the middle of a cluster.');
		if (offset + BigInt(lengthBytes) > BigInt(this.#source.sizeBytes))
			throw new ImageError('It is damaged, or a part of it is missing: a cluster is behind the end of the file.');
		const at = Number(offset);
		const { l1OffsetBytes } = this.#facts;
		const l1Bytes = Math.ceil(this.sizeBytes / (this.#entriesPerTable * this.#clusterBytes)) * tableEntry.sizeBytes;
		if (at === 0 || (at < l1OffsetBytes + l1Bytes && at + lengthBytes > l1OffsetBytes))
			throw new ImageError('It is damaged: a table leads to the header or to the first table.');
		return at;
	}

	/** Each cluster of the file has one place in the disk. */
	#refer(lengthBytes: number): void {
		this.#referredBytes += lengthBytes;
		if (this.#referredBytes > this.#source.sizeBytes + this.#clusterBytes)
			throw new ImageError('It is damaged: its tables lead to more clusters than the file has.');
	}

	async #data(place: Exclude<Place, { kind: 'zero' }>, at: number, lengthBytes: number): Promise<Buffer> {
		if (place.kind === 'plain') return await this.#source.read(place.offsetBytes, lengthBytes);
		const stored = await this.#source.read(place.offsetBytes, place.lengthBytes);
		const skip = at % this.#clusterBytes;
		const data = await inflateCluster(stored, this.#clusterBytes, this.#facts.compression);
		return data.subarray(skip, skip + lengthBytes);
	}
}

function continues(run: { place: Place; lengthBytes: number }, place: Place): boolean {
	if (run.place.kind === 'zero') return place.kind === 'zero';
	return run.place.kind === 'plain' && place.kind === 'plain' && run.place.offsetBytes + run.lengthBytes === place.offsetBytes;
}
