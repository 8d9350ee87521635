import { errorCode, type Disk } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import { type Generation, placeLayer } from './generation.ts';
import { isHistoryHold } from './history-hold.ts';
import { Layer, layerOf } from './layer.ts';
import type { LayerTree, TreeLayer } from './layer-tree.ts';
import { defaultTuning, limits, pageBytes, unitBytes } from './limits.ts';
import { RunningDigest } from './map-digest.ts';
import { entriesPerBlock, entryAbsent, entryLost, entryZero } from './page-map-block.ts';
import { readRemote, type RemoteChunks, remoteName } from './remote-file.ts';
import { replay } from './replay.ts';
import { SanitizeUnfinished } from './sanitize.ts';
import { SuperblockFile, type MapDigest, type Superblock } from './superblock.ts';
import { VolumeFault } from './volume-fault.ts';
import { isTreeName, readTree, treeName } from './tree-file.ts';
import { nothingToReplay, volumePaths } from './volume-files.ts';
import { pageChecksum } from './page-checksums.ts';
import { firstLSNOf, segmentName } from './wal-segment.ts';

/** Something that is not as docs/format.md says, in words for a person. */
export interface Finding {
	message: string;
}

/** Findings of one kind beyond this are counted, not listed. */
const listedMax = 100;

/**
 * Verifies every invariant of a closed volume on disk, changing nothing: superblock, log (to its end), tree, page maps (each sector's checksum, the digests), each
 * page's checksum, and that no file is there that nobody owns. Resolves to what is wrong, empty when the volume is sound.
 */
export async function checkVolume(disk: Disk, directory: string, volumes?: readonly string[]): Promise<Finding[]> {
	const check = new Check(disk, directory, volumes);
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
	readonly #directory: string;
	readonly #volumes: readonly string[] | undefined;
	readonly #paths: { superblock: string; wal: string; layers: string };
	/** How many findings there are of each kind: messages that differ in their numbers only. */
	readonly #kinds = new Map<string, number>();
	readonly #found: Finding[] = [];

	constructor(disk: Disk, directory: string, volumes: readonly string[] | undefined) {
		this.#volumes = volumes;
		this.#disk = disk;
		this.#directory = directory;
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
		if (superblock.sanitize !== undefined) throw new SanitizeUnfinished(superblock.sanitize);
		const tree = await readTree(this.#disk, this.#directory, superblock);
		await this.#checkSegments(superblock);
		await this.#checkTreeFiles(superblock);
		await this.#checkLayerFiles(superblock, tree);
		await this.#checkLinks(superblock, tree);
		const chunks = await this.#checkRemote(superblock, tree);
		for (const layer of tree.layers.values()) if (layer.id !== tree.live) await this.#checkFrozen(superblock, tree, layer, chunks);
		await this.#checkLive(superblock, tree);
	}

	/** The live layer, and those that snapshots in the log began. */
	async #checkLive(superblock: Superblock, tree: LayerTree): Promise<void> {
		const base = await this.#open(superblock, tree.live);
		const opened: Layer[] = [base];
		try {
			const next = async (id: number): Promise<Layer | undefined> => {
				const known = opened.find((layer) => layer.id === id);
				if (known !== undefined) return known;
				const names = await this.#disk.list(this.#paths.layers);
				if (!names.includes(Layer.mapName(id))) return undefined;
				const layer = await this.#open(superblock, id);
				opened.push(layer);
				return layer;
			};
			const replayed = superblock.clean
				? nothingToReplay(superblock)
				: await replay(this.#disk, this.#paths.wal, superblock, { base, next }, 'readOnly');
			let layer: Layer | undefined = base;
			for (const { generation, snapshot } of replayed.cuts) {
				await this.#checkPages(superblock, layer, generation);
				layer = await next(snapshot.newLayer);
			}
			await this.#checkPages(superblock, layer, replayed.generation);
		} finally {
			for (const layer of opened) await layer.close();
		}
	}

	#open({ geometry }: Superblock, id: number): Promise<Layer> {
		const { mapCacheBlocks } = defaultTuning;
		return Layer.open(this.#disk, this.#paths.layers, id, { sliceBytes: geometry.sliceBytes, mapCacheBlocks, mode: 'readOnly' });
	}

	/**
	 * A frozen layer. Of one that is on its way into the layer above, only what is not there yet counts: the rest may have given its space back; and so may all of one that nobody names
	 * and nothing stands on any more.
	 */
	async #checkFrozen(
		superblock: Superblock,
		tree: LayerTree,
		{ id, mapDigest, isRemote }: TreeLayer,
		chunks: RemoteChunks | undefined,
	): Promise<void> {
		const layer = await this.#open(superblock, id);
		const [heir, ...others] = tree.children(id);
		const isNamed = tree.snapshotOf(id) !== undefined || tree.origin === id;
		const isMerged = !isNamed && others.length === 0 && heir !== undefined;
		const isLeft = !isNamed && heir === undefined;
		const above = isMerged ? await this.#open(superblock, heir) : undefined;
		try {
			const digest = RunningDigest.empty();
			// The live layer may be smaller, if an older snapshot was restored.
			const endOfMap = endOfMapOf(limits.sizeBytesMax);
			for await (const { pages, entries, count } of layer.map.entries(0, endOfMap)) {
				let kept = 0;
				for (let at = 0; at < count; at++) {
					const page = pages[at] as number;
					const entry = entries[at] as number;
					digest.toggle(page, entry);
					// A damaged sector says that of all its pages.
					if (isRemote === true && chunks?.holdsPage(page) === false && entry !== entryLost)
						this.add(`page ${page} (layer ${id}) has a map entry, and the archive has nothing for it`);
					if (entry === entryZero || isLeft) continue;
					if (above !== undefined) {
						await above.map.load(page);
						if (above.map.entry(page) !== entryAbsent) continue;
					}
					if (entry === entryLost) {
						this.add(`page ${page} (layer ${id}): its map sector is damaged`);
						continue;
					}
					pages[kept] = page;
					entries[kept++] = entry;
				}
				await this.#checkData(layer, pages.subarray(0, kept), entries);
			}
			if (mapDigest !== undefined && !isSame(digest.value, mapDigest))
				this.add(`the page map of layer ${id} is not the one that the tree tells of`);
		} finally {
			await layer.close();
			await above?.close();
		}
	}

	/** What tells where missing pages come from is there as long as there may be some, and no longer; a crash may leave it for the next opening to remove. */
	async #checkRemote({ geometry, clean }: Superblock, tree: LayerTree): Promise<RemoteChunks | undefined> {
		if (tree.remote !== undefined) return readRemote(this.#disk, this.#directory, geometry.uuid, tree.remote.id);
		if (clean && (await this.#disk.list(this.#directory)).includes(remoteName))
			this.add(`${remoteName} tells where missing pages come from, and there are none`);
		return undefined;
	}

	/** A crash may leave a tree that came to nothing, or one that nobody names any more; the next opening removes it. */
	async #checkTreeFiles({ tree, clean }: Superblock): Promise<void> {
		for (const name of await this.#disk.list(this.#directory)) {
			if (clean && isTreeName(name) && name !== treeName(tree?.sequence ?? 0)) this.add(`${name} is a tree that nobody names`);
		}
	}

	async #checkSegments({ geometry, checkpointLSN, clean, holds }: Superblock): Promise<void> {
		const names = await this.#disk.list(this.#paths.wal);
		const history = holds.find(isHistoryHold);
		const segmentUnits = geometry.segmentBytes / unitBytes;
		if (history !== undefined) {
			for (let sequence = Math.floor(history.fromLSN / segmentUnits); sequence * segmentUnits < checkpointLSN; sequence++) {
				const name = segmentName(sequence * segmentUnits);
				if (!names.includes(name)) this.add(`wal/${name} is not there, and the history needs it`);
			}
		}
		for (const name of names) {
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

	/**
	 * A file of a frozen layer has a name in each volume whose tree has the layer, and in no other. Only where all of them were stopped in good order: a crash may leave a name for
	 * the next opening to remove.
	 */
	async #checkLinks({ clean, geometry }: Superblock, tree: LayerTree): Promise<void> {
		if (this.#volumes === undefined || !clean) return;
		const others: { path: string; tree: LayerTree; names: Set<string> }[] = [];
		for (const path of this.#volumes) {
			if (path === this.#directory) continue;
			const other = await this.#otherVolume(path);
			if (other === undefined) return;
			others.push({ path, ...other });
		}
		for (const name of await this.#disk.list(this.#paths.layers)) {
			const id = layerOf(name);
			if (!tree.layers.has(id)) continue;
			const file = await this.#disk.open(`${this.#paths.layers}/${name}`, 'readOnly');
			const [links, inode] = [await file.links(), await file.inode()];
			await file.close();
			const sharers: string[] = [];
			for (const other of others) {
				// The first layer of every volume has the same number: it takes the file to know whose a name is.
				const mayShare = links > 1 && other.tree.layers.has(id) && id !== other.tree.live && other.names.has(name);
				if (mayShare && (await this.#inodeOf(`${volumePaths(other.path).layers}/${name}`)) === inode) sharers.push(other.path);
			}
			if (links !== 1 + sharers.length)
				this.add(`layers/${name} has ${links} names, ${1 + sharers.length} volumes need it (${geometry.uuid})`);
		}
	}

	async #inodeOf(path: string): Promise<number> {
		const file = await this.#disk.open(path, 'readOnly');
		try {
			return await file.inode();
		} finally {
			await file.close();
		}
	}

	/** Undefined for one that was not stopped in good order, cannot be read, or was being made or removed: which names it has by right nobody knows then. */
	async #otherVolume(path: string): Promise<{ tree: LayerTree; names: Set<string> } | undefined> {
		try {
			const file = await SuperblockFile.open(this.#disk, volumePaths(path).superblock, 'readOnly');
			await file.close();
			if (!file.current.clean) return undefined;
			const names = new Set(await this.#disk.list(volumePaths(path).layers));
			return { tree: await readTree(this.#disk, path, file.current), names };
		} catch (error) {
			if (!(error instanceof VolumeFault) && errorCode(error) === '') throw error;
			return undefined;
		}
	}

	/** Files of layers that nobody knows are what a crash has left, for the next opening to remove: only after a clean stop there is none. */
	async #checkLayerFiles({ clean }: Superblock, tree: LayerTree): Promise<void> {
		const names = new Set(await this.#disk.list(this.#paths.layers));
		for (const name of names) {
			const id = layerOf(name);
			if (id < 0 || (clean && !tree.layers.has(id))) this.add(`layers/${name} belongs to no layer of this volume`);
		}
		const frozen = [...tree.layers.keys()].filter((id) => id !== tree.live);
		for (const id of frozen) if (!names.has(Layer.mapName(id))) throw new VolumeFault(`layer ${id} has no page map`);
	}

	async #checkPages(superblock: Superblock, layer: Layer | undefined, generation: Generation): Promise<void> {
		const { geometry, clean, mapDigest } = superblock;
		const endPage = geometry.sizeBytes / pageBytes;
		const digest = RunningDigest.empty();
		if (layer === undefined) {
			// A layer without files: nothing of it was written.
			if (generation.directPages > 0) this.add('the write-ahead log tells of pages in a layer that has no files');
			return;
		}
		// Whole blocks, so that entries behind the end are seen.
		for await (const { pages, entries, count } of layer.map.entries(0, endOfMapOf(geometry.sizeBytes))) {
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
		if (clean && mapDigest !== undefined && !isSame(digest.value, mapDigest))
			this.add('the page map is not the one that the clean stop stamped');
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

function endOfMapOf(sizeBytes: number): number {
	return Math.ceil(sizeBytes / pageBytes / entriesPerBlock) * entriesPerBlock;
}

function isSame(a: MapDigest | undefined, b: MapDigest): boolean {
	return a?.low === b.low && a.high === b.high;
}
