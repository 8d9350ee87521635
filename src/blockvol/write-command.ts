import type { RecordOwner } from './append-batch.ts';
import type { CompareCompletion, Completion, Outcome } from './block-device.ts';
import type { Span } from './spans.ts';
import type { SyncWaiter } from './wal.ts';

/** A page that a partial write needs and that had to be awaited. */
export interface AwaitedPage {
	page: number;
	/** Which version was read (PageIndex.version): the bytes count only while the page still is that. */
	version: string;
	bytes: Uint8Array;
}

/** One write or zero on its way through the engine. Pooled. */
export class WriteCommand implements RecordOwner, SyncWaiter {
	isZero = false;
	offsetBytes = 0;
	lengthBytes = 0;
	/** Of a write. */
	data: Uint8Array = none;
	/** Of a compareAndWrite: what must be there, as long as `data`, and who is told what differs. */
	expected: Uint8Array | undefined = undefined;
	comparing: CompareCompletion | undefined = undefined;
	/** `data` is a copy of the command's own. */
	isOwner = false;
	fua = false;
	completion: Completion | undefined = undefined;
	/** Bytes from the start that have records already. */
	doneBytes = 0;
	/** Records that are not installed yet. */
	recordsLeft = 0;
	/** Something asynchronous of this command is under way: a page read, a direct write. */
	isWaiting = false;
	outcome: Outcome = 'good';
	/** With fua: the group commit that covers it has ended. */
	isDurable = false;
	/** At most the first and the last page of the part that is next, or all that are to be compared. */
	readonly awaited: AwaitedPage[] = [];
	/** Checksums of the part whose data is in the layer and whose record comes next. */
	directChecksums: Uint32Array | undefined = undefined;
	/** The pages that a direct write of this command is under way to. */
	directSpan: Span | undefined = undefined;
	readonly #ended: (command: WriteCommand) => void;

	constructor(ended: (command: WriteCommand) => void) {
		this.#ended = ended;
	}

	get isAppended(): boolean {
		return this.doneBytes === this.lengthBytes;
	}

	recordInstalled(): void {
		this.recordsLeft--;
		this.endIfDone();
	}

	recordFailed(): void {
		this.outcome = 'faulted';
		this.recordsLeft--;
		this.endIfDone();
	}

	synced(): void {
		this.isDurable = true;
		this.#ended(this);
	}

	syncFailed(): void {
		this.outcome = 'faulted';
		this.#ended(this);
	}

	/** Ends the command when nothing of it is under way and nothing is left to do, or it failed. */
	endIfDone(): void {
		if (this.recordsLeft === 0 && !this.isWaiting && (this.isAppended || this.outcome !== 'good')) this.#ended(this);
	}

	reset(): void {
		this.data = none;
		this.expected = undefined;
		this.comparing = undefined;
		this.isOwner = false;
		this.isDurable = false;
		this.completion = undefined;
		this.doneBytes = 0;
		this.recordsLeft = 0;
		this.isWaiting = false;
		this.outcome = 'good';
		this.awaited.length = 0;
		this.directChecksums = undefined;
		this.directSpan = undefined;
	}
}

const none = new Uint8Array(0);
