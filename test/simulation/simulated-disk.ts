import type { Disk, DiskFile, DiskLock } from '../../src/os/disk.ts';
import { drawTemper } from './fate.ts';
import { changingKinds, type Fault, type FaultRule, kernelError, type Operation, type OperationKind, PowerLost } from './operation.ts';
import { Pump, type Queued } from './pump.ts';
import { Random, seedOf } from './random.ts';
import type { Node, PowerLoss } from './simulated-directory.ts';
import { SimulatedFile } from './simulated-file.ts';
import { type Change, partOf, SimulatedInode } from './simulated-inode.ts';
import { SimulatedNames } from './simulated-names.ts';

export interface SimulatedDiskOptions {
	seed: number;
	/** Space on the disk; what exceeds it fails with ENOSPC. May be changed at any time. */
	quotaBytes?: number;
	/** How often tryRead finds its bytes not in memory. */
	wouldBlockChance?: number;
	/** How often a transfer is shorter than asked, as the kernel is free to do. */
	shortChance?: number;
}

/** A call as the disk keeps it while it is under way. */
interface Call extends Queued {
	readonly inode: SimulatedInode | undefined;
	readonly change: Change | undefined;
}

/**
 * A disk in memory that keeps what is unsynced apart and can lose power before any operation.
 *
 * Calls take effect one by one in an order drawn from the seed; the same seed and the same caller give the same run. An operation's number is given when it takes
 * effect (a synchronous one: at once). Nothing here waits for a clock.
 */
export class SimulatedDisk implements Disk {
	readonly random: Random;
	readonly wouldBlockChance: number;
	readonly shortChance: number;
	quotaBytes: number;
	/** Called before each operation takes effect: the moment of a crash at that operation. */
	onOperation: ((operation: Operation) => void) | undefined;
	/** Decides whether an operation fails. */
	faultRule: FaultRule | undefined;
	/** What the caller did that no caller may do: a buffer changed during a write, a closed file used. */
	readonly violations: string[] = [];
	readonly #seed: number;
	readonly #pump: Pump<Call>;
	#names = new SimulatedNames();
	#operations = 0;
	#sequence = 0;
	#lossAt = Infinity;
	#lost = false;
	#onLost: (() => void) | undefined;
	readonly #locked = new Set<SimulatedInode>();
	/** A synchronous write that is about to take effect. */
	#current: Call | undefined;

	constructor(options: SimulatedDiskOptions) {
		this.#seed = options.seed;
		this.random = new Random(options.seed);
		this.#pump = new Pump(this.random.branch());
		this.quotaBytes = options.quotaBytes ?? Infinity;
		this.wouldBlockChance = options.wouldBlockChance ?? 0.1;
		this.shortChance = options.shortChance ?? 0.02;
	}

	/** Operations that took effect. */
	get operations(): number {
		return this.#operations;
	}

	get sequence(): number {
		return this.#sequence;
	}

	get usedBytes(): number {
		let used = 0;
		for (const inode of new Set(this.#names.inodes())) used += inode.content.allocatedBytes;
		return used;
	}

	/** Calls under way. */
	get pending(): number {
		return this.#pump.queued.length;
	}

	/** From operation k on nothing takes effect or completes. Resolves when it has come to that. */
	powerLossAt(k: number): Promise<void> {
		this.#lossAt = k;
		return new Promise((resolve) => {
			this.#onLost = resolve;
		});
	}

	/** Stops the disk where it is. */
	freeze(): void {
		this.#lost = true;
		this.#pump.stop();
	}

	/** A disk as power loss at this moment leaves it: all that is on it is durable. The same seed gives the same one. */
	surviving(seed: number, options: Partial<SimulatedDiskOptions> = {}): SimulatedDisk {
		const survivor = this.#successor(seed, options);
		const random = new Random(seedOf(seed, 0x10d));
		const ages = { oldest: this.#sequence, youngest: 0 };
		this.#names.root.noteAges(ages);
		const inFlight = new Map<SimulatedInode, Change[]>();
		for (const { inode, change } of this.#underWay()) {
			if (inode === undefined || change === undefined) continue;
			inFlight.set(inode, [...(inFlight.get(inode) ?? []), change]);
		}
		const loss: PowerLoss = { temper: drawTemper(random), random, ages, inFlight, survives: new Map() };
		survivor.#names = this.#names.survivor(loss);
		return survivor;
	}

	/** A disk as `kill -9` at this moment leaves it: all that was written is there, unsynced as it was; a write under way may be there in part. */
	killed(seed: number, options: Partial<SimulatedDiskOptions> = {}): SimulatedDisk {
		const successor = this.#successor(seed, options);
		const random = new Random(seedOf(seed, 0x911));
		const copies = new Map<Node, Node>();
		successor.#names = this.#names.copy(copies);
		for (const { inode, change } of this.#underWay()) {
			const copy = inode === undefined ? undefined : copies.get(inode);
			if (!(copy instanceof SimulatedInode) || change === undefined) continue;
			const part = partOf(change, random);
			if (part !== undefined) copy.apply(part, successor.nextSequence());
		}
		return successor;
	}

	/** Damages a file at rest. */
	flipBit(path: string, positionBytes: number, bit: number): void {
		this.#names.inodeAt(path).flipBit(positionBytes, bit);
	}

	/** Every path on the disk, files and directories. */
	paths(): string[] {
		return this.#names.paths();
	}

	open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		return this.submit('open', path, () => {
			if (mode !== 'create') return new SimulatedFile(this, path, this.#names.inodeAt(path), mode === 'readOnly');
			return new SimulatedFile(this, path, this.#names.makeFile(path, false, this.nextSequence()), false);
		});
	}

	list(path: string): Promise<string[]> {
		return this.submit('list', path, () => this.#names.directoryAt(path).names);
	}

	makeDirectory(path: string): Promise<void> {
		return this.submit('makeDirectory', path, () => this.#names.makeDirectory(path, () => this.nextSequence()));
	}

	rename(from: string, to: string): Promise<void> {
		return this.submit('rename', from, () => this.#names.rename(from, to, this.nextSequence()));
	}

	link(from: string, to: string): Promise<void> {
		return this.submit('link', to, () => this.#names.link(from, to, this.nextSequence()));
	}

	/** Names that a file has now. */
	linksOf(inode: SimulatedInode): number {
		return this.#names.linksOf(inode);
	}

	remove(path: string): Promise<void> {
		return this.submit('remove', path, () => this.#names.remove(path, this.nextSequence()));
	}

	removeDirectory(path: string): Promise<void> {
		return this.submit('removeDirectory', path, () => this.#names.removeDirectory(path, this.nextSequence()));
	}

	syncDirectory(path: string): Promise<void> {
		// Only what was there when the call was made is promised. After a failure names stay unsynced: a journal that cannot commit does not forget them silently.
		const upTo = this.#sequence;
		return this.submit('syncDirectory', path, () => this.#names.sync(path, upTo));
	}

	lock(path: string): Promise<DiskLock | undefined> {
		return this.submit('lock', path, () => {
			const inode = this.#names.makeFile(path, true, this.nextSequence());
			if (this.#locked.has(inode)) return undefined;
			this.#locked.add(inode);
			const file = new SimulatedFile(this, path, inode, false);
			return {
				describe: async (text: string) => {
					await file.truncate(0);
					await file.write(Buffer.from(text), 0);
				},
				close: async () => {
					await file.close();
					this.#locked.delete(inode);
				},
			};
		});
	}

	freeBytes(path: string): Promise<number> {
		return this.submit('freeBytes', path, () => Math.max(0, Math.min(this.quotaBytes, Number.MAX_SAFE_INTEGER) - this.usedBytes));
	}

	/**
	 * Queues a call. `effect` runs when the call's turn has come; it gets the fault that was drawn for it, and if it cannot deal with that kind itself
	 * (`takesFaults`), an error fault has been thrown already.
	 */
	submit<T>(
		kind: OperationKind,
		path: string,
		effect: (fault: Fault | undefined) => T,
		what: { positionBytes?: number; lengthBytes?: number; inode?: SimulatedInode; change?: Change | undefined } = {},
	): Promise<T> {
		return new Promise<T>((resolve, reject) => {
			if (this.#lost) return;
			const run = (): void => {
				let result: T;
				try {
					result = effect(this.#begin(kind, path, what.positionBytes ?? 0, what.lengthBytes ?? 0));
				} catch (error) {
					if (error instanceof PowerLost) return;
					reject(error instanceof Error ? error : new Error('not an Error', { cause: error }));
					return;
				}
				resolve(result);
			};
			this.#pump.add({ run, inode: what.inode, change: what.change });
		});
	}

	/** A call from the calling thread: takes effect at once. */
	perform<T>(
		kind: OperationKind,
		path: string,
		effect: (fault: Fault | undefined) => T,
		what: { positionBytes: number; lengthBytes: number; inode: SimulatedInode; change?: Change },
	): T {
		this.#current = { run: nothing, inode: what.inode, change: what.change };
		const fault = this.#begin(kind, path, what.positionBytes, what.lengthBytes);
		this.#current = undefined;
		return effect(fault);
	}

	nextSequence(): number {
		return ++this.#sequence;
	}

	/** Takes space, all of it or as much as is left. Returns the bytes of the range that fit. */
	admit(inode: SimulatedInode, positionBytes: number, lengthBytes: number): number {
		if (this.quotaBytes === Infinity) return lengthBytes;
		// A disk that is over its quota (the quota came later) still takes what needs no space.
		const free = Math.max(0, this.quotaBytes - this.usedBytes);
		let fits = lengthBytes;
		while (fits > 0 && inode.content.missingBytes(positionBytes, fits) > free) {
			const end = Math.floor((positionBytes + fits - 1) / 4096) * 4096;
			fits = Math.max(0, end - positionBytes);
		}
		return fits;
	}

	#begin(kind: OperationKind, path: string, positionBytes: number, lengthBytes: number): Fault | undefined {
		if (this.#lost) throw new PowerLost();
		const operation: Operation = { number: this.#operations, kind, path, positionBytes, lengthBytes };
		if (this.#operations >= this.#lossAt) {
			this.freeze();
			this.#onLost?.();
			throw new PowerLost();
		}
		this.onOperation?.(operation);
		if (this.#lost) throw new PowerLost();
		this.#operations++;
		const fault = this.faultRule?.(operation);
		if (fault?.kind === 'error' && !dealsWithErrors.has(kind)) throw kernelError(fault.code, path);
		return fault;
	}

	#underWay(): Call[] {
		return this.#current === undefined ? [...this.#pump.queued] : [...this.#pump.queued, this.#current];
	}

	#successor(seed: number, options: Partial<SimulatedDiskOptions>): SimulatedDisk {
		const successor = new SimulatedDisk({
			seed: seedOf(this.#seed, seed),
			quotaBytes: this.quotaBytes,
			wouldBlockChance: this.wouldBlockChance,
			shortChance: this.shortChance,
			...options,
		});
		successor.#sequence = this.#sequence;
		return successor;
	}
}

/** Kinds that do something of their own when they fail. */
const dealsWithErrors: ReadonlySet<OperationKind> = new Set(['datasync', 'write', 'writeSync']);

export function isChanging(operation: Operation): boolean {
	return changingKinds.has(operation.kind);
}

function nothing(): void {
	// A synchronous call takes effect where it is made.
}
