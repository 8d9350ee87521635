import type { RemotePages, RemoteSource } from '../../src/blockvol/remote-pages.ts';
import { fillBlocks } from './block-content.ts';
import type { Random } from './random.ts';
import { sectorBytes } from './sparse-content.ts';
import { type Windows, WindowedDevice } from './windows.ts';

const chunkBytes = 64 * 1024;
/** Writes that the archived snapshot was made of; those of a simulation have higher numbers. */
export const archivedWrites = 1000;

/** What a lazily restored volume begins with: an archived snapshot of random writes, with chunks and pages of zeros in between. */
export class LazyContent {
	/** By block of the windows: the write that it shows. */
	readonly numbers: Int32Array;
	readonly #windows: Windows;

	constructor(random: Random, sizeBytes: number, windows: Windows) {
		this.#windows = windows;
		this.numbers = new Int32Array(sizeBytes / sectorBytes);
		for (let block = 0; block < this.numbers.length;) {
			const blocks = random.pick([1, 8, 8, 32, 128]);
			this.numbers.fill(random.chance(0.3) ? 0 : random.between(1, archivedWrites), block, block + blocks);
			block += blocks;
		}
	}

	get source(): RemoteSource {
		return {
			identity: { repository: 'vault', manifest: 'simulated' },
			sizeBytes: WindowedDevice.deviceBytes(this.#windows, this.numbers.length * sectorBytes),
			chunkBytes,
			chunkIsZero: (chunk) => this.#chunk(chunk).every((byte) => byte === 0),
		};
	}

	/** Gives each chunk after some turns. */
	pages(random: Random): RemotePages {
		return {
			fetch: async (index) => {
				for (let hops = random.below(12); hops > 0; hops--) await Promise.resolve();
				if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
				return this.#chunk(index);
			},
		};
	}

	#chunk(index: number): Buffer {
		const { windowBytes, gapBytes, count } = this.#windows;
		const sizeBytes = WindowedDevice.deviceBytes(this.#windows, this.numbers.length * sectorBytes);
		const bytes = Buffer.alloc(Math.min(chunkBytes, sizeBytes - index * chunkBytes));
		for (let at = 0; at < bytes.length; at += sectorBytes) {
			const position = index * chunkBytes + at;
			const window = Math.min(count - 1, Math.floor(position / (windowBytes + gapBytes)));
			const inWindow = position - window * (windowBytes + gapBytes);
			if (inWindow >= windowBytes) continue;
			const block = (window * windowBytes + inWindow) / sectorBytes;
			const number = this.numbers[block] as number;
			if (number !== 0) fillBlocks(bytes.subarray(at, at + sectorBytes), number, block);
		}
		return bytes;
	}
}
