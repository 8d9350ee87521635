import type { Disk, DiskFile } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { crc32c } from '../wire/crc32c.ts';
import { readU64, writeU64 } from './u64.ts';
import { geometryFault, limits, type Geometry } from './limits.ts';
import { decodeSanitize, encodeSanitize, type Sanitize } from './sanitize-record.ts';
import { VolumeFault } from './volume-fault.ts';

/** docs/format.md, "superblock": two slots, written in turn; the valid one with the higher sequence counts. */
export interface Superblock {
	sequence: number;
	geometry: Geometry;
	/** Raised by each opening; records of the log never go back to a lower one. */
	epoch: number;
	/** Random, in each record of the log; changes when the log starts anew (a restore). */
	walGeneration: number;
	/** Everything below is in the layers. Replay starts here. */
	checkpointLSN: number;
	/** Where the log ended at the last opening: from here on records are of this epoch or a later one. */
	tailLSN: number;
	/** The volume was closed in good order: the log ends at the checkpoint. */
	clean: boolean;
	/** The build that wrote the stamp. */
	build: string;
	/** Set hash of the live layer's page map; undefined while an unclean start has made it unknown. */
	mapDigest: MapDigest | undefined;
	/** One: the live layer. What it stands on is in the tree. */
	layers: number[];
	/** The file that tells of layers and snapshots; undefined while there is but one layer. */
	tree: TreeReference | undefined;
	holds: Hold[];
	/** Regions of the live layer that may hold more than map and log tell of (marks.ts). */
	marks: number[];
	/** What is to be done with all that the volume keeps before it may be opened again (sanitize.ts). */
	sanitize?: Sanitize | undefined;
}

export interface MapDigest {
	readonly low: number;
	readonly high: number;
}

/** Which file of a tree counts: `tree-<sequence>`, of this length and checksum. */
export interface TreeReference {
	readonly sequence: number;
	readonly lengthBytes: number;
	readonly checksum: number;
}

/** Keeps the segments from an LSN on, as long as that costs no more than the budget. */
export interface Hold {
	name: string;
	fromLSN: number;
	budgetBytes: number;
}

export const slotBytes = 64 * 1024;
const magic = 0x31425642; // 'BVB1'
/** Version 2 has a tree. A volume without one is written as version 1, which older builds read; one that is being sanitized as version 3, which they refuse. */
export const formatVersion = 3;
const fixedBytes = 192;
const holdBytes = limits.holdNameBytes + 16;
const markBytes = 4;

const flagClean = 1;
const flagDigestKnown = 2;
const flagSanitize = 4;

export function encodeSuperblock(superblock: Superblock): Buffer {
	const { geometry, layers, holds, marks, tree } = superblock;
	const sanitize = superblock.sanitize === undefined ? undefined : encodeSanitize(superblock.sanitize);
	if (layers.length === 0 || layers.length > limits.layersMax) throw new RangeError(`${layers.length} layers`);
	if (holds.length > limits.holdsMax) throw new RangeError(`${holds.length} holds`);
	if (marks.length > limits.marksMax) throw new RangeError(`${marks.length} marks`);
	const length = fixedBytes + layers.length * 8 + holds.length * holdBytes + marks.length * markBytes + (sanitize?.length ?? 0);
	const slot = Buffer.alloc(length);
	slot.writeUInt32LE(magic, 4);
	slot.writeUInt32LE(sanitize !== undefined ? formatVersion : tree !== undefined ? 2 : 1, 8);
	slot.writeUInt32LE(length, 12);
	writeU64(slot, superblock.sequence, 16);
	Buffer.from(geometry.uuid.replaceAll('-', ''), 'hex').copy(slot, 24);
	slot.writeUInt32LE(geometry.blockSize, 40);
	slot.writeUInt32LE(
		(superblock.clean ? flagClean : 0) +
			(superblock.mapDigest === undefined ? 0 : flagDigestKnown) +
			(sanitize === undefined ? 0 : flagSanitize),
		44,
	);
	writeU64(slot, geometry.sizeBytes, 48);
	writeU64(slot, geometry.segmentBytes, 56);
	writeU64(slot, geometry.sliceBytes, 64);
	writeU64(slot, superblock.epoch, 72);
	writeU64(slot, superblock.walGeneration, 80);
	writeU64(slot, superblock.checkpointLSN, 88);
	slot.writeUInt32LE(superblock.mapDigest?.low ?? 0, 96);
	slot.writeUInt32LE(superblock.mapDigest?.high ?? 0, 100);
	slot.writeUInt32LE(layers.length, 104);
	slot.writeUInt32LE(holds.length, 108);
	slot.write(superblock.build, 112, 32, 'utf8');
	writeU64(slot, superblock.tailLSN, 144);
	slot.writeUInt32LE(marks.length, 152);
	slot.writeUInt32LE(tree?.lengthBytes ?? 0, 156);
	writeU64(slot, tree?.sequence ?? 0, 160);
	slot.writeUInt32LE(tree?.checksum ?? 0, 168);
	let at = fixedBytes;
	for (const layer of layers) {
		writeU64(slot, layer, at);
		at += 8;
	}
	for (const hold of holds) {
		slot.write(hold.name, at, limits.holdNameBytes, 'utf8');
		writeU64(slot, hold.fromLSN, at + limits.holdNameBytes);
		writeU64(slot, hold.budgetBytes, at + limits.holdNameBytes + 8);
		at += holdBytes;
	}
	for (const region of marks) at = slot.writeUInt32LE(region, at);
	sanitize?.copy(slot, at);
	slot.writeUInt32LE(crc32c(slot.subarray(4)), 0);
	return slot;
}

/** The superblock in a slot, or what is wrong with it. Throws VolumeFault for a sound slot of a newer format. */
export function decodeSuperblock(slot: Buffer): Superblock | string {
	if (slot.readUInt32LE(4) !== magic) return 'no superblock magic';
	const length = slot.readUInt32LE(12);
	if (length < fixedBytes || length > slotBytes || length > slot.length) return `length ${length} is impossible`;
	if (crc32c(slot.subarray(4, length)) !== slot.readUInt32LE(0)) return 'the checksum does not match';
	const version = slot.readUInt32LE(8);
	// The other slot is older: what a newer build has written since must not be passed over.
	if (version > formatVersion)
		throw new VolumeFault(`the volume has format version ${version}; this build reads up to version ${formatVersion}`);
	if (version < 1) return `format version ${version}; this build reads versions 1 to ${formatVersion}`;
	const layerCount = slot.readUInt32LE(104);
	const holdCount = slot.readUInt32LE(108);
	const markCount = slot.readUInt32LE(152);
	if (layerCount === 0 || layerCount > limits.layersMax || holdCount > limits.holdsMax || markCount > limits.marksMax)
		return 'impossible counts';
	const flags = slot.readUInt32LE(44);
	const countedBytes = fixedBytes + layerCount * 8 + holdCount * holdBytes + markCount * markBytes;
	const sanitize = (flags & flagSanitize) === 0 ? undefined : decodeSanitize(slot.subarray(countedBytes, length));
	if (typeof sanitize === 'string') return sanitize;
	if (sanitize === undefined && length !== countedBytes) return `length ${length} does not fit its counts`;
	const geometry: Geometry = {
		uuid: uuidText(slot.subarray(24, 40)),
		blockSize: slot.readUInt32LE(40) as 512 | 4096,
		sizeBytes: readU64(slot, 48),
		segmentBytes: readU64(slot, 56),
		sliceBytes: readU64(slot, 64),
	};
	const fault = geometryFault(geometry);
	if (fault !== undefined) return fault;
	const treeSequence = readU64(slot, 160);
	if ((version === 3) !== (sanitize !== undefined)) return `flags ${flags} in version ${version}`;
	if (version < 3 && (version === 1) !== (treeSequence === 0)) return `a tree of sequence ${treeSequence} in version ${version}`;
	const holdsAt = fixedBytes + layerCount * 8;
	const marksAt = holdsAt + holdCount * holdBytes;
	return {
		sequence: readU64(slot, 16),
		geometry,
		epoch: readU64(slot, 72),
		walGeneration: readU64(slot, 80),
		checkpointLSN: readU64(slot, 88),
		clean: (flags & flagClean) !== 0,
		build: text(slot.subarray(112, 144)),
		tailLSN: readU64(slot, 144),
		mapDigest: (flags & flagDigestKnown) === 0 ? undefined : { low: slot.readUInt32LE(96), high: slot.readUInt32LE(100) },
		layers: Array.from({ length: layerCount }, (_, index) => readU64(slot, fixedBytes + index * 8)),
		tree:
			treeSequence === 0 ? undefined : { sequence: treeSequence, lengthBytes: slot.readUInt32LE(156), checksum: slot.readUInt32LE(168) },
		holds: Array.from({ length: holdCount }, (_, index) => {
			const at = holdsAt + index * holdBytes;
			return {
				name: text(slot.subarray(at, at + limits.holdNameBytes)),
				fromLSN: readU64(slot, at + limits.holdNameBytes),
				budgetBytes: readU64(slot, at + limits.holdNameBytes + 8),
			};
		}),
		marks: Array.from({ length: markCount }, (_, index) => slot.readUInt32LE(marksAt + index * markBytes)),
		...(sanitize === undefined ? {} : { sanitize }),
	};
}

/** The file with the two slots. One write at a time: callers are in line. */
export class SuperblockFile {
	readonly #file: DiskFile;
	#current: Superblock;
	#line: Promise<void> = Promise.resolve();

	private constructor(file: DiskFile, current: Superblock) {
		this.#file = file;
		this.#current = current;
	}

	static async create(disk: Disk, path: string, first: Superblock): Promise<void> {
		const file = await disk.open(path, 'create');
		try {
			// Both slots have their space from the start: a full file system must not keep the volume from being opened.
			await writeFully(file, Buffer.alloc(2 * slotBytes), 0);
			await writeFully(file, encodeSuperblock(first), (first.sequence % 2) * slotBytes);
			await file.datasync();
		} finally {
			await file.close();
		}
	}

	/** Rejects with VolumeFault when neither slot is valid. */
	static async open(disk: Disk, path: string, mode: 'existing' | 'readOnly' = 'existing'): Promise<SuperblockFile> {
		const file = await disk.open(path, mode);
		try {
			const found = await Promise.all([readSlot(file, 0), readSlot(file, 1)]);
			const valid = found.filter((slot) => typeof slot !== 'string');
			const faults = found.filter((slot) => typeof slot === 'string');
			const newest = valid.sort((a, b) => b.sequence - a.sequence)[0];
			if (newest === undefined)
				throw new VolumeFault(`the superblock is corrupt (slot 0: ${faults[0]}; slot 1: ${faults[1]}): restore the volume from a backup`);
			return new SuperblockFile(file, newest);
		} catch (error) {
			await file.close();
			throw error;
		}
	}

	get current(): Readonly<Superblock> {
		return this.#current;
	}

	/** Writes the changed superblock to the other slot and makes it durable; only then it is current. A failure leaves the old one current and rejects. */
	update(changes: Partial<Omit<Superblock, 'sequence'>>): Promise<void> {
		const step = this.#line.then(async () => {
			const next: Superblock = { ...this.#current, ...changes, sequence: this.#current.sequence + 1 };
			await writeFully(this.#file, encodeSuperblock(next), (next.sequence % 2) * slotBytes);
			await this.#file.datasync();
			this.#current = next;
		});
		// The next in line starts whatever became of this one; this one's failure reaches its own caller.
		this.#line = step.catch(() => undefined);
		return step;
	}

	/**
	 * The same in both slots: for what an older slot must not take back should the newer one be damaged (a clean stamp that is withdrawn, a size, a hold).
	 */
	async updateBoth(changes: Partial<Omit<Superblock, 'sequence'>>): Promise<void> {
		await this.update(changes);
		await this.update({});
	}

	/** After the updates that are under way. */
	async close(): Promise<void> {
		await this.#line;
		await this.#file.close();
	}
}

/** A read that meets a bad slot is made once more: a misdirected read must not send the volume back to its older slot. */
async function readSlot(file: DiskFile, index: number): Promise<Superblock | string> {
	const slot = Buffer.alloc(slotBytes);
	let found: Superblock | string = '';
	for (let attempt = 0; attempt < 2; attempt++) {
		await readFully(file, slot, index * slotBytes);
		found = decodeSuperblock(slot);
		if (typeof found === 'string') continue;
		// Its own address: a slot that belongs elsewhere was misread or miswritten.
		if (found.sequence % 2 === index) return found;
		found = `sequence ${found.sequence} belongs into the other slot`;
	}
	return found;
}

function text(bytes: Buffer): string {
	const end = bytes.indexOf(0);
	return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function uuidText(bytes: Buffer): string {
	return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
