import type { Disk, DiskFile, DiskLock } from '../../src/os/disk.ts';

/** One call of the engine to its disk. */
export interface Call {
	readonly kind: string;
	readonly path: string;
	readonly positionBytes: number;
	readonly lengthBytes: number;
}

export type Match = (call: Call) => boolean;

/** A call that is held up: `reached` resolves when it was made, `release` lets it go on. */
export interface Gate {
	readonly reached: Promise<Call>;
	release(): void;
}

interface OpenGate {
	match: Match;
	arrived: (call: Call) => void;
	passed: Promise<void>;
}

/**
 * A disk over another one that notes each call that changes or reads a file, in the order in which they were made, and on demand holds one up or has it fail.
 * Calls from the calling thread (tryRead, writeSync) can fail, but not be held up.
 */
export class WatchedDisk implements Disk {
	readonly calls: Call[] = [];
	/** Files that are open now, by path. */
	readonly openFiles = new Map<string, number>();
	/** Calls on a file that was closed. */
	readonly late: Call[] = [];
	readonly #inner: Disk;
	readonly #gates: OpenGate[] = [];
	readonly #answers: OpenGate[] = [];
	readonly #failures: { match: Match; code: string; times: number }[] = [];

	constructor(inner: Disk) {
		this.#inner = inner;
	}

	/** Holds up the next call that matches. */
	gate(match: Match): Gate {
		const reached = Promise.withResolvers<Call>();
		const passed = Promise.withResolvers<void>();
		this.#gates.push({ match, arrived: reached.resolve, passed: passed.promise });
		return { reached: reached.promise, release: passed.resolve };
	}

	/** Holds up the answer of the next read that matches: it has its bytes, and does not say so yet. */
	gateAnswer(match: Match): Gate {
		const reached = Promise.withResolvers<Call>();
		const passed = Promise.withResolvers<void>();
		this.#answers.push({ match, arrived: reached.resolve, passed: passed.promise });
		return { reached: reached.promise, release: passed.resolve };
	}

	/** Has calls that match fail with a kernel code. */
	fail(match: Match, code: string, times = Infinity): void {
		this.#failures.push({ match, code, times });
	}

	heal(): void {
		this.#failures.length = 0;
	}

	/** Calls of a kind to paths that end so, since the last forget(). */
	of(kind: string, ending = ''): Call[] {
		return this.calls.filter((call) => call.kind === kind && call.path.endsWith(ending));
	}

	forget(): void {
		this.calls.length = 0;
	}

	note(call: Call): void {
		this.calls.push(call);
		for (const failure of this.#failures) {
			if (failure.times <= 0 || !failure.match(call)) continue;
			failure.times--;
			throw Object.assign(new Error(`${failure.code}: ${call.kind} ${call.path}`), { code: failure.code });
		}
	}

	async pass(call: Call): Promise<void> {
		await wait(this.#gates, call);
		this.note(call);
	}

	answer(call: Call): Promise<void> {
		return wait(this.#answers, call);
	}

	async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		await this.pass({ kind: 'open', path, positionBytes: 0, lengthBytes: 0 });
		const file = await this.#inner.open(path, mode);
		this.openFiles.set(path, (this.openFiles.get(path) ?? 0) + 1);
		return new WatchedFile(this, file, path);
	}

	list(path: string): Promise<string[]> {
		return this.#inner.list(path);
	}

	makeDirectory(path: string): Promise<void> {
		return this.#inner.makeDirectory(path);
	}

	async rename(from: string, to: string): Promise<void> {
		await this.pass({ kind: 'rename', path: to, positionBytes: 0, lengthBytes: 0 });
		return this.#inner.rename(from, to);
	}

	async link(from: string, to: string): Promise<void> {
		await this.pass({ kind: 'link', path: to, positionBytes: 0, lengthBytes: 0 });
		return this.#inner.link(from, to);
	}

	async remove(path: string): Promise<void> {
		await this.pass({ kind: 'remove', path, positionBytes: 0, lengthBytes: 0 });
		return this.#inner.remove(path);
	}

	removeDirectory(path: string): Promise<void> {
		return this.#inner.removeDirectory(path);
	}

	async syncDirectory(path: string): Promise<void> {
		await this.pass({ kind: 'syncDirectory', path, positionBytes: 0, lengthBytes: 0 });
		return this.#inner.syncDirectory(path);
	}

	lock(path: string): Promise<DiskLock | undefined> {
		return this.#inner.lock(path);
	}

	freeBytes(path: string): Promise<number> {
		return this.#inner.freeBytes(path);
	}
}

async function wait(gates: OpenGate[], call: Call): Promise<void> {
	const at = gates.findIndex((gate) => gate.match(call));
	if (at < 0) return;
	const [gate] = gates.splice(at, 1) as [OpenGate];
	gate.arrived(call);
	await gate.passed;
}

class WatchedFile implements DiskFile {
	readonly path: string;
	readonly #disk: WatchedDisk;
	readonly #file: DiskFile;
	#isOpen = true;

	constructor(disk: WatchedDisk, file: DiskFile, path: string) {
		this.#disk = disk;
		this.#file = file;
		this.path = path;
	}

	sizeBytes(): Promise<number> {
		return this.#file.sizeBytes();
	}

	tryRead(target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
		this.#disk.note(this.#call('tryRead', positionBytes, end - start));
		return this.#file.tryRead(target, positionBytes, start, end);
	}

	async read(target: Uint8Array, positionBytes: number): Promise<number> {
		const call = this.#call('read', positionBytes, target.length);
		await this.#disk.pass(call);
		const bytes = await this.#file.read(target, positionBytes);
		await this.#disk.answer(call);
		return bytes;
	}

	writeSync(source: Uint8Array, positionBytes: number): number {
		this.#disk.note(this.#call('writeSync', positionBytes, source.length));
		return this.#file.writeSync(source, positionBytes);
	}

	async write(source: Uint8Array, positionBytes: number): Promise<number> {
		await this.#disk.pass(this.#call('write', positionBytes, source.length));
		return this.#file.write(source, positionBytes);
	}

	async writev(sources: readonly Uint8Array[], positionBytes: number): Promise<number> {
		const length = sources.reduce((sum, source) => sum + source.length, 0);
		await this.#disk.pass(this.#call('writev', positionBytes, length));
		return this.#file.writev(sources, positionBytes);
	}

	async datasync(): Promise<void> {
		await this.#disk.pass(this.#call('datasync', 0, 0));
		return this.#file.datasync();
	}

	async punch(positionBytes: number, lengthBytes: number): Promise<void> {
		await this.#disk.pass(this.#call('punch', positionBytes, lengthBytes));
		return this.#file.punch(positionBytes, lengthBytes);
	}

	nextData(positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
		return this.#file.nextData(positionBytes);
	}

	links(): Promise<number> {
		return this.#file.links();
	}

	inode(): Promise<number> {
		return this.#file.inode();
	}

	allocatedBytes(): Promise<number> {
		return this.#file.allocatedBytes();
	}

	async truncate(sizeBytes: number): Promise<void> {
		await this.#disk.pass(this.#call('truncate', sizeBytes, 0));
		return this.#file.truncate(sizeBytes);
	}

	async close(): Promise<void> {
		this.#isOpen = false;
		this.#disk.openFiles.set(this.path, (this.#disk.openFiles.get(this.path) ?? 0) - 1);
		return this.#file.close();
	}

	#call(kind: string, positionBytes: number, lengthBytes: number): Call {
		const call = { kind, path: this.path, positionBytes, lengthBytes };
		if (!this.#isOpen) this.#disk.late.push(call);
		return call;
	}
}
