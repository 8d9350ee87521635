import { errorCode } from '../os/disk.ts';
import { clearTablePadding, fillTable } from './append-batch.ts';
import { copiedBytesMax, type Outcome } from './block-device.ts';
import { limits, pageBytes, unitBytes, type Tuning } from './limits.ts';
import { entryAbsent } from './page-map-block.ts';
import type { Marks } from './marks.ts';
import { Overwriter } from './overwriter.ts';
import { isChecksum, notLoaded } from './page-map.ts';
import type { PageIndex } from './page-index.ts';
import type { Quota } from './quota.ts';
import type { Reader } from './reader.ts';
import type { Span, Spans } from './spans.ts';
import type { Wal } from './wal.ts';
import { pageChecksums } from './page-checksums.ts';
import { recordType } from './wal-record.ts';
import { WriteCommand } from './write-command.ts';

export interface WriterOwner {
	/** The command has ended; the outcome is in it. */
	commandEnded(command: WriteCommand): void;
	/** Somebody waits for room that only the flusher can make. */
	needsFlush(): void;
	/** Bytes of the layer were changed that are not synced. */
	layerWritten(): void;
	/** Makes durable which regions are marked. Rejects with the kernel's error. */
	writeMarks(marks: number[]): Promise<void>;
	/** A write to the layer failed. */
	writeFailed(reason: string, cause: unknown): void;
	/** The file system is full. */
	outOfSpace(): void;
	/** The file system is full. */
	isFull(): boolean;
	/** quota.ts. */
	readonly quota: Pick<Quota, 'stepFor' | 'took'>;
	/** Why a command may not go on now; undefined if it may. */
	refusalOf(command: WriteCommand): Outcome | undefined;
}

/** What became of an attempt to append the next part of a command. `full`: only the flusher could make room, and the file system is full. */
type Step = 'appended' | 'noRoom' | 'waiting' | 'full' | 'miscompare';

/**
 * Turns commands into records. In one turn a command is looked at, its old page contents (for partial pages) are read, and its record is appended: so nothing can
 * come in between, and no lock is needed. What cannot be done in one turn waits:
 *
 *   room in the log, the dirty map or the staging buffer is missing, or a page is on its way to the kernel → in line, first come first served
 *   an old page is not in memory → aside; when it is read the command tries again, and uses what was read only if the page is still the same version
 *   a direct write runs → aside; whoever overlaps it waits in line
 */
export class Writer {
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #reader: Reader;
	readonly #tuning: Tuning;
	readonly #recordBytes: number;
	readonly #keepUnits: number;
	readonly #owner: WriterOwner;
	readonly #line: WriteCommand[] = [];
	/** Direct writes whose data is in the layer and whose record is due. They never wait for the line, in which there may be some that wait for them. */
	readonly #due: WriteCommand[] = [];
	readonly #spans: Spans;
	readonly #overwriter: Overwriter;
	readonly #pool: WriteCommand[] = [];
	readonly #ended = (command: WriteCommand): void => this.#owner.commandEnded(command);
	#isServing = false;
	#isPaused = false;
	/** Commands that were taken and have not ended. */
	running = 0;
	directWrites = 0;

	get overwrites(): number {
		return this.#overwriter.writes;
	}

	constructor(
		index: PageIndex,
		wal: Wal,
		reader: Reader,
		marks: Marks,
		spans: Spans,
		tuning: Tuning,
		geometry: { recordBytes: number; segmentBytes: number },
		owner: WriterOwner,
	) {
		this.#index = index;
		this.#wal = wal;
		this.#reader = reader;
		this.#tuning = tuning;
		this.#recordBytes = geometry.recordBytes;
		this.#keepUnits = geometry.segmentBytes / 16 / unitBytes;
		this.#owner = owner;
		this.#spans = spans;
		this.#overwriter = new Overwriter(index, wal, marks, spans, tuning, this.#keepUnits, {
			layerWritten: () => owner.layerWritten(),
			writeFailed: (reason, cause) => owner.writeFailed(reason, cause),
			serve: () => this.serve(),
			writeMarks: (marks) => owner.writeMarks(marks),
		});
	}

	get waiting(): number {
		return this.#line.length + this.#due.length;
	}

	take(): WriteCommand | undefined {
		if (this.running >= limits.waitingCommandsMax) return undefined;
		this.running++;
		return this.#pool.pop() ?? new WriteCommand(this.#ended);
	}

	give(command: WriteCommand): void {
		this.running--;
		command.reset();
		if (this.#pool.length < 1024) this.#pool.push(command);
	}

	submit(command: WriteCommand): void {
		const step = this.waiting === 0 && !this.#isPaused ? this.#advance(command) : 'noRoom';
		if (step === 'full' || step === 'miscompare') {
			// Never before the call has returned.
			queueMicrotask(() => this.#endWith(command, step));
		} else if (step === 'noRoom') {
			this.#own(command);
			this.#line.push(command);
		} else {
			this.#keepWaiting(command);
		}
	}

	/** There may be room: whoever waits tries again, in order, those first whose record others may wait for. */
	serve(): void {
		if (this.#isServing) return;
		this.#isServing = true;
		while (this.#serveFirst(this.#due) || (this.#due.length === 0 && !this.#isPaused && this.#serveFirst(this.#line)));
		this.#isServing = false;
	}

	/** False if nobody waits there, or who does has to go on waiting. */
	#serveFirst(waiting: WriteCommand[]): boolean {
		const command = waiting[0];
		if (command === undefined) return false;
		const isDue = command.directChecksums !== undefined;
		const step = this.#advance(command);
		if (step === 'noRoom' && isDue === (command.directChecksums !== undefined)) return false;
		waiting.shift();
		if (step === 'full' || step === 'miscompare') this.#endWith(command, step);
		else if (step === 'noRoom') this.#line.unshift(command);
		else this.#keepWaiting(command);
		return true;
	}

	/** From here on commands wait in line; what is under way straight to the layer comes to its end. */
	pause(): void {
		this.#isPaused = true;
	}

	/** They go on, those excepted that are refused now. */
	resume(): void {
		this.#isPaused = false;
		this.refuse();
		this.serve();
	}

	/** Nobody who waits goes on any more, and nobody is told: the process might as well be dead. */
	stop(): void {
		this.#isServing = true;
	}

	/** Ends those in line that the volume refuses now. */
	refuse(): void {
		for (const waiting of [this.#due, this.#line])
			for (const command of waiting.splice(0)) if (!this.#isRefused(command)) waiting.push(command);
	}

	/** True if the volume refuses the command: it ends with what is under way of it. */
	#isRefused(command: WriteCommand): boolean {
		if (command.outcome === 'good') command.outcome = this.#owner.refusalOf(command) ?? 'good';
		if (command.outcome === 'good') return false;
		if (command.directChecksums !== undefined) this.#endDirect(command);
		command.endIfDone();
		return true;
	}

	/** Appends part after part. `noRoom`: not all were; `waiting`: the command comes back by itself. */
	#advance(command: WriteCommand): Step {
		while (!command.isAppended) {
			const step = this.#next(command);
			if (step !== 'appended') return step;
		}
		return 'appended';
	}

	#next(command: WriteCommand): Step {
		const position = command.offsetBytes + command.doneBytes;
		const left = command.lengthBytes - command.doneBytes;
		const first = Math.floor(position / pageBytes);
		if (command.isZero && position % pageBytes === 0 && left >= pageBytes) return this.#zero(command, first, Math.floor(left / pageBytes));
		const length = this.#partLength(command.isZero, position, left, first);
		const end = Math.ceil((position + length) / pageBytes);
		if (!this.#spans.isEmpty && command.directSpan === undefined && this.#spans.overlaps(first, end)) return 'noRoom';
		if (command.directChecksums !== undefined) return this.#appendDirect(command, first, end, command.directChecksums);
		const refusal = command.isZero ? undefined : this.#owner.quota.stepFor(first, end);
		if (refusal !== undefined) return refusal;
		if (command.expected !== undefined) {
			const step = this.#compare(command, command.expected, first, end);
			if (step !== undefined) return step;
		}
		const isFree = this.#spans.suspensions === 0 && !this.#index.isMerging(first, end);
		if (isFree && this.#mayGoDirect(command, position, length)) {
			const step = this.#startDirect(command, first, end, length);
			if (step !== undefined) return step;
		}
		if (isFree && this.#overwriter.takes(command, position, length)) {
			const step = this.#overwrite(command, first, end, length);
			if (step !== undefined) return step;
		}
		return this.#write(command, position, length, first, end);
	}

	/** One record takes what a crash must leave whole; a longer command is cut at page boundaries. A zero's first or last part of a page is a write of zeros. */
	#partLength(isZero: boolean, position: number, left: number, first: number): number {
		if (isZero) return Math.min(left, (first + 1) * pageBytes - position);
		if (left <= this.#recordBytes) return left;
		return Math.floor((position + this.#recordBytes) / pageBytes) * pageBytes - position;
	}

	/** Undefined when the pages hold what is expected. Nothing can come in between: the record is appended in the same turn, or all is compared again. */
	#compare(command: WriteCommand, expected: Uint8Array, first: number, end: number): Step | undefined {
		if (this.#wal.hasPending(first, end)) return 'noRoom';
		const { offsetBytes } = command;
		for (let page = first; page < end; page++) {
			const bytes = this.#oldPage(command, page, comparedPage);
			if (bytes === null) return 'waiting';
			const from = Math.max(offsetBytes, page * pageBytes);
			const to = Math.min(offsetBytes + expected.length, (page + 1) * pageBytes);
			for (let at = from; at < to; at++) {
				if (bytes[at - page * pageBytes] === expected[at - offsetBytes]) continue;
				if (command.comparing !== undefined) command.comparing.miscompareOffset = at - offsetBytes;
				return 'miscompare';
			}
		}
		return undefined;
	}

	#zero(command: WriteCommand, first: number, pages: number): Step {
		if (this.#spans.overlaps(first, first + pages)) return 'noRoom';
		if (this.#index.active.zeros.count + 2 * this.#wal.pendingZeros + 2 > this.#tuning.zeroRangesMax) return this.#needFlush();
		const record = this.#wal.begin(recordType.zero, first, pages, false, 0, command);
		if (record === undefined) return this.#noRecord();
		this.#wal.commit(record, undefined);
		return this.#appended(command, pages * pageBytes);
	}

	#write(command: WriteCommand, position: number, length: number, first: number, end: number): Step {
		const pages = end - first;
		const headBytes = position - first * pageBytes;
		const tailBytes = end * pageBytes - position - length;
		const isPartial = headBytes > 0 || tailBytes > 0;
		if (isPartial && this.#isPending(first, end, headBytes > 0, tailBytes > 0)) return 'noRoom';
		if (this.#index.active.length + this.#wal.pendingPages + pages > this.#tuning.dirtyPagesMax) return this.#needFlush();
		const head = headBytes > 0 || (tailBytes > 0 && pages === 1) ? this.#oldPage(command, first, headPage) : undefined;
		if (head === null) return 'waiting';
		const tail = tailBytes > 0 && pages > 1 ? this.#oldPage(command, end - 1, tailPage) : undefined;
		if (tail === null) return 'waiting';
		const isStaged = isPartial || length <= copiedBytesMax;
		const record = this.#wal.begin(recordType.write, first, pages, isStaged, command.isZero ? 0 : this.#keepUnits, command);
		if (record === undefined) return this.#noRecord();
		this.#owner.quota.took(pages);
		command.awaited.length = 0;
		const data = command.isZero ? undefined : command.data.subarray(command.doneBytes, command.doneBytes + length);
		if (isStaged) {
			const at = record.tableAt + (record.dataLocation - record.lsn) * unitBytes - headerUnits * unitBytes;
			const target = this.#wal.staging.subarray(at, at + pages * pageBytes);
			if (head !== undefined) target.set(head);
			if (tail !== undefined) target.set(tail, target.length - pageBytes);
			if (data === undefined) target.fill(0, headBytes, headBytes + length);
			else target.set(data, headBytes);
			fillTable(this.#wal.staging, record, target);
			this.#wal.commit(record, undefined);
		} else {
			fillTable(this.#wal.staging, record, data as Uint8Array);
			this.#wal.commit(record, data);
		}
		return this.#appended(command, length);
	}

	#appended(command: WriteCommand, bytes: number): Step {
		command.doneBytes += bytes;
		command.recordsLeft++;
		return 'appended';
	}

	#needFlush(): Step {
		if (this.#owner.isFull()) return 'full';
		this.#owner.needsFlush();
		return 'noRoom';
	}

	/** The log had no room for a record. */
	#noRecord(): Step {
		return this.#wal.isBatchFull ? 'noRoom' : this.#needFlush();
	}

	/** True if the old content of a partly written page is still on its way to the kernel. */
	#isPending(first: number, end: number, head: boolean, tail: boolean): boolean {
		return (head && this.#wal.hasPending(first, first + 1)) || (tail && this.#wal.hasPending(end - 1, end));
	}

	/** What a partly written page holds, in `scratch` or in what was awaited; null when the command has been put aside to wait for it. */
	#oldPage(command: WriteCommand, page: number, scratch: Buffer): Uint8Array | null {
		if (this.#reader.tryPage(page, scratch)) return scratch;
		const at = command.awaited.findIndex((candidate) => candidate.page === page);
		const awaited = command.awaited[at];
		if (awaited !== undefined && awaited.version !== '' && awaited.version === this.#index.version(page)) return awaited.bytes;
		if (at >= 0) command.awaited.splice(at, 1);
		command.isWaiting = true;
		void this.#awaitPage(command, page);
		return null;
	}

	async #awaitPage(command: WriteCommand, page: number): Promise<void> {
		const bytes = Buffer.allocUnsafeSlow(pageBytes);
		let outcome: Outcome = 'good';
		let version = '';
		try {
			await this.#index.load(page);
			const before = this.#index.version(page);
			outcome = await this.#reader.read(page * pageBytes, bytes);
			// The bytes are of one version only if the page still is what it was.
			version = this.#index.version(page) === before ? before : '';
		} catch (error) {
			if (errorCode(error) === '') throw error;
			outcome = 'mediumError';
		}
		if (command.awaited.length === awaitedMax) command.awaited.shift();
		command.awaited.push({ page, version, bytes });
		this.#comeBack(command, outcome);
	}

	/** After a wait: the command goes on in front of those who came later. */
	#comeBack(command: WriteCommand, outcome: Outcome): void {
		command.isWaiting = false;
		// A page that is not fetched any more because the volume is being closed is no damage.
		if (command.outcome === 'good') command.outcome = outcome === 'good' ? outcome : (this.#owner.refusalOf(command) ?? outcome);
		if (!this.#isRefused(command)) {
			if (command.directChecksums === undefined) this.#line.unshift(command);
			else this.#due.push(command);
		}
		this.serve();
	}

	/** Data that is lent until write() returns must be kept when the command has to wait. */
	#own(command: WriteCommand): void {
		if (command.isOwner || command.data.length > copiedBytesMax) return;
		command.data = Uint8Array.prototype.slice.call(command.data);
		if (command.expected !== undefined) command.expected = Uint8Array.prototype.slice.call(command.expected);
		command.isOwner = true;
	}

	#keepWaiting(command: WriteCommand): void {
		if (command.isWaiting) this.#own(command);
	}

	#mayGoDirect(command: WriteCommand, position: number, length: number): boolean {
		return (
			!command.isZero &&
			command.expected === undefined &&
			length >= this.#tuning.directBytesMin &&
			position % pageBytes === 0 &&
			length % pageBytes === 0
		);
	}

	/**
	 * Writes data to pages that the layer does not hold, if none of them is dirty, zeroed or under way: then neither a reader nor the flusher nor a replay looks at
	 * these bytes before the record says so. Undefined: the log must take the data.
	 */
	#startDirect(command: WriteCommand, first: number, end: number, length: number): Step | undefined {
		const { layer } = this.#index;
		// Most often the first page says it, and the others need not be asked.
		const isHeld = isChecksum(layer.map.entry(first));
		if (isHeld || this.#wal.hasPending(first, end) || this.#index.isDirty(first, end)) return undefined;
		if (layer.contiguous(first, end - first) < end - first) return undefined;
		for (let page = first; page < end; page++) {
			const entry = layer.map.entry(page);
			if (entry === notLoaded) return this.#waitForMap(command, page, end);
			if (entry !== entryAbsent) return undefined;
		}
		command.isWaiting = true;
		this.#owner.quota.took(end - first);
		// Small data is lent for this turn only.
		this.#own(command);
		void this.#writeDirect(
			command,
			{ first, end, isOverwrite: false },
			command.data.subarray(command.doneBytes, command.doneBytes + length),
		);
		return 'waiting';
	}

	/** Undefined: the log must take the data. */
	#overwrite(command: WriteCommand, first: number, end: number, length: number): Step | undefined {
		const obstacle = this.#overwriter.obstacle(first, end);
		if (obstacle === 'log') return undefined;
		if (obstacle === 'notLoaded') return this.#waitForMap(command, first, end);
		if (this.#index.active.length + this.#wal.pendingPages + (end - first) > this.#tuning.dirtyPagesMax) return this.#needFlush();
		// Short data is lent for this turn only.
		this.#own(command);
		const data = command.data.subarray(command.doneBytes, command.doneBytes + length);
		return this.#overwriter.start(command, first, end, data) ? this.#appended(command, length) : undefined;
	}

	#waitForMap(command: WriteCommand, first: number, end: number): 'waiting' {
		let page = first;
		while (page < end - 1 && this.#index.layer.map.entry(page) !== notLoaded) page++;
		command.isWaiting = true;
		void this.#awaitMap(command, page);
		return 'waiting';
	}

	async #awaitMap(command: WriteCommand, page: number): Promise<void> {
		let outcome: Outcome = 'good';
		try {
			await this.#index.layer.map.load(page);
		} catch (error) {
			if (errorCode(error) === '') throw error;
			outcome = 'mediumError';
		}
		this.#comeBack(command, outcome);
	}

	async #writeDirect(command: WriteCommand, span: Span, data: Uint8Array): Promise<void> {
		this.#spans.add(span);
		command.directSpan = span;
		this.directWrites++;
		let outcome: Outcome = 'good';
		const pages = span.end - span.first;
		const checksums = new Uint32Array(pages);
		try {
			const written = this.#index.layer.write(span.first, [data], pages);
			pageChecksums(data, pages, checksums);
			await written;
		} catch (error) {
			if (errorCode(error) === 'ENOSPC') {
				this.#owner.outOfSpace();
				outcome = 'noSpace';
			} else {
				this.#owner.writeFailed('a write to the layer failed', error);
				outcome = 'faulted';
			}
		}
		command.directChecksums = checksums;
		this.#comeBack(command, outcome);
	}

	#appendDirect(command: WriteCommand, first: number, end: number, checksums: Uint32Array): Step {
		const pages = end - first;
		if (this.#index.active.length + this.#wal.pendingPages + pages > this.#tuning.dirtyPagesMax) return this.#needFlush();
		const record = this.#wal.begin(recordType.direct, first, pages, false, this.#keepUnits, command);
		if (record === undefined) return this.#noRecord();
		const { staging } = this.#wal;
		for (let page = 0; page < pages; page++) staging.writeUInt32LE(checksums[page] as number, record.tableAt + page * 4);
		clearTablePadding(staging, record);
		this.#wal.commit(record, undefined);
		this.#endDirect(command);
		return this.#appended(command, pages * pageBytes);
	}

	#endDirect(command: WriteCommand): void {
		if (command.directSpan !== undefined) this.#spans.remove(command.directSpan);
		command.directChecksums = undefined;
		command.directSpan = undefined;
	}

	/** Parts of one that finds no space may have been written; what is refused is the rest. */
	#endWith(command: WriteCommand, step: 'full' | 'miscompare'): void {
		if (command.directChecksums !== undefined) this.#endDirect(command);
		command.outcome = step === 'full' ? 'noSpace' : step;
		command.endIfDone();
	}
}

const headerUnits = 1;
/** Pages that a compareAndWrite touches at most. */
const awaitedMax = copiedBytesMax / pageBytes + 1;
const comparedPage = Buffer.allocUnsafeSlow(pageBytes);
const headPage = Buffer.allocUnsafeSlow(pageBytes);
const tailPage = Buffer.allocUnsafeSlow(pageBytes);
