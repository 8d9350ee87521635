import { errorCode, type Disk } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import { Generation, placeLayer } from './generation.ts';
import { Layer, sliceOf } from './layer.ts';
import { defaultTuning, pageBytes, unitBytes } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import { entriesPerBlock, entryLost, entryZero } from './page-map-block.ts';
import { replay } from './replay.ts';
import { SuperblockFile, type Superblock } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import { volumePaths } from './volume-files.ts';
import { pageChecksum } from './wal-record.ts';
import { firstLSNOf } from './wal-segment.ts';

/** Something that is not as docs/format.md says, in words for a person. */
export interface Finding {
	message: string;
}

/** Findings of one kind beyond this are counted, not listed. */
const listedMax = 100;

/**
 * Verifies every invariant of a closed volume on disk, changing nothing: superblock, log (to its end), page map (each sector's checksum, the digest of a clean stop), each
 * page's checksum, and that no file is there that nobody owns. Resolves to what is wrong, empty when the volume is sound.
 */
export async function checkVolume(disk: Disk, directory: string): Promise<Finding[]> {
	const check = new Check(disk, directory);
	try {
		await check.run();
	} catch (error) {
		if (!(error instanceof VolumeFault) && errorCode(error) === '') throw error;
		check.add(error instanceof VolumeFault ? error.message : `the volume cannot be read (${errorCode(error)})`);
	}
	return check.findings;
}

class Check {
	readonly #disk: Disk;
	readonly #paths: { superblock: string; wal: string; layers: string };
	/** How many findings there are of each kind: messages that differ in their numbers only. */
	readonly #kinds = new Map<string, number>();
	readonly #found: Finding[] = [];

	constructor(disk: Disk, directory: string) {
		this.#disk = disk;
		this.#paths = volumePaths(directory);
	}

	get findings(): Finding[] {
		const unlisted = [...this.#kinds].filter(([, count]) => count > listedMax);
		return [...this.#found, ...unlisted.map(([kind, count]) => ({ message: `and ${count - listedMax} more like this: ${kind}` }))];
	}

	add(message: string): void {
		const kind = message.replaceAll(/\d+/g, 'N');
		const count = (this.#kinds.get(kind) ?? 0) + 1;
		this.#kinds.set(kind, count);
		if (count <= listedMax) this.#found.push({ message });
	}

	async run(): Promise<void> {
		const file = await SuperblockFile.open(this.#disk, this.#paths.superblock, 'readOnly');
		const superblock = file.current;
		await file.close();
		const [live] = superblock.layers;
		if (live === undefined) return this.add('the superblock names no layer');
		await this.#checkSegments(superblock);
		await this.#checkLayerFiles(superblock);
		const { sliceBytes } = superblock.geometry;
		const layer = await Layer.open(this.#disk, this.#paths.layers, live, {
			sliceBytes,
			mapCacheBlocks: defaultTuning.mapCacheBlocks,
			mode: 'readOnly',
		});
		try {
			const generation = superblock.clean
				? new Generation()
				: (await replay(this.#disk, this.#paths.wal, superblock, layer, 'readOnly')).generation;
			await this.#checkPages(superblock, layer, generation);
		} finally {
			await layer.close();
		}
	}

	async #checkSegments({ geometry, checkpointLSN, clean }: Superblock): Promise<void> {
		for (const name of await this.#disk.list(this.#paths.wal)) {
			const firstLSN = firstLSNOf(name);
			if (firstLSN < 0 || (firstLSN * unitBytes) % geometry.segmentBytes !== 0) {
				this.add(`wal/${name} is no segment of this log`);
				continue;
			}
			const segment = await this.#disk.open(`${this.#paths.wal}/${name}`, 'readOnly');
			const sizeBytes = await segment.sizeBytes();
			await segment.close();
			// A segment whose making a crash cut short lies ahead of the log, and the next opening removes it.
			const isAhead = firstLSN > checkpointLSN && !clean;
			if (sizeBytes !== geometry.segmentBytes && !isAhead) this.add(`wal/${name} has ${sizeBytes} bytes, not ${geometry.segmentBytes}`);
		}
	}

	async #checkLayerFiles({ layers }: Superblock): Promise<void> {
		for (const name of await this.#disk.list(this.#paths.layers)) {
			if (!layers.some((id) => name === Layer.mapName(id) || sliceOf(name, id) >= 0))
				this.add(`layers/${name} belongs to no layer of this volume`);
		}
	}

	async #checkPages({ geometry, clean, mapDigest }: Superblock, layer: Layer, generation: Generation): Promise<void> {
		const endPage = geometry.sizeBytes / pageBytes;
		const digest = new RunningDigest({ low: 0, high: 0 });
		// Whole blocks, so that entries behind the end are seen.
		const endOfMap = Math.ceil(endPage / entriesPerBlock) * entriesPerBlock;
		for await (const { pages, entries, count } of layer.map.entries(0, endOfMap)) {
			let kept = 0;
			for (let at = 0; at < count; at++) {
				const page = pages[at] as number;
				const entry = entries[at] as number;
				digest.toggle(page, entry);
				if (page >= endPage) this.add(`page ${page} has a map entry, the volume ends at page ${endPage}`);
				// The log has a newer version.
				if (entry === entryZero || generation.find(page) >= 0 || generation.zeros.lsnOf(page) >= 0) continue;
				if (entry === entryLost) {
					this.add(`page ${page}: its map sector is damaged`);
					continue;
				}
				pages[kept] = page;
				entries[kept++] = entry;
			}
			await this.#checkData(layer, pages.subarray(0, kept), entries);
		}
		await this.#checkDirect(layer, generation);
		if (clean && mapDigest !== undefined && (digest.value?.low !== mapDigest.low || digest.value.high !== mapDigest.high)) {
			this.add('the page map is not the one that the clean stop stamped');
		}
	}

	/** Pages that the log says are in the layer, though the map does not know them yet. */
	async #checkDirect(layer: Layer, generation: Generation): Promise<void> {
		const pages = new Float64Array(1);
		const checksums = new Uint32Array(1);
		for (let index = 0; index < generation.length; index++) {
			if (generation.placeOf(index) !== placeLayer || !generation.isNewest(index)) continue;
			pages[0] = generation.pageOf(index);
			checksums[0] = generation.checksumOf(index);
			await this.#checkData(layer, pages, checksums);
		}
	}

	/** Compares pages, ascending, with their checksums; consecutive ones are read in one go. */
	async #checkData(layer: Layer, pages: Float64Array, checksums: Uint32Array): Promise<void> {
		for (let from = 0; from < pages.length;) {
			const first = pages[from] as number;
			const limit = layer.contiguous(first, 256);
			let to = from + 1;
			while (to - from < limit && pages[to] === first + (to - from)) to++;
			const bytes = Buffer.alloc((to - from) * pageBytes);
			const file = layer.fileOf(first);
			if (file !== undefined) await readFully(file, bytes, layer.positionOf(first));
			for (let at = from; at < to; at++) {
				const page = bytes.subarray((at - from) * pageBytes, (at - from + 1) * pageBytes);
				if (pageChecksum(page) !== checksums[at]) this.add(`page ${pages[at]} (layer ${layer.id}) does not match its checksum`);
			}
			from = to;
		}
	}
}
