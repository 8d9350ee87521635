import type { Completion } from '../../src/blockvol/block-device.ts';
import type { PageRange } from '../../src/blockvol/changed-pages.ts';
import { pageBytes } from '../../src/blockvol/limits.ts';
import type { RestoreSink, SnapshotSource } from '../../src/archive/repository-types.ts';

const zeroPage = Buffer.alloc(pageBytes);

/** A volume in memory that knows its snapshots and what changed between them, as the engine does. */
export class FakeVolume {
	readonly uuid: string;
	readonly name: string;
	readonly blockSize: 512 | 4096;
	bytes: Buffer;
	readonly #written: Set<number>[] = [new Set()];
	readonly #snapshots: FakeSnapshot[] = [];

	constructor(sizeBytes: number, { uuid = '00000000-0000-4000-8000-000000000001', name = 'demo' } = {}) {
		this.uuid = uuid;
		this.name = name;
		this.blockSize = 512;
		this.bytes = Buffer.alloc(sizeBytes);
	}

	write(offsetBytes: number, data: Uint8Array): void {
		this.bytes.set(data, offsetBytes);
		const last = Math.floor((offsetBytes + data.length - 1) / pageBytes);
		for (let page = Math.floor(offsetBytes / pageBytes); page <= last; page++) this.#written.at(-1)?.add(page);
	}

	resize(sizeBytes: number): void {
		const bytes = Buffer.alloc(sizeBytes);
		this.bytes.copy(bytes);
		this.bytes = bytes;
	}

	snapshot(name = `s${this.#snapshots.length + 1}`): FakeSnapshot {
		const id = this.#snapshots.length + 1;
		const snapshot = new FakeSnapshot(this, id, name, Buffer.from(this.bytes), this.#written);
		this.#snapshots.push(snapshot);
		this.#written.push(new Set());
		return snapshot;
	}
}

/** A snapshot that counts what is read of it. */
export class FakeSnapshot implements SnapshotSource {
	readonly volume: SnapshotSource['volume'];
	readonly snapshot: SnapshotSource['snapshot'];
	readonly device: SnapshotSource['device'];
	readonly bytes: Buffer;
	readonly reads: { offsetBytes: number; lengthBytes: number }[] = [];
	/** Snapshots that changedSince does not know. */
	readonly forgotten = new Set<number>();
	/** A read at this byte fails. */
	badByte = -1;
	readonly #written: readonly Set<number>[];

	constructor(volume: FakeVolume, id: number, name: string, bytes: Buffer, written: readonly Set<number>[]) {
		this.volume = { uuid: volume.uuid, name: volume.name, blockSize: volume.blockSize, sizeBytes: bytes.length };
		this.snapshot = { id, name, timeMs: 1_000_000 + id * 1000, lsn: id * 100 };
		this.bytes = bytes;
		this.#written = written;
		this.device = {
			sizeBytes: bytes.length,
			read: (offsetBytes: number, target: Uint8Array, completion: Completion) => {
				this.reads.push({ offsetBytes, lengthBytes: target.length });
				const bad = this.badByte >= offsetBytes && this.badByte < offsetBytes + target.length;
				target.set(bytes.subarray(offsetBytes, offsetBytes + target.length));
				queueMicrotask(() => completion.complete(bad ? 'mediumError' : 'good'));
			},
			allocation: (offsetBytes: number, extentsMax: number) => {
				const extents: { lengthBytes: number; isMapped: boolean }[] = [];
				for (let at = offsetBytes; at < bytes.length && extents.length < extentsMax; at += pageBytes) {
					const isMapped = !bytes.subarray(at, at + pageBytes).equals(zeroPage);
					const last = extents.at(-1);
					if (last?.isMapped === isMapped) last.lengthBytes += pageBytes;
					else extents.push({ lengthBytes: pageBytes, isMapped });
				}
				return Promise.resolve({ outcome: 'good' as const, extents });
			},
		};
	}

	get readBytes(): number {
		return this.reads.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
	}

	changedSince(snapshotId: number): AsyncIterable<PageRange> | undefined {
		if (this.forgotten.has(snapshotId) || snapshotId >= this.snapshot.id) return undefined;
		const pages = new Set(this.#written.slice(snapshotId, this.snapshot.id).flatMap((set) => [...set]));
		const end = this.bytes.length / pageBytes;
		return (async function* () {
			for (const firstPage of [...pages].sort((a, b) => a - b)) if (firstPage < end) yield { firstPage, pages: 1 };
		})();
	}
}

/** A volume to restore to. */
export class FakeSink implements RestoreSink {
	readonly blockSize: 512 | 4096;
	readonly bytes: Buffer;
	writes = 0;
	flushes = 0;
	/** The write with this number, from 1, is refused. */
	refuseAt = 0;

	constructor(sizeBytes: number, blockSize: 512 | 4096 = 512) {
		this.bytes = Buffer.alloc(sizeBytes);
		this.blockSize = blockSize;
	}

	get sizeBytes(): number {
		return this.bytes.length;
	}

	write(offsetBytes: number, data: Uint8Array, _fua: boolean, completion: Completion): void {
		this.writes++;
		const isRefused = this.writes === this.refuseAt;
		if (!isRefused) this.bytes.set(data, offsetBytes);
		queueMicrotask(() => completion.complete(isRefused ? 'noSpace' : 'good'));
	}

	flush(completion: Completion): void {
		this.flushes++;
		queueMicrotask(() => completion.complete('good'));
	}
}

/** Bytes that do not compress and differ for each seed. */
export function noise(length: number, seed: number): Buffer {
	const bytes = Buffer.alloc(length);
	let state = (seed * 2654435761 + 12345) >>> 0;
	for (let at = 0; at < length; at++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		bytes[at] = state >>> 24;
	}
	return bytes;
}
