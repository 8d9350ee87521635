import type { BlockDevice } from '../../blockvol/block-device.ts';
import { type Extent, deviceExtents } from './device-extents.ts';
import { readExtents } from './device-reader.ts';
import { diskBytesMax } from './limits.ts';
import { Qcow2Header, Qcow2HeaderMore, copied, headerLengthMin, qcow2Magic, tableEntry } from './qcow2-format.ts';

const clusterBits = 16;
const clusterBytes = 2 ** clusterBits;
const entriesPerTable = clusterBytes / tableEntry.sizeBytes;
/** What one table of the second level leads to: 512 MiB. */
const groupBytes = entriesPerTable * clusterBytes;
/** Reference counts of 16 bits, QEMU's own choice. */
const refcountOrder = 4;
const countsPerBlock = clusterBytes / 2;

/** A run of the image's bytes of which the length is known before they are there. */
interface Part {
	readonly lengthBytes: number;
	/** Without the first `skip` bytes. */
	bytes(skip: number): Iterable<Buffer> | AsyncIterable<Buffer>;
}

/**
 * A device as a qcow2 image of version 3, to be written from the front to the back without a step back, so that it may go into a pipe:
 *
 *     header │ reference table │ reference counts │ first level │ for each 512 MiB that hold anything: table of the second level, its clusters
 *
 * Where everything is follows from how many clusters each 512 MiB have: count() finds that, and the device is looked at once more when their turn comes. It must not change meanwhile.
 * The bytes are the same each time, so a transfer can go on in the middle.
 */
export class Qcow2Image {
	readonly #device: BlockDevice;
	/** Clusters that are mapped in each 512 MiB. */
	readonly #counts: Uint16Array;
	readonly #refcountTableClusters: number;
	readonly #refcountBlocks: number;
	readonly #l1Clusters: number;
	readonly #clusters: number;

	/** `counts` is what count() has found in a device that holds the same. */
	constructor(device: BlockDevice, counts: Uint16Array) {
		this.#device = device;
		this.#counts = counts;
		this.#l1Clusters = clustersOf(counts.length * tableEntry.sizeBytes);
		const others = counts.reduce((sum, count) => sum + (count === 0 ? 0 : 1 + count), 1 + this.#l1Clusters);
		let [tables, blocks] = [1, 1];
		// What counts the references is counted too.
		for (;;) {
			const needed = Math.ceil((others + tables + blocks) / countsPerBlock);
			const neededTables = clustersOf(needed * tableEntry.sizeBytes);
			if (needed === blocks && neededTables === tables) break;
			[blocks, tables] = [needed, neededTables];
		}
		this.#refcountTableClusters = tables;
		this.#refcountBlocks = blocks;
		this.#clusters = others + tables + blocks;
	}

	/** Of each 512 MiB of a device, the clusters that hold something. Rejects with DeviceError. */
	static async count(device: BlockDevice, signal?: AbortSignal): Promise<Uint16Array> {
		if (device.sizeBytes > diskBytesMax) throw new RangeError(`${device.sizeBytes} bytes are more than a volume has`);
		const counts = new Uint16Array(Math.ceil(device.sizeBytes / groupBytes));
		let counted = 0;
		for await (const { first, end } of clusterRuns(device, 0, device.sizeBytes, signal)) {
			for (let at = Math.max(first, counted); at < end;) {
				const group = Math.floor(at / entriesPerTable);
				const next = Math.min(end, (group + 1) * entriesPerTable);
				counts[group] = (counts[group] ?? 0) + next - at;
				at = next;
			}
			counted = end;
		}
		return counts;
	}

	get lengthBytes(): number {
		return this.#clusters * clusterBytes;
	}

	/** The image from a byte on, and perhaps more than up to `toBytes`. A piece is good until the next one is asked for. Rejects with DeviceError. */
	async *bytes(fromBytes = 0, toBytes = Infinity, signal?: AbortSignal): AsyncGenerator<Buffer> {
		let at = 0;
		for (const part of this.#parts(signal)) {
			if (at >= toBytes) return;
			if (at + part.lengthBytes > fromBytes) yield* part.bytes(Math.max(0, fromBytes - at));
			at += part.lengthBytes;
		}
	}

	*#parts(signal: AbortSignal | undefined): Generator<Part> {
		yield made(clusterBytes, () => this.#header());
		yield made(this.#refcountTableClusters * clusterBytes, () => this.#refcountTable());
		for (let block = 0; block < this.#refcountBlocks; block++) yield made(clusterBytes, () => this.#refcounts(block));
		yield made(this.#l1Clusters * clusterBytes, () => this.#levelOne());
		let cluster = this.#firstGroup;
		for (const [group, count] of this.#counts.entries()) {
			if (count === 0) continue;
			const at = cluster;
			yield { lengthBytes: (1 + count) * clusterBytes, bytes: (skip) => this.#group(group, at, skip, signal) };
			cluster += 1 + count;
		}
	}

	/** Where the first table of the second level is. */
	get #firstGroup(): number {
		return 1 + this.#refcountTableClusters + this.#refcountBlocks + this.#l1Clusters;
	}

	#header(): Buffer {
		const header = Buffer.alloc(clusterBytes);
		Qcow2Header.magic.set(header, 0, qcow2Magic);
		Qcow2Header.version.set(header, 0, 3);
		Qcow2Header.clusterBits.set(header, 0, clusterBits);
		Qcow2Header.size.set(header, 0, BigInt(this.#device.sizeBytes));
		Qcow2Header.l1Size.set(header, 0, this.#counts.length);
		Qcow2Header.l1TableOffset.set(header, 0, offsetOf(1 + this.#refcountTableClusters + this.#refcountBlocks));
		Qcow2Header.refcountTableOffset.set(header, 0, offsetOf(1));
		Qcow2Header.refcountTableClusters.set(header, 0, this.#refcountTableClusters);
		Qcow2HeaderMore.refcountOrder.set(header, Qcow2Header.sizeBytes, refcountOrder);
		// What follows, zeros, is the end of the header's extensions.
		Qcow2HeaderMore.headerLength.set(header, Qcow2Header.sizeBytes, headerLengthMin);
		return header;
	}

	#refcountTable(): Buffer {
		const table = Buffer.alloc(this.#refcountTableClusters * clusterBytes);
		for (let block = 0; block < this.#refcountBlocks; block++) {
			tableEntry.set(table, block * tableEntry.sizeBytes, offsetOf(1 + this.#refcountTableClusters + block));
		}
		return table;
	}

	/** One reference for each cluster of the file. */
	#refcounts(block: number): Buffer {
		const counts = Buffer.alloc(clusterBytes);
		const count = Math.min(countsPerBlock, this.#clusters - block * countsPerBlock);
		counts.fill(Buffer.from([0, 1]), 0, count * 2);
		return counts;
	}

	#levelOne(): Buffer {
		const table = Buffer.alloc(this.#l1Clusters * clusterBytes);
		let cluster = this.#firstGroup;
		for (const [group, count] of this.#counts.entries()) {
			if (count === 0) continue;
			tableEntry.set(table, group * tableEntry.sizeBytes, offsetOf(cluster) | copied);
			cluster += 1 + count;
		}
		return table;
	}

	/** The table of 512 MiB, at cluster `at` of the file, and the clusters that it leads to. */
	async *#group(group: number, at: number, skip: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
		const { sizeBytes } = this.#device;
		const table = Buffer.alloc(clusterBytes);
		const wanted: Extent[] = [];
		let [count, counted, skipped] = [0, group * entriesPerTable, skip - clusterBytes];
		const from = group * groupBytes;
		for await (const { first, end } of clusterRuns(this.#device, from, Math.min(sizeBytes, from + groupBytes), signal)) {
			const begin = Math.max(first, counted);
			for (let cluster = begin; cluster < end; cluster++) {
				tableEntry.set(table, (cluster % entriesPerTable) * tableEntry.sizeBytes, offsetOf(at + 1 + count++) | copied);
			}
			counted = Math.max(counted, end);
			const run = { offsetBytes: begin * clusterBytes, lengthBytes: (end - begin) * clusterBytes };
			const left = Math.min(run.lengthBytes, Math.max(0, skipped));
			skipped -= run.lengthBytes;
			if (run.lengthBytes > left) wanted.push({ offsetBytes: run.offsetBytes + left, lengthBytes: run.lengthBytes - left, isMapped: true });
		}
		if (count !== this.#counts[group])
			throw new RangeError(`512 MiB number ${group} have ${count} clusters and had ${this.#counts[group]}`);
		if (skip < clusterBytes) yield table.subarray(skip);
		yield* readExtents(this.#device, this.#insideDisk(wanted), signal);
	}

	/** The last cluster goes over the end of the disk, where there is nothing to read. */
	*#insideDisk(extents: readonly Extent[]): Generator<Extent> {
		const { sizeBytes } = this.#device;
		for (const { offsetBytes, lengthBytes } of extents) {
			const inside = Math.max(0, Math.min(lengthBytes, sizeBytes - offsetBytes));
			if (inside > 0) yield { offsetBytes, lengthBytes: inside, isMapped: true };
			if (inside < lengthBytes) yield { offsetBytes: offsetBytes + inside, lengthBytes: lengthBytes - inside, isMapped: false };
		}
	}
}

/** Clusters of the disk that hold something that is mapped, `end` excluded; a run may begin with the cluster that the one before has ended with. */
async function* clusterRuns(
	device: BlockDevice,
	fromBytes: number,
	toBytes: number,
	signal: AbortSignal | undefined,
): AsyncGenerator<{ first: number; end: number }> {
	for await (const { offsetBytes, lengthBytes, isMapped } of deviceExtents(device, fromBytes, toBytes, signal)) {
		if (isMapped) yield { first: Math.floor(offsetBytes / clusterBytes), end: clustersOf(offsetBytes + lengthBytes) };
	}
}

function made(lengthBytes: number, make: () => Buffer): Part {
	return { lengthBytes, bytes: (skip) => [make().subarray(skip)] };
}

function clustersOf(lengthBytes: number): number {
	return Math.ceil(lengthBytes / clusterBytes);
}

function offsetOf(cluster: number): bigint {
	return BigInt(cluster) * BigInt(clusterBytes);
}
