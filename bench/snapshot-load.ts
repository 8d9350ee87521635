import type { BlockDevice, Outcome } from '../src/blockvol/block-device.ts';
import { pageBytes } from '../src/blockvol/limits.ts';
import type { Disk, DiskFile } from '../src/os/disk.ts';
import { LatencyHistogram } from './histogram.ts';

export function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** By the log: shorter than what goes straight to the layer. */
const fillBytes = 64 * 1024 - pageBytes;

/** Writes the first `lengthBytes`, one piece after the other. */
export async function prefill(device: BlockDevice, lengthBytes: number): Promise<void> {
	for (let offset = 0; offset < lengthBytes; offset += fillBytes) {
		const data = Buffer.alloc(Math.min(fillBytes, lengthBytes - offset), 1 + (offset % 251));
		await good((completion) => device.write(offset, data, false, completion));
	}
}

export interface ReadResult {
	readonly iops: number;
	/** Of each. */
	readonly cpuUs: number;
	/** How many the kernel did not have. */
	readonly waited: number;
}

/** Random reads of a page, one at a time, as the protocols make them: at once where the kernel has the page, else through the pool. */
export async function readFor(device: BlockDevice, pages: number, seconds: number): Promise<ReadResult> {
	const target = Buffer.alloc(pageBytes);
	const cpu = process.cpuUsage();
	const startedAt = performance.now();
	let count = 0;
	let waited = 0;
	while (performance.now() - startedAt < seconds * 1000) {
		for (let at = 0; at < 64; at++) {
			const offset = randomPage(pages) * pageBytes;
			count++;
			if (device.tryRead(offset, target) !== undefined) continue;
			waited++;
			await good((completion) => device.read(offset, target, completion));
		}
		// Others have their turn, as between two PDUs.
		await new Promise((resolve) => setImmediate(resolve));
	}
	const { user, system } = process.cpuUsage(cpu);
	return { iops: (count * 1000) / (performance.now() - startedAt), cpuUs: (user + system) / count, waited };
}

/** Random writes of a page, `depth` outstanding, for so long or until there were `countMax`. */
export async function writeFor(
	device: BlockDevice,
	pages: number,
	countMax: number,
	depth: number,
	seconds: number,
	before?: (page: number) => Promise<void> | undefined,
): Promise<{ iops: number }> {
	const data = Buffer.alloc(pageBytes, 7);
	const startedAt = performance.now();
	let count = 0;
	const isOver = (): boolean => (countMax === Infinity ? performance.now() - startedAt >= seconds * 1000 : count >= countMax);
	const worker = async (): Promise<void> => {
		while (!isOver()) {
			const page = randomPage(pages);
			count++;
			const first = before?.(page);
			if (first !== undefined) await first;
			await good((completion) => device.write(page * pageBytes, data, false, completion));
		}
	};
	await Promise.all(Array.from({ length: depth }, worker));
	return { iops: (count * 1000) / (performance.now() - startedAt) };
}

/** What a copy-on-write design does before the first write to a page after a snapshot: reads it and writes it elsewhere. */
export class CopyOnWrite {
	readonly #file: DiskFile;
	readonly #pages: number;
	readonly #copied = new Set<number>();

	private constructor(file: DiskFile, pages: number) {
		this.#file = file;
		this.#pages = pages;
	}

	/** Over a file of its own: the pages as they are, and behind them the copies. */
	static async open(disk: Disk, path: string, pages: number): Promise<CopyOnWrite> {
		const file = await disk.open(path, 'create');
		const chunk = Buffer.alloc(256 * pageBytes, 5);
		for (let page = 0; page < pages; page += 256) await file.write(chunk, page * pageBytes);
		return new CopyOnWrite(file, pages);
	}

	/** There is a new snapshot: no page was copied for it. */
	begin(): void {
		this.#copied.clear();
	}

	/** Undefined: it was copied already. */
	beforeWrite(page: number): Promise<void> | undefined {
		if (this.#copied.has(page)) return undefined;
		this.#copied.add(page);
		return this.#copy(page, this.#pages + this.#copied.size);
	}

	async close(): Promise<void> {
		await this.#file.close();
	}

	async #copy(page: number, to: number): Promise<void> {
		const bytes = Buffer.allocUnsafe(pageBytes);
		await this.#file.read(bytes, page * pageBytes);
		await this.#file.write(bytes, to * pageBytes);
	}
}

/** The latency of writes while something else goes on. */
export const Pulse = {
	/** Eight writers, each with one outstanding, as long as `work` takes. */
	async over(device: BlockDevice, pages: number, work: () => Promise<void>): Promise<LatencyHistogram> {
		const histogram = new LatencyHistogram();
		const data = Buffer.alloc(pageBytes, 9);
		const state = { isOver: false };
		const writer = async (): Promise<void> => {
			while (!state.isOver) {
				const startedAt = performance.now();
				await good((completion) => device.write(randomPage(pages) * pageBytes, data, false, completion));
				histogram.record((performance.now() - startedAt) * 1000);
			}
		};
		const writers = Promise.all(Array.from({ length: 8 }, writer));
		try {
			await work();
		} finally {
			state.isOver = true;
			await writers;
		}
		return histogram;
	},
};

function randomPage(pages: number): number {
	return Math.floor(Math.random() * pages);
}

async function good(start: (completion: { complete(outcome: Outcome): void }) => void): Promise<void> {
	const outcome = await new Promise<Outcome>((resolve) => {
		start({ complete: resolve });
	});
	if (outcome !== 'good') throw new Error(`a command ended with ${outcome}`);
}
