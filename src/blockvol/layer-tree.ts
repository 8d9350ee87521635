import { crc32c } from '../wire/crc32c.ts';
import { isAnchor } from './history-hold.ts';
import { limits } from './limits.ts';
import type { MapDigest } from './superblock.ts';
import { readU64, writeU64 } from './u64.ts';
import { VolumeFault } from './volume-fault.ts';

/** A layer and what it stands on. */
export interface TreeLayer {
	/** Random, below 2^48; unique among all volumes, since clones share layers. */
	readonly id: number;
	/** 0: it stands on nothing. */
	readonly parent: number;
	/** Set hash of its page map, once it is frozen; undefined while that is not known. */
	readonly mapDigest: MapDigest | undefined;
	/** What it holds is being copied into the layers that stand on it, because it is another volume's, too. */
	readonly isLeaving?: boolean;
	/** Pages that its map calls absent may have to be fetched (remote-pages.ts). The lowest layer only, and one at most. */
	readonly isRemote?: boolean;
}

/** A name for what a frozen layer and those below it hold. */
export interface Snapshot {
	readonly id: number;
	readonly name: string;
	readonly layer: number;
	readonly timeMs: number;
	/** Where the log was. */
	readonly lsn: number;
	readonly sizeBytes: number;
}

/** A snapshot of what is live: what it is called, the live layer after it, and the digest of the map that is frozen with it. */
export interface TreeCut {
	readonly snapshot: Omit<Snapshot, 'layer'>;
	readonly newLive: number;
	readonly mapDigest: MapDigest | undefined;
}

/**
 * The layers of a volume and its snapshots: a value, never changed, each change makes another.
 *
 * Invariants: ids are unique; a parent is in the list; no circles; the live layer and the layer of each snapshot are in the list; a layer has at most one snapshot and the
 * live layer none; nothing stands on the live layer.
 */
export class LayerTree {
	readonly live: number;
	readonly layers: ReadonlyMap<number, TreeLayer>;
	readonly snapshots: readonly Snapshot[];
	/** What a clone was made of: kept though it has no name here. 0: nothing. */
	readonly origin: number;
	#byLayer: ReadonlyMap<number, Snapshot> | undefined;

	constructor(live: number, layers: readonly TreeLayer[], snapshots: readonly Snapshot[], origin: number) {
		this.live = live;
		this.layers = new Map(layers.map((layer) => [layer.id, layer]));
		this.snapshots = snapshots;
		this.origin = origin;
		const fault = this.#fault(layers.length);
		if (fault !== undefined) throw new RangeError(fault);
	}

	static single(live: number): LayerTree {
		return new LayerTree(live, [{ id: live, parent: 0, mapDigest: undefined }], [], 0);
	}

	/** Nothing that a superblock alone could not say. */
	get isSingle(): boolean {
		return this.layers.size === 1 && this.snapshots.length === 0;
	}

	/** The lowest layer, while pages of it have to be fetched. */
	get remote(): TreeLayer | undefined {
		for (const layer of this.layers.values()) if (layer.isRemote === true) return layer;
		return undefined;
	}

	layer(id: number): TreeLayer {
		const layer = this.layers.get(id);
		if (layer === undefined) throw new RangeError(`layer ${id} is not in the tree`);
		return layer;
	}

	/** A layer and what it stands on, newest first. */
	stack(id: number): number[] {
		const stack: number[] = [];
		for (let at = id; at !== 0; at = this.layer(at).parent) stack.push(at);
		return stack;
	}

	children(id: number): number[] {
		return [...this.layers.values()].filter(({ parent }) => parent === id).map((layer) => layer.id);
	}

	named(name: string): Snapshot | undefined {
		return this.snapshots.find((snapshot) => snapshot.name === name);
	}

	snapshotOf(layer: number): Snapshot | undefined {
		this.#byLayer ??= new Map(this.snapshots.map((snapshot) => [snapshot.layer, snapshot]));
		return this.#byLayer.get(layer);
	}

	/** The nearest snapshot below a layer; the history's own do not count. */
	snapshotBelow(layer: number): Snapshot | undefined {
		// Most often the next one: a list of a thousand must not walk a thousand stacks.
		for (let at = this.layer(layer).parent; at !== 0; at = this.layer(at).parent) {
			const snapshot = this.snapshotOf(at);
			if (snapshot !== undefined && !isAnchor(snapshot)) return snapshot;
		}
		return undefined;
	}

	/** The live layer is frozen under a name, and another stands on it; the same with that one, and so on. */
	cut(cuts: readonly TreeCut[]): LayerTree {
		const layers = new Map(this.layers);
		const snapshots = [...this.snapshots];
		let { live } = this;
		for (const { snapshot, newLive, mapDigest } of cuts) {
			layers.set(live, { ...(layers.get(live) as TreeLayer), mapDigest });
			if (layers.has(newLive)) throw new RangeError('a layer is there twice');
			layers.set(newLive, { id: newLive, parent: live, mapDigest: undefined });
			snapshots.push({ ...snapshot, layer: live });
			live = newLive;
		}
		return new LayerTree(live, [...layers.values()], snapshots, this.origin);
	}

	/** What a volume held once was put together on a frozen layer, and has a name now. */
	rewound(layer: TreeLayer, snapshot: Omit<Snapshot, 'layer'>): LayerTree {
		return new LayerTree(this.live, [...this.layers.values(), layer], [...this.snapshots, { ...snapshot, layer: layer.id }], this.origin);
	}

	/** A name is gone; its layer stays. */
	withoutSnapshot(id: number): LayerTree {
		return new LayerTree(
			this.live,
			[...this.layers.values()],
			this.snapshots.filter((snapshot) => snapshot.id !== id),
			this.origin,
		);
	}

	/**
	 * Another live layer on what a frozen one holds; the old live layer becomes a snapshot, or one that nobody needs. `anchor`: the history's, an empty frozen layer between the
	 * two.
	 */
	restored(
		onto: number,
		newLive: number,
		kept: Omit<Snapshot, 'layer'> | undefined,
		mapDigest: MapDigest | undefined,
		anchor: Snapshot | undefined,
	): LayerTree {
		const layers = [...this.layers.values()].map((layer) => (layer.id === this.live ? { ...layer, mapDigest } : layer));
		if (anchor !== undefined) layers.push({ id: anchor.layer, parent: onto, mapDigest: { low: 0, high: 0 } });
		layers.push({ id: newLive, parent: anchor?.layer ?? onto, mapDigest: undefined });
		const snapshots = [...this.snapshots];
		if (kept !== undefined) snapshots.push({ ...kept, layer: this.live });
		if (anchor !== undefined) snapshots.push(anchor);
		return new LayerTree(newLive, layers, snapshots, this.origin);
	}

	/** A layer takes another place, or its digest becomes another. */
	changed(id: number, change: Partial<Omit<TreeLayer, 'id'>>): LayerTree {
		const layers = [...this.layers.values()].map((layer) => (layer.id === id ? { ...layer, ...change } : layer));
		return new LayerTree(this.live, layers, this.snapshots, this.origin);
	}

	withoutLayers(ids: ReadonlySet<number>): LayerTree {
		const layers = [...this.layers.values()].filter((layer) => !ids.has(layer.id));
		return new LayerTree(this.live, layers, this.snapshots, ids.has(this.origin) ? 0 : this.origin);
	}

	/** The volume is to stand on its own: what it was made of, and all below that, is to be copied. */
	detached(): LayerTree {
		const leaving = new Set(this.origin === 0 ? [] : this.stack(this.origin));
		const layers = [...this.layers.values()].map((layer) => (leaving.has(layer.id) ? { ...layer, isLeaving: true } : layer));
		return new LayerTree(this.live, layers, this.snapshots, 0);
	}

	#fault(count: number): string | undefined {
		if (this.layers.size !== count) return 'a layer is there twice';
		if (count > limits.layersMax) return `${count} layers`;
		if (this.snapshots.length > limits.snapshotsMax + limits.anchorsMax) return `${this.snapshots.length} snapshots`;
		const remotes = [...this.layers.values()].filter(({ isRemote }) => isRemote === true);
		if (remotes.length > 1 || remotes.some(({ id, parent }) => parent !== 0 || id === this.live))
			return 'a remote layer that is not the lowest one';
		for (const { id, parent } of this.layers.values()) {
			if (id === 0 || id === parent) return `layer ${id} is impossible`;
			if (parent !== 0 && !this.layers.has(parent)) return `layer ${id} stands on ${parent}, which is not there`;
			if (parent === this.live) return `layer ${id} stands on the live layer`;
		}
		if (!this.layers.has(this.live)) return 'the live layer is not there';
		if (this.origin !== 0 && !this.layers.has(this.origin)) return 'the origin is not there';
		const named = new Set(this.snapshots.map(({ layer }) => layer));
		const names = new Set(this.snapshots.map(({ name }) => name));
		if (named.size !== this.snapshots.length || names.size !== named.size || named.has(this.live))
			return 'two snapshots of one layer or name';
		for (const layer of named) if (!this.layers.has(layer)) return `a snapshot of layer ${layer}, which is not there`;
		return this.#isRound() ? 'layers stand on each other' : undefined;
	}

	/** True if going down from some layer never ends. */
	#isRound(): boolean {
		const sound = new Set<number>([0]);
		for (const start of this.layers.keys()) {
			const path = new Set<number>();
			let at = start;
			for (; !sound.has(at); at = (this.layers.get(at) as TreeLayer).parent) {
				if (path.has(at)) return true;
				path.add(at);
			}
			for (const id of path) sound.add(id);
		}
		return false;
	}
}

/** docs/format.md, "tree". */
const magic = 0x52545642; // 'BVTR'
/** Version 2 has a remote layer. A tree without one is written as version 1, which older builds read. */
const version = 2;
const fixedBytes = 64;
const layerBytes = 32;
const snapshotBytes = 128;
const nameAt = 48;
const flagDigestKnown = 1;
const flagLeaving = 2;
const flagRemote = 4;

export const treeBytesMax = fixedBytes + limits.layersMax * layerBytes + (limits.snapshotsMax + limits.anchorsMax) * snapshotBytes;

export function encodeTree(tree: LayerTree, uuid: string, sequence: number): Buffer {
	const bytes = Buffer.alloc(fixedBytes + tree.layers.size * layerBytes + tree.snapshots.length * snapshotBytes);
	bytes.writeUInt32LE(magic, 4);
	bytes.writeUInt32LE(tree.remote === undefined ? 1 : version, 8);
	bytes.writeUInt32LE(bytes.length, 12);
	writeU64(bytes, sequence, 16);
	Buffer.from(uuid.replaceAll('-', ''), 'hex').copy(bytes, 24);
	bytes.writeUInt32LE(tree.layers.size, 40);
	bytes.writeUInt32LE(tree.snapshots.length, 44);
	writeU64(bytes, tree.live, 48);
	writeU64(bytes, tree.origin, 56);
	let at = fixedBytes;
	for (const { id, parent, mapDigest, isLeaving, isRemote } of tree.layers.values()) {
		writeU64(bytes, id, at);
		writeU64(bytes, parent, at + 8);
		const flags = (mapDigest === undefined ? 0 : flagDigestKnown) + (isLeaving === true ? flagLeaving : 0);
		bytes.writeUInt32LE(flags + (isRemote === true ? flagRemote : 0), at + 16);
		bytes.writeUInt32LE(mapDigest?.low ?? 0, at + 20);
		bytes.writeUInt32LE(mapDigest?.high ?? 0, at + 24);
		at += layerBytes;
	}
	for (const { id, name, layer, timeMs, lsn, sizeBytes } of tree.snapshots) {
		writeU64(bytes, id, at);
		writeU64(bytes, layer, at + 8);
		writeU64(bytes, timeMs, at + 16);
		writeU64(bytes, lsn, at + 24);
		writeU64(bytes, sizeBytes, at + 32);
		bytes.writeUInt32LE(Buffer.byteLength(name), at + 40);
		bytes.write(name, at + nameAt, limits.snapshotNameBytes, 'utf8');
		at += snapshotBytes;
	}
	bytes.writeUInt32LE(crc32c(bytes.subarray(4)), 0);
	return bytes;
}

/** The tree in a file's bytes, or what is wrong with them. Throws VolumeFault for a sound one of a newer format. */
export function decodeTree(bytes: Buffer, uuid: string, sequence: number): LayerTree | string {
	if (bytes.length < fixedBytes || bytes.readUInt32LE(4) !== magic) return 'no magic';
	if (bytes.readUInt32LE(12) !== bytes.length) return 'the length does not match';
	if (crc32c(bytes.subarray(4)) !== bytes.readUInt32LE(0)) return 'the checksum does not match';
	const found = bytes.readUInt32LE(8);
	// What a newer build has written is not corrupt.
	if (found > version) throw new VolumeFault(`the tree of layers has version ${found}; this build reads up to version ${version}`);
	if (found < 1) return `version ${found}`;
	if (readU64(bytes, 16) !== sequence) return `sequence ${readU64(bytes, 16)}`;
	if (bytes.toString('hex', 24, 40) !== uuid.replaceAll('-', '')) return 'it belongs to another volume';
	const layerCount = bytes.readUInt32LE(40);
	const snapshotCount = bytes.readUInt32LE(44);
	const snapshotsAt = fixedBytes + layerCount * layerBytes;
	if (bytes.length !== snapshotsAt + snapshotCount * snapshotBytes) return 'the length does not fit its counts';
	const layers = Array.from({ length: layerCount }, (_, index): TreeLayer => {
		const at = fixedBytes + index * layerBytes;
		const flags = bytes.readUInt32LE(at + 16);
		const isKnown = (flags & flagDigestKnown) !== 0;
		const mapDigest = isKnown ? { low: bytes.readUInt32LE(at + 20), high: bytes.readUInt32LE(at + 24) } : undefined;
		const layer = { id: readU64(bytes, at), parent: readU64(bytes, at + 8), mapDigest };
		if (flags <= flagDigestKnown) return layer;
		return {
			...layer,
			...((flags & flagLeaving) === 0 ? {} : { isLeaving: true }),
			...((flags & flagRemote) === 0 ? {} : { isRemote: true }),
		};
	});
	const snapshots = Array.from({ length: snapshotCount }, (_, index): Snapshot => {
		const at = snapshotsAt + index * snapshotBytes;
		const nameBytes = Math.min(bytes.readUInt32LE(at + 40), limits.snapshotNameBytes);
		return {
			id: readU64(bytes, at),
			layer: readU64(bytes, at + 8),
			timeMs: readU64(bytes, at + 16),
			lsn: readU64(bytes, at + 24),
			sizeBytes: readU64(bytes, at + 32),
			name: bytes.toString('utf8', at + nameAt, at + nameAt + nameBytes),
		};
	});
	try {
		const tree = new LayerTree(readU64(bytes, 48), layers, snapshots, readU64(bytes, 56));
		return (tree.remote !== undefined) === (found === version) ? tree : `a remote layer, or none, in version ${found}`;
	} catch (error) {
		if (!(error instanceof RangeError)) throw error;
		return error.message;
	}
}
