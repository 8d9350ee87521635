import { errorCode, type DiskFile } from '../os/disk.ts';
import { readFully } from '../os/transfer.ts';
import type { Outcome } from './block-device.ts';
import type { FilePool, LayerFile } from './layer-file.ts';
import { limits, pageBytes, unitBytes } from './limits.ts';
import { found } from './page-index.ts';
import type { PageHome } from './page-home.ts';
import type { RemoteReader } from './remote-pages.ts';
import type { Spans } from './spans.ts';
import type { Wal } from './wal.ts';
import { matchingPages } from './page-checksums.ts';
import type { WalSegment } from './wal-segment.ts';

const unitsPerPage = pageBytes / unitBytes;

/** Consecutive pages whose bytes are consecutive in one place. */
interface Run {
	kind: number;
	pages: number;
	file: DiskFile | undefined;
	/** The file's place in a layer: pinned while it is read, opened if it is not. */
	handle: LayerFile | undefined;
	home: PageHome | undefined;
	positionBytes: number;
	segment: WalSegment | undefined;
}

/** What tells a reader where a page is; PageIndex says how. */
export interface PageFinder {
	readonly location: number;
	readonly checksum: number;
	readonly home: PageHome;
	readonly remote: RemoteReader | undefined;
	find(page: number): number;
	load(page: number): Promise<void>;
}

/**
 * Reads pages from wherever their newest version is, and believes nothing that its checksum does not confirm.
 *
 * tryRead looks up and reads in one turn, so nothing can move in between. read awaits the disk: the WAL segment that it reads is pinned; if bytes do not match, the
 * page is looked up anew, for it may have been written or flushed meanwhile. Only bytes that fail twice in the same place are a medium error.
 */
export class Reader {
	readonly #index: PageFinder;
	readonly #wal: Wal;
	readonly #files: FilePool;
	readonly #spans: Spans;
	/** For pages of which a read wants a part. Synchronous use only. */
	readonly #bounce: Buffer = Buffer.allocUnsafeSlow(pageBytes);
	readonly #run: Run = { kind: 0, pages: 0, file: undefined, handle: undefined, home: undefined, positionBytes: 0, segment: undefined };
	#checksums = new Uint32Array(256);
	misses = 0;
	checksumErrors = 0;

	constructor(index: PageFinder, wal: Wal, spans: Spans, files: FilePool) {
		this.#files = files;
		this.#spans = spans;
		this.#index = index;
		this.#wal = wal;
	}

	/** BlockDevice.tryRead for a range that was checked. */
	tryRead(offsetBytes: number, target: Uint8Array, start: number, end: number): Outcome | undefined {
		let at = start;
		while (at < end) {
			const position = offsetBytes + at - start;
			const page = Math.floor(position / pageBytes);
			const inPage = position - page * pageBytes;
			const left = end - at;
			if (inPage === 0 && left >= pageBytes) {
				const length = this.#tryRun(page, Math.floor(left / pageBytes), target, at);
				if (length < 0) return undefined;
				at += length;
				continue;
			}
			if (!this.tryPage(page, this.#bounce)) return undefined;
			const length = Math.min(pageBytes - inPage, left);
			target.set(this.#bounce.subarray(inPage, inPage + length), at);
			at += length;
		}
		return 'good';
	}

	/** One whole page into `target`; false when that would have to wait or needs a closer look. */
	tryPage(page: number, target: Uint8Array): boolean {
		return this.#tryRun(page, 1, target, 0) > 0;
	}

	/** BlockDevice.read for a range that was checked. Never rejects. */
	async read(offsetBytes: number, target: Uint8Array): Promise<Outcome> {
		this.misses++;
		try {
			const first = Math.floor(offsetBytes / pageBytes);
			const end = Math.ceil((offsetBytes + target.length) / pageBytes);
			const isAligned = offsetBytes % pageBytes === 0 && target.length % pageBytes === 0;
			const pages = isAligned ? target : Buffer.allocUnsafeSlow((end - first) * pageBytes);
			const good = await this.#readPages(first, end - first, pages);
			if (!good) return 'mediumError';
			if (!isAligned) target.set(pages.subarray(offsetBytes - first * pageBytes, offsetBytes - first * pageBytes + target.length));
			return 'good';
		} catch (error) {
			if (errorCode(error) === '') throw error;
			return 'mediumError';
		}
	}

	/** Bytes read from the run that begins at `page`, or -1. */
	#tryRun(page: number, pagesMax: number, target: Uint8Array, at: number): number {
		if (this.#spans.isChanging(page, page + pagesMax)) return -1;
		const run = this.#runAt(page, pagesMax);
		const length = run.pages * pageBytes;
		if (run.kind === found.zero) {
			target.fill(0, at, at + length);
			return length;
		}
		if (run.file === undefined) return -1;
		try {
			if (run.file.tryRead(target, run.positionBytes, at, at + length) !== length) return -1;
		} catch (error) {
			// The waiting read meets the same error and reports it.
			if (errorCode(error) === '') throw error;
			return -1;
		}
		return matchingPages(target, this.#checksums, run.pages, at) === run.pages ? length : -1;
	}

	async #readPages(firstPage: number, pages: number, target: Uint8Array): Promise<boolean> {
		let done = 0;
		let attempts = 0;
		let failedAt = '';
		let untilMs: number | undefined;
		while (done < pages) {
			const page = firstPage + done;
			if (this.#spans.isChanging(page, firstPage + pages)) await this.#spans.whenStill(page, firstPage + pages);
			const overwrites = this.#spans.ended;
			const run = { ...this.#runAt(page, pages - done) };
			if (run.kind === found.lost) return this.#mediumError();
			if (run.kind === found.notLoaded) {
				await this.#index.load(page);
				continue;
			}
			const part = target.subarray(done * pageBytes, (done + run.pages) * pageBytes);
			if (run.kind === found.zero) {
				part.fill(0);
				done += run.pages;
				continue;
			}
			if (run.kind === found.remote) {
				const { remote } = this.#index;
				untilMs ??= remote?.deadline() ?? 0;
				if (!((await remote?.read(page, part, untilMs)) ?? false)) return false;
				done += run.pages;
				continue;
			}
			// The shared fields are another's as soon as this one waits.
			const checksums = this.#checksums.slice(0, run.pages);
			await this.#readRun(run, part);
			const matching = matchingPages(part, checksums, run.pages);
			done += matching;
			if (matching === run.pages) continue;
			// Overwritten while it was read: what did not match says nothing. Such pages are in memory, so this ends.
			if (this.#spans.ended !== overwrites || this.#spans.isChanging(page, page + run.pages)) continue;
			const place = `${page + matching}:${run.kind}:${run.home?.id}:${run.positionBytes + matching * pageBytes}:${checksums[matching]}`;
			if (place === failedAt || ++attempts === limits.readAttemptsMax) return this.#mediumError();
			failedAt = place;
		}
		return true;
	}

	async #readRun(run: Run, part: Uint8Array): Promise<void> {
		if (run.segment !== undefined) run.segment.pins++;
		try {
			// A slice that has no file has no bytes: the map is wrong, and zeros will not match.
			if (run.handle !== undefined) await this.#files.use(run.handle, (file) => readFully(file, part, run.positionBytes));
			else if (run.file === undefined) part.fill(0);
			else await readFully(run.file, part, run.positionBytes);
		} finally {
			if (run.segment !== undefined) {
				run.segment.pins--;
				this.#wal.segments.unpinned(run.segment);
			}
		}
	}

	/** Fills the shared run and the checksums of its pages. */
	#runAt(firstPage: number, pagesMax: number): Run {
		const run = this.#run;
		const index = this.#index;
		const kind = index.find(firstPage);
		run.kind = kind;
		run.pages = 1;
		run.file = undefined;
		run.segment = undefined;
		run.handle = undefined;
		run.home = undefined;
		if (kind === found.notLoaded || kind === found.lost) return run;
		let limit = pagesMax;
		const location = index.location;
		if (kind === found.wal) {
			run.segment = this.#wal.segments.segmentOf(location);
			run.file = run.segment.file;
			run.positionBytes = this.#wal.segments.positionOf(location);
		} else if (kind === found.layer) {
			const { home } = index;
			run.home = home;
			run.handle = home.handleOf(firstPage);
			run.file = run.handle?.file;
			run.positionBytes = home.positionOf(firstPage);
			limit = home.contiguous(firstPage, pagesMax);
		}
		if (limit > this.#checksums.length) this.#growChecksums(limit);
		this.#checksums[0] = index.checksum;
		for (let pages = 1; pages < limit; pages++) {
			if (index.find(firstPage + pages) !== kind) break;
			if (kind === found.layer && index.home !== run.home) break;
			if (kind === found.wal && index.location !== location + pages * unitsPerPage) break;
			this.#checksums[pages] = index.checksum;
			run.pages = pages + 1;
		}
		return run;
	}

	#growChecksums(pages: number): void {
		const larger = new Uint32Array(2 ** Math.ceil(Math.log2(pages)));
		larger.set(this.#checksums);
		this.#checksums = larger;
	}

	#mediumError(): boolean {
		this.checksumErrors++;
		return false;
	}
}
