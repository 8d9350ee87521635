import { drawSectors, type Temper } from './fate.ts';
import type { Random } from './random.ts';
import { sectorBytes, SparseContent } from './sparse-content.ts';

/** A change of a file's content. `data` never changes after it is here. */
export type Change =
	| { readonly kind: 'write'; readonly positionBytes: number; readonly data: Uint8Array }
	| { readonly kind: 'punch'; readonly positionBytes: number; readonly lengthBytes: number }
	| { readonly kind: 'truncate'; readonly sizeBytes: number };

interface Pending {
	readonly sequence: number;
	readonly change: Change;
}

/** The range of sequence numbers of all that is unsynced on a disk: turns a sequence number into an age. */
export interface AgeRange {
	oldest: number;
	youngest: number;
}

/**
 * A file: what a process sees of it, what is on stable storage, and the changes between the two.
 *
 * Sectors in limbo were unsynced when a datasync failed: the kernel marks them clean (the process still reads them, the next datasync succeeds without
 * writing them), and whether they are on the disk is known only after the next power loss.
 */
export class SimulatedInode {
	readonly number: number;
	#visible = new SparseContent();
	#durable = new SparseContent();
	#pending: Pending[] = [];
	/** Sector → its content when the datasync failed. */
	#limbo = new Map<number, Uint8Array>();
	#limboSizeBytes: number | undefined;

	constructor(number: number) {
		this.number = number;
	}

	get content(): SparseContent {
		return this.#visible;
	}

	get unsynced(): number {
		return this.#pending.length;
	}

	apply(change: Change, sequence: number): void {
		applyChange(this.#visible, change);
		this.#pending.push({ sequence, change });
	}

	/** Makes durable what was applied up to a sequence number: changes that came while the sync was under way are not promised. */
	sync(upToSequence: number): void {
		let count = 0;
		for (const { sequence, change } of this.#pending) {
			if (sequence > upToSequence) break;
			count++;
			applyChange(this.#durable, change);
			this.#leaveLimbo(change);
		}
		this.#pending.splice(0, count);
	}

	failSync(upToSequence: number): void {
		const rest: Pending[] = [];
		for (const pending of this.#pending) {
			if (pending.sequence > upToSequence) rest.push(pending);
			else this.#enterLimbo(pending.change);
		}
		this.#pending = rest;
	}

	/** What `kill -9` leaves: the kernel goes on, so all stays as it is, unsynced changes too. */
	copy(): SimulatedInode {
		const copy = new SimulatedInode(this.number);
		copy.#visible = this.#visible.copy();
		copy.#durable = this.#durable.copy();
		copy.#pending = this.#pending.slice();
		copy.#limbo = new Map(this.#limbo);
		copy.#limboSizeBytes = this.#limboSizeBytes;
		return copy;
	}

	/** What power loss leaves: all that is left is durable. `inFlight` are changes that were under way. */
	survivor(temper: Temper, random: Random, ages: AgeRange, inFlight: readonly Change[]): SimulatedInode {
		const survivor = new SimulatedInode(this.number);
		const content = this.#durable.copy();
		const sizes = [content.sizeBytes];
		for (const [sector, data] of this.#limbo) {
			if (temper.fate(0, this.number) !== 'lost') content.write(data, sector * sectorBytes);
		}
		if (this.#limboSizeBytes !== undefined) sizes.push(this.#limboSizeBytes);
		// The order among changes need not be drawn: losing the younger of two writes to a sector is the same as writing it first.
		const final = this.#durable.copy();
		for (const { sequence, change } of this.#pending) {
			const age = (sequence - ages.oldest) / Math.max(1, ages.youngest - ages.oldest);
			applyFate(content, change, temper.fate(age, this.number), random);
			applyChange(final, change);
			if (final.sizeBytes !== sizes.at(-1)) sizes.push(final.sizeBytes);
		}
		for (const change of inFlight) {
			applyFate(content, change, temper.fate(1, this.number), random);
			applyChange(final, change);
			if (final.sizeBytes !== sizes.at(-1)) sizes.push(final.sizeBytes);
		}
		content.truncate(drawSize(sizes, temper, random, this.number));
		survivor.#durable = content;
		survivor.#visible = content.copy();
		return survivor;
	}

	noteAges(ages: AgeRange): void {
		const first = this.#pending[0];
		const last = this.#pending.at(-1);
		if (first === undefined || last === undefined) return;
		ages.oldest = Math.min(ages.oldest, first.sequence);
		ages.youngest = Math.max(ages.youngest, last.sequence);
	}

	/** Damage at rest: the bit changes on the medium and in what is read. */
	flipBit(positionBytes: number, bit: number): void {
		for (const content of [this.#visible, this.#durable]) {
			if (positionBytes >= content.sizeBytes) continue;
			const byte = Buffer.alloc(1);
			content.read(byte, positionBytes);
			byte.writeUInt8(byte.readUInt8(0) ^ (1 << bit), 0);
			content.write(byte, positionBytes);
		}
	}

	#enterLimbo(change: Change): void {
		if (change.kind === 'truncate' || (change.kind === 'write' && change.positionBytes + change.data.length > this.#durable.sizeBytes)) {
			this.#limboSizeBytes = this.#visible.sizeBytes;
		}
		for (const sector of this.#sectorsOf(change)) {
			const data = new Uint8Array(sectorBytes);
			this.#visible.read(data, sector * sectorBytes);
			this.#limbo.set(sector, data);
		}
	}

	/** The sectors in which a change may differ from what is durable: of a hole only those that held something. */
	*#sectorsOf(change: Change): Generator<number> {
		if (change.kind === 'truncate') return;
		if (change.kind === 'write') {
			yield* sectorsBetween(change.positionBytes, change.positionBytes + change.data.length);
			return;
		}
		const end = change.positionBytes + change.lengthBytes;
		let data = this.#durable.nextData(change.positionBytes);
		while (data !== undefined && data.startBytes < end) {
			yield* sectorsBetween(data.startBytes, Math.min(data.endBytes, end));
			data = this.#durable.nextData(data.endBytes);
		}
	}

	/** A sector that is written again is dirty again, and the next datasync writes it. */
	#leaveLimbo(change: Change): void {
		if (change.kind === 'truncate' || this.#durable.sizeBytes >= (this.#limboSizeBytes ?? Infinity)) this.#limboSizeBytes = undefined;
		if (this.#limbo.size === 0) return;
		if (change.kind === 'write') {
			for (const sector of sectorsBetween(change.positionBytes, change.positionBytes + change.data.length)) this.#limbo.delete(sector);
		} else {
			const start = change.kind === 'punch' ? change.positionBytes : change.sizeBytes;
			const end = change.kind === 'punch' ? start + change.lengthBytes : Infinity;
			for (const sector of this.#limbo.keys()) {
				if (sector * sectorBytes >= start && (sector + 1) * sectorBytes <= end) this.#limbo.delete(sector);
			}
		}
	}
}

function applyChange(content: SparseContent, change: Change): void {
	if (change.kind === 'write') content.write(change.data, change.positionBytes);
	else if (change.kind === 'punch') content.punch(change.positionBytes, change.lengthBytes);
	else content.truncate(change.sizeBytes);
}

function applyFate(content: SparseContent, change: Change, fate: 'lost' | 'whole' | 'torn', random: Random): void {
	if (fate === 'lost') return;
	if (fate === 'whole' || change.kind === 'truncate') return applyChange(content, change);
	if (change.kind === 'punch') {
		const sectors = Math.ceil(change.lengthBytes / sectorBytes);
		const cut = random.below(sectors + 1) * sectorBytes;
		content.punch(change.positionBytes, Math.min(cut, change.lengthBytes));
		return;
	}
	// Sectors are those of the disk, so a write that starts within a sector tears at the sector's end.
	const first = Math.floor(change.positionBytes / sectorBytes);
	const end = Math.ceil((change.positionBytes + change.data.length) / sectorBytes);
	const keeps = drawSectors(random, end - first);
	for (let sector = first; sector < end; sector++) {
		if (!keeps(sector - first)) continue;
		const from = Math.max(0, sector * sectorBytes - change.positionBytes);
		const to = Math.min(change.data.length, (sector + 1) * sectorBytes - change.positionBytes);
		content.write(change.data.subarray(from, to), change.positionBytes + from);
	}
}

/** A part of `kill -9` during a write: the first pages of it are in the kernel. */
export function partOf(change: Change, random: Random): Change | undefined {
	const shape = random.below(3);
	if (shape === 0) return undefined;
	if (shape === 1 || change.kind === 'truncate') return change;
	const length = change.kind === 'write' ? change.data.length : change.lengthBytes;
	const firstPageEnd = 4096 - (change.positionBytes % 4096);
	const part = Math.min(length, firstPageEnd + random.below(Math.ceil(length / 4096)) * 4096);
	return change.kind === 'write'
		? { kind: 'write', positionBytes: change.positionBytes, data: change.data.subarray(0, part) }
		: { kind: 'punch', positionBytes: change.positionBytes, lengthBytes: part };
}

function drawSize(sizes: readonly number[], temper: Temper, random: Random, file: number): number {
	const fate = temper.fate(0.5, file);
	if (fate === 'whole') return sizes.at(-1) ?? 0;
	if (fate === 'lost') return sizes[0] ?? 0;
	return random.pick(sizes);
}

function* sectorsBetween(startBytes: number, endBytes: number): Generator<number> {
	for (let sector = Math.floor(startBytes / sectorBytes); sector * sectorBytes < endBytes; sector++) yield sector;
}
