import { errorCode, type Disk, type DiskFile } from '../os/disk.ts';
import { limits, unitBytes } from './limits.ts';
import { isHistoryHold } from './history-hold.ts';
import type { Hold } from './superblock.ts';
import { VolumeUsageError } from './volume-fault.ts';
import { createZeroFilled, fillWithZeros, firstLSNOf, segmentName, WalSegment } from './wal-segment.ts';

export interface SegmentsOwner {
	roomMade(): void;
	/** There is no spare and the file system is full: room comes only from what the flusher frees. */
	segmentsOutOfSpace(): void;
	segmentsFailed(reason: string, cause: unknown): void;
	holdBroken(hold: Hold): void;
}

/** What a volume is made with: one is written while the other is flushed, so that a full file system never stops the log. */
export const segmentFilesMin = 2;

interface FreeFile {
	path: string;
	file: DiskFile;
}

/**
 * The files of the log. A segment is live from its activation until the checkpoint has passed it and nobody pins or holds it; then its file is free and is
 * renamed, in the background, to be the spare for the next sequence. So a segment's name is durable before its first record is written.
 *
 *   zero-filled → spare → live → free → (renamed) spare → …
 */
export class WalSegments {
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #segmentBytes: number;
	readonly #segmentUnits: number;
	readonly #filesMax: number;
	readonly #owner: SegmentsOwner;
	readonly #live = new Map<number, WalSegment>();
	readonly #spares = new Map<number, WalSegment>();
	readonly #free: FreeFile[] = [];
	readonly holds: Hold[];
	/** Holds that may still count after a crash. */
	readonly #replaced = new Set<Hold>();
	#checkpointLSN: number;
	/** What the next spare will be. */
	#nextSequence = 0;
	#preparing: Promise<void> | undefined;
	/** 1 while a file is made ready. */
	#making = 0;
	#removing: Promise<void> = Promise.resolve();
	/** Counts what makes room: a file that is free now, or space that is. */
	#gains = 0;
	#stopped = false;
	recycled = 0;

	constructor(
		disk: Disk,
		directory: string,
		segmentBytes: number,
		filesMax: number,
		start: { checkpointLSN: number; holds: Hold[] },
		owner: SegmentsOwner,
	) {
		this.#disk = disk;
		this.#directory = directory;
		this.#segmentBytes = segmentBytes;
		this.#segmentUnits = segmentBytes / unitBytes;
		this.#filesMax = filesMax;
		this.#checkpointLSN = start.checkpointLSN;
		this.holds = start.holds;
		this.#owner = owner;
	}

	/**
	 * Takes over the files that are in the directory. Those from the oldest needed LSN to the tail are live; others with the right length are free, the rest is
	 * removed: a segment whose making a crash cut short. A live one that is short is made whole: it was put to use after an fdatasync of its zeros had failed, and a
	 * loss of power left it only what was synced since.
	 */
	async adopt(tailLSN: number, wasClosed: boolean): Promise<void> {
		// A process that was killed may have left names that are in the kernel only.
		if (!wasClosed) await this.#disk.syncDirectory(this.#directory);
		const oldest = Math.floor(this.#oldestNeeded() / this.#segmentUnits);
		const newest = Math.floor(tailLSN / this.#segmentUnits);
		for (const name of await this.#disk.list(this.#directory)) {
			const path = `${this.#directory}/${name}`;
			const firstLSN = firstLSNOf(name);
			// Not ours to judge.
			if (firstLSN < 0) continue;
			const sequence = firstLSN / this.#segmentUnits;
			const file = await this.#disk.open(path, 'existing');
			const sizeBytes = await file.sizeBytes();
			const isWhole = Number.isInteger(sequence) && sizeBytes === this.#segmentBytes;
			const hasRecords = firstLSN < tailLSN && Number.isInteger(sequence);
			if ((isWhole || hasRecords) && sequence >= oldest && sequence <= newest) {
				if (!isWhole) await fillWithZeros(file, sizeBytes, this.#segmentBytes);
				const segment = new WalSegment(sequence, path, file);
				// Its bytes may be in the kernel only.
				segment.unsynced = true;
				this.#live.set(sequence, segment);
			} else if (isWhole && this.#free.length < this.#filesMax) {
				this.#free.push({ path, file });
			} else {
				await file.close();
				await this.#disk.remove(path);
			}
		}
		this.#nextSequence = this.#live.has(newest) ? newest + 1 : newest;
	}

	at(sequence: number): WalSegment | undefined {
		return this.#live.get(sequence);
	}

	/** The live segment that holds a location, and where in it. */
	segmentOf(location: number): WalSegment {
		const segment = this.#live.get(Math.floor(location / this.#segmentUnits));
		if (segment === undefined) throw new Error(`location ${location} is in no live segment`);
		return segment;
	}

	positionOf(location: number): number {
		return (location % this.#segmentUnits) * unitBytes;
	}

	get hasSpare(): boolean {
		return this.#spares.size > 0;
	}

	get anyUnsynced(): boolean {
		for (const segment of this.#live.values()) if (segment.unsynced) return true;
		return false;
	}

	get liveCount(): number {
		return this.#live.size;
	}

	get files(): number {
		return this.#live.size + this.#spares.size + this.#free.length;
	}

	/** Makes the spare of a sequence live; undefined when there is none yet (roomMade follows). */
	activate(sequence: number): WalSegment | undefined {
		const segment = this.#spares.get(sequence);
		if (segment !== undefined) {
			this.#spares.delete(sequence);
			this.#live.set(sequence, segment);
			this.#nextSequence = sequence + 1;
		}
		this.prepareSpare();
		return segment;
	}

	async datasync(): Promise<void> {
		const unsynced = [...this.#live.values()].filter((segment) => segment.unsynced);
		for (const segment of unsynced) segment.unsynced = false;
		await Promise.all(unsynced.map((segment) => segment.file.datasync()));
	}

	/** Everything below is in the layers, durably. */
	setCheckpoint(lsn: number): void {
		this.#checkpointLSN = lsn;
		this.recycle();
	}

	addHold(hold: Hold, checkpointLSN: number): void {
		if (this.holds.some(({ name }) => name === hold.name)) throw new VolumeUsageError(`the log is held by ${hold.name} already`);
		if (this.holds.length >= limits.holdsMax) throw new VolumeUsageError(`the log has ${limits.holdsMax} holds, no more are possible`);
		if (hold.name === '' || Buffer.byteLength(hold.name) > limits.holdNameBytes)
			throw new VolumeUsageError(`${hold.name} is no name of 1 to ${limits.holdNameBytes} bytes`);
		const oldest = Math.min(...this.#live.keys()) * this.#segmentUnits;
		if (hold.fromLSN < oldest || hold.fromLSN > checkpointLSN)
			throw new VolumeUsageError(`LSN ${hold.fromLSN} is not between ${oldest} and the checkpoint`);
		this.holds.push(hold);
	}

	/** Puts another hold in the place of one, or none. What is not kept any more stays until the function is called: when that is durable. */
	replaceHold(name: string, next: Hold | undefined): () => void {
		const at = this.holds.findIndex((hold) => hold.name === name);
		const old = this.holds[at];
		if (old === undefined) throw new VolumeUsageError(`nobody called ${name} holds the log`);
		this.holds.splice(at, 1, ...(next === undefined ? [] : [next]));
		this.#replaced.add(old);
		return () => {
			this.#replaced.delete(old);
			this.recycle();
		};
	}

	/** From here to an LSN no segment is missing. */
	unbrokenFrom(endLSN: number): number {
		let first = Math.ceil(endLSN / this.#segmentUnits);
		while (this.#live.has(first - 1)) first--;
		return first * this.#segmentUnits;
	}

	/** Resolves when what was to be removed is. */
	async trimmed(): Promise<void> {
		await this.#removing;
	}

	/** Frees what nobody needs any more. */
	recycle(): void {
		const oldest = Math.floor(this.#oldestNeeded() / this.#segmentUnits);
		for (const [sequence, segment] of this.#live) {
			if (sequence >= oldest || segment.pins > 0) continue;
			this.#live.delete(sequence);
			this.#free.push({ path: segment.path, file: segment.file });
			this.recycled++;
			this.#gains++;
		}
		this.trim(this.#filesMax);
		this.prepareSpare();
	}

	/** Brings the number of files to what a quiet volume has. */
	keep(files: number): void {
		this.trim(files);
		this.stock(files);
	}

	/** Makes free files until there are so many of all; stops early when a spare is needed, the log closes or the file system is full. */
	stock(files: number): void {
		if (this.#preparing !== undefined || this.#stopped || this.files >= files) return;
		const newest = Math.max(this.#nextSequence, ...this.#free.map(({ path }) => this.#sequenceOf(path)), ...this.#spares.keys());
		const path = this.#pathOf(newest + 1);
		this.#preparing = createZeroFilled(this.#disk, path, this.#segmentBytes)
			.then((file) => {
				this.#free.push({ path, file });
			})
			.catch((error: unknown) => {
				if (errorCode(error) !== 'ENOSPC') this.#owner.segmentsFailed('a segment of the write-ahead log could not be made ready', error);
			})
			.finally(() => {
				this.#preparing = undefined;
				if (this.#spares.size === 0) this.prepareSpare();
				else if (this.#free.some((free) => free.path === path)) this.stock(files);
			});
	}

	#pathOf(sequence: number): string {
		return `${this.#directory}/${segmentName(sequence * this.#segmentUnits)}`;
	}

	#sequenceOf(path: string): number {
		return firstLSNOf(path.slice(path.lastIndexOf('/') + 1)) / this.#segmentUnits;
	}

	/** Removes free files until so many are left of all, held ones not counted. */
	trim(filesMax: number): void {
		while (this.#needed() + this.#spares.size + this.#making + this.#free.length > filesMax) {
			const free = this.#free.pop();
			if (free === undefined) return;
			this.#removing = this.#removing
				.then(() => free.file.close())
				.then(() => this.#disk.remove(free.path))
				.then(() => void this.#gains++)
				.catch((error: unknown) => this.#owner.segmentsFailed('a segment of the write-ahead log could not be removed', error));
		}
	}

	/** A read in the segment has ended: it may be free now. */
	unpinned(segment: WalSegment): void {
		if (segment.pins === 0 && (segment.sequence + 1) * this.#segmentUnits <= this.#checkpointLSN) this.recycle();
	}

	/** Starts to make a spare unless there is one, or all the files that there may be. */
	prepareSpare(): void {
		if (this.#spares.size > 0 || this.#preparing !== undefined || this.#stopped) return;
		if (this.#free.length === 0 && this.#needed() >= this.#filesMax) return;
		this.#making = 1;
		this.#preparing = this.#makeSpare()
			.catch((error: unknown) => this.#owner.segmentsFailed('a segment of the write-ahead log could not be made ready', error))
			.finally(() => {
				this.#preparing = undefined;
				this.#making = 0;
				if (this.#spares.size > 0) this.#owner.roomMade();
			});
	}

	stop(): void {
		this.#stopped = true;
	}

	async close(): Promise<void> {
		this.#stopped = true;
		await this.#preparing;
		await this.#removing;
		const files = [...this.#live.values(), ...this.#spares.values(), ...this.#free].map(({ file }) => file);
		await Promise.all(files.map((file) => file.close()));
	}

	/** Segments that do not stand below the checkpoint only because of a hold. */
	#needed(): number {
		const checkpoint = Math.floor(this.#checkpointLSN / this.#segmentUnits);
		let needed = 0;
		for (const sequence of this.#live.keys()) if (sequence >= checkpoint) needed++;
		return needed;
	}

	#oldestNeeded(): number {
		let oldest = this.#checkpointLSN;
		for (const hold of this.holds.slice()) {
			// The history keeps to its budget by itself, and loses its oldest part only.
			if ((this.#checkpointLSN - hold.fromLSN) * unitBytes > hold.budgetBytes && !isHistoryHold(hold)) {
				this.holds.splice(this.holds.indexOf(hold), 1);
				this.#owner.holdBroken(hold);
			} else if (hold.fromLSN < oldest) {
				oldest = hold.fromLSN;
			}
		}
		for (const { fromLSN } of this.#replaced) oldest = Math.min(oldest, fromLSN);
		return oldest;
	}

	/** A file system that was full when the attempt began may have room when it fails, or the log a free file: nobody is told then, and another attempt is made. */
	async #makeSpare(): Promise<void> {
		for (let gains = -1; gains !== this.#gains && !this.#stopped;) {
			gains = this.#gains;
			if (await this.#tryMakeSpare()) return;
		}
		if (!this.#stopped) this.#owner.segmentsOutOfSpace();
	}

	/** False if the file system is full. */
	async #tryMakeSpare(): Promise<boolean> {
		// A removal goes by name: the name may be the one that this spare gets.
		for (let seen: Promise<void> | undefined; seen !== this.#removing;) {
			seen = this.#removing;
			await seen;
		}
		const sequence = this.#nextSequence;
		const path = this.#pathOf(sequence);
		// One that has the name already must be the one: a rename would put another in its place.
		const [free] = this.#free.splice(
			Math.max(
				0,
				this.#free.findIndex((candidate) => candidate.path === path),
			),
			1,
		);
		let file: DiskFile;
		if (free === undefined) {
			try {
				file = await createZeroFilled(this.#disk, path, this.#segmentBytes);
			} catch (error) {
				if (errorCode(error) !== 'ENOSPC') throw error;
				return false;
			}
		} else {
			file = free.file;
			if (free.path !== path) await this.#disk.rename(free.path, path);
		}
		await this.#disk.syncDirectory(this.#directory);
		this.#spares.set(sequence, new WalSegment(sequence, path, file));
		return true;
	}
}
