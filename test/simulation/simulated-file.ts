import { type DiskFile, wouldBlock } from '../../src/os/disk.ts';
import { type Fault, kernelError } from './operation.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import type { Change, SimulatedInode } from './simulated-inode.ts';
import { sectorBytes } from './sparse-content.ts';

/** What a target holds while a read is under way: who looks at it too early sees this. */
const garbage = 0xa5;

/** An open file of a SimulatedDisk. */
export class SimulatedFile implements DiskFile {
	readonly path: string;
	readonly #disk: SimulatedDisk;
	readonly #inode: SimulatedInode;
	readonly #readOnly: boolean;
	#open = true;

	constructor(disk: SimulatedDisk, path: string, inode: SimulatedInode, readOnly: boolean) {
		this.#disk = disk;
		this.path = path;
		this.#inode = inode;
		this.#readOnly = readOnly;
	}

	sizeBytes(): Promise<number> {
		return this.#submit('sizeBytes', () => this.#inode.content.sizeBytes);
	}

	tryRead(whole: Uint8Array, positionBytes: number, start = 0, end = whole.length): number {
		const target = whole.subarray(start, end);
		const what = { positionBytes, lengthBytes: target.length, inode: this.#inode };
		return this.#disk.perform(
			'tryRead',
			this.path,
			(fault) => {
				this.#mustBeOpen();
				const { random } = this.#disk;
				if (fault === undefined && random.chance(this.#disk.wouldBlockChance)) {
					target.fill(garbage, 0, random.below(target.length + 1));
					return wouldBlock;
				}
				return this.#read(target, positionBytes, fault);
			},
			what,
		);
	}

	read(target: Uint8Array, positionBytes: number): Promise<number> {
		target.fill(garbage);
		return this.#submit('read', (fault) => this.#read(target, positionBytes, fault), { positionBytes, lengthBytes: target.length });
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		const data = new Uint8Array(source);
		const what = { positionBytes, lengthBytes: data.length, inode: this.#inode, change: { kind: 'write', positionBytes, data } as const };
		return this.#disk.perform('writeSync', this.path, (fault) => this.#write(data, positionBytes, fault), what);
	}

	write(source: Uint8Array, positionBytes: number): Promise<number> {
		return this.writev([source], positionBytes);
	}

	writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		const data = gather(sources);
		const effect = (fault: Fault | undefined): number => {
			if (!isStill(data, sources)) {
				this.#disk.violations.push(`a buffer changed while it was written to ${this.path} at ${positionBytes}`);
			}
			return this.#write(data, positionBytes, fault);
		};
		return this.#submit('write', effect, { positionBytes, lengthBytes: data.length, change: { kind: 'write', positionBytes, data } });
	}

	datasync(): Promise<void> {
		// Writes that take effect after the call was made are not promised.
		const upTo = this.#disk.sequence;
		return this.#submit('datasync', (fault) => {
			if (fault?.kind === 'error') {
				this.#inode.failSync(upTo);
				throw kernelError(fault.code, this.path);
			}
			this.#inode.sync(upTo);
		});
	}

	punch(positionBytes: number, lengthBytes: number): Promise<void> {
		return this.#change({ kind: 'punch', positionBytes, lengthBytes });
	}

	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
		return this.#submit('nextData', () => this.#inode.content.nextData(positionBytes), { positionBytes });
	}

	links(): Promise<number> {
		return this.#submit('links', () => this.#disk.linksOf(this.#inode));
	}

	/** Nothing can go wrong with it that does not with links(). */
	inode(): Promise<number> {
		return Promise.resolve(this.#inode.number);
	}

	allocatedBytes(): Promise<number> {
		return this.#submit('allocatedBytes', () => this.#inode.content.allocatedBytes);
	}

	truncate(sizeBytes: number): Promise<void> {
		return this.#change({ kind: 'truncate', sizeBytes });
	}

	close(): Promise<void> {
		return this.#submit('close', () => {
			this.#open = false;
		});
	}

	#change(change: Change & { kind: 'punch' | 'truncate' }): Promise<void> {
		const lengthBytes = change.kind === 'punch' ? change.lengthBytes : 0;
		const positionBytes = change.kind === 'punch' ? change.positionBytes : change.sizeBytes;
		const effect = (): void => {
			this.#mustBeWritable();
			this.#inode.apply(change, this.#disk.nextSequence());
		};
		return this.#submit(change.kind, effect, { positionBytes, lengthBytes, change });
	}

	#submit<T>(
		kind: Parameters<SimulatedDisk['submit']>[0],
		effect: (fault: Fault | undefined) => T,
		what: { positionBytes?: number; lengthBytes?: number; change?: Change } = {},
	): Promise<T> {
		const checked = (fault: Fault | undefined): T => {
			this.#mustBeOpen();
			return effect(fault);
		};
		return this.#disk.submit(kind, this.path, checked, { ...what, inode: this.#inode });
	}

	#read(target: Uint8Array, positionBytes: number, fault: Fault | undefined): number {
		const length = fault?.kind === 'short' ? Math.min(fault.bytesMax, target.length) : this.#drawLength(target.length);
		const part = target.subarray(0, length);
		const from = fault?.kind === 'misdirected' ? Math.max(0, positionBytes + fault.byBytes) : positionBytes;
		const bytes = this.#inode.content.read(part, from);
		if (fault?.kind === 'flippedBit' && bytes > 0) {
			const index = fault.byteIndex % bytes;
			part[index] = (part[index] ?? 0) ^ (1 << fault.bit);
		}
		return bytes;
	}

	#write(data: Uint8Array, positionBytes: number, fault: Fault | undefined): number {
		this.#mustBeOpen();
		this.#mustBeWritable();
		let length = fault?.kind === 'short' ? Math.min(fault.bytesMax, data.length) : this.#drawLength(data.length);
		if (fault?.kind === 'error')
			length = fault.code === 'EIO' && this.#disk.random.chance(0.5) ? this.#disk.random.below(data.length + 1) : 0;
		if (length > 0 && length < data.length) length = endInSectors(positionBytes, length, data.length);
		const fits = this.#disk.admit(this.#inode, positionBytes, length);
		if (fits > 0) this.#inode.apply({ kind: 'write', positionBytes, data: data.subarray(0, fits) }, this.#disk.nextSequence());
		if (fault?.kind === 'error') throw kernelError(fault.code, this.path);
		if (fits === 0 && data.length > 0) throw kernelError('ENOSPC', this.path);
		return fits;
	}

	#drawLength(length: number): number {
		const { random, shortChance } = this.#disk;
		return length > 1 && random.chance(shortChance) ? 1 + random.below(length - 1) : length;
	}

	#mustBeOpen(): void {
		if (this.#open) return;
		this.#disk.violations.push(`a closed file was used: ${this.path}`);
		throw kernelError('EBADF', this.path);
	}

	#mustBeWritable(): void {
		if (this.#readOnly) throw kernelError('EBADF', this.path);
	}
}

/** The kernel copies page by page and a disk writes sector by sector: a write that ends early ends between sectors. */
function endInSectors(positionBytes: number, lengthBytes: number, wholeBytes: number): number {
	const sectors = Math.max(Math.floor((positionBytes + lengthBytes) / sectorBytes), Math.floor(positionBytes / sectorBytes) + 1);
	return Math.min(wholeBytes, sectors * sectorBytes - positionBytes);
}

function gather(sources: readonly Uint8Array[]): Uint8Array {
	const [only] = sources;
	return only !== undefined && sources.length === 1 ? new Uint8Array(only) : new Uint8Array(Buffer.concat(sources));
}

function isStill(data: Uint8Array, sources: readonly Uint8Array[]): boolean {
	let at = 0;
	for (const source of sources) {
		if (Buffer.compare(data.subarray(at, at + source.length), source) !== 0) return false;
		at += source.length;
	}
	return true;
}
