import { allocationFrom } from './allocation.ts';
import {
	copiedBytesMax,
	later,
	writeBytesMax,
	type Allocation,
	type CompareCompletion,
	type Completion,
	type Outcome,
} from './block-device.ts';
import type { PageIndex } from './page-index.ts';
import type { Reader } from './reader.ts';
import { RunningCount } from './running-count.ts';
import type { Wal } from './wal.ts';
import type { WriteCommand } from './write-command.ts';
import type { Writer } from './writer.ts';

export interface CommandsOwner {
	sizeBytes(): number;
	isClosing(): boolean;
	/** Why a write, a zero or a flush is refused now; undefined if it is not. */
	refusalOf(isZero: boolean): Outcome | undefined;
}

/** The commands of a volume's block device, from their admission to their completion. */
export class Commands {
	readonly #index: PageIndex;
	readonly #wal: Wal;
	readonly #reader: Reader;
	readonly #writer: Writer;
	readonly #blockSize: number;
	readonly #recordBytes: number;
	readonly #owner: CommandsOwner;
	/** What is under way. */
	readonly running = new RunningCount();
	readonly counts = { readCommands: 0, readBytes: 0, writeCommands: 0, writeBytes: 0, zeroCommands: 0, flushCommands: 0 };

	constructor(
		parts: { index: PageIndex; wal: Wal; reader: Reader; writer: Writer },
		sizes: { blockSize: number; recordBytes: number },
		owner: CommandsOwner,
	) {
		this.#index = parts.index;
		this.#wal = parts.wal;
		this.#reader = parts.reader;
		this.#writer = parts.writer;
		this.#blockSize = sizes.blockSize;
		this.#recordBytes = sizes.recordBytes;
		this.#owner = owner;
	}

	tryRead(offsetBytes: number, target: Uint8Array, start: number, end: number): Outcome | undefined {
		if (this.#owner.isClosing()) return 'closed';
		if (!this.#isInside(offsetBytes, end - start)) return 'outOfRange';
		const outcome = this.#reader.tryRead(offsetBytes, target, start, end);
		if (outcome !== undefined) {
			this.counts.readCommands++;
			this.counts.readBytes += end - start;
		}
		return outcome;
	}

	read(offsetBytes: number, target: Uint8Array, completion: Completion): void {
		if (this.#owner.isClosing()) return later(completion, 'closed');
		if (!this.#isInside(offsetBytes, target.length)) return later(completion, 'outOfRange');
		this.counts.readCommands++;
		this.counts.readBytes += target.length;
		this.running.begin();
		void this.#reader.read(offsetBytes, target).then((outcome) => {
			this.running.end();
			// A page that is not fetched any more is no damage.
			completion.complete(outcome === 'mediumError' && this.#owner.isClosing() ? 'closed' : outcome);
		});
	}

	write(offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
		if (data.length > writeBytesMax) throw new RangeError(`a write of ${data.length} bytes; at most ${writeBytesMax}`);
		this.counts.writeCommands++;
		this.counts.writeBytes += data.length;
		this.#submit(false, offsetBytes, data.length, data, fua, completion);
	}

	compareAndWrite(offsetBytes: number, expected: Uint8Array, data: Uint8Array, fua: boolean, completion: CompareCompletion): void {
		if (data.length > Math.min(copiedBytesMax, this.#recordBytes) || data.length !== expected.length)
			throw new RangeError(`a compareAndWrite of ${expected.length} and ${data.length} bytes`);
		this.counts.writeCommands++;
		this.counts.writeBytes += data.length;
		this.#submit(false, offsetBytes, data.length, data, fua, completion, expected);
	}

	zero(offsetBytes: number, lengthBytes: number, fua: boolean, completion: Completion): void {
		this.counts.zeroCommands++;
		this.#submit(true, offsetBytes, lengthBytes, undefined, fua, completion);
	}

	flush(completion: Completion): void {
		this.counts.flushCommands++;
		const refusal = this.#owner.refusalOf(true);
		if (refusal !== undefined) return later(completion, refusal);
		this.running.begin();
		const end = (outcome: Outcome): void => {
			this.running.end();
			completion.complete(outcome);
		};
		queueMicrotask(() => this.#wal.sync({ synced: () => end('good'), syncFailed: () => end('faulted') }));
	}

	async allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		if (this.#owner.isClosing()) return { outcome: 'closed', extents: [] };
		if (!this.#isInside(offsetBytes, this.#blockSize)) return { outcome: 'outOfRange', extents: [] };
		this.running.begin();
		try {
			return await allocationFrom(this.#index, offsetBytes, this.#owner.sizeBytes(), extentsMax);
		} finally {
			this.running.end();
		}
	}

	#submit(
		isZero: boolean,
		offsetBytes: number,
		lengthBytes: number,
		data: Uint8Array | undefined,
		fua: boolean,
		completion: Completion | CompareCompletion,
		expected?: Uint8Array,
	): void {
		const refusal = this.#owner.refusalOf(isZero);
		if (refusal !== undefined) return later(completion, refusal);
		if (!this.#isInside(offsetBytes, lengthBytes)) return later(completion, 'outOfRange');
		if (lengthBytes === 0) {
			if (fua) this.flush(completion);
			else later(completion, 'good');
			return;
		}
		const command = this.#writer.take();
		// The limit is above what all sessions together may have; a caller beyond it is told to come back like one that meets a full disk.
		if (command === undefined) return later(completion, 'noSpace');
		this.running.begin();
		command.isZero = isZero;
		command.offsetBytes = offsetBytes;
		command.lengthBytes = lengthBytes;
		if (data !== undefined) command.data = data;
		command.fua = fua;
		command.completion = completion;
		if (expected !== undefined && 'miscompareOffset' in completion) {
			command.expected = expected;
			command.comparing = completion;
		}
		this.#writer.submit(command);
	}

	/** WriterOwner.commandEnded. */
	commandEnded(command: WriteCommand): void {
		if (command.fua && command.outcome === 'good' && !command.isDurable) {
			this.#wal.sync(command);
			return;
		}
		const { completion, outcome } = command;
		this.#writer.give(command);
		this.running.end();
		completion?.complete(outcome);
	}

	#isInside(offsetBytes: number, lengthBytes: number): boolean {
		return offsetBytes >= 0 && offsetBytes + lengthBytes <= this.#owner.sizeBytes();
	}
}
