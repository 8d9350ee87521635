import { bufferPool } from '../wire/buffer-pool.ts';
import type { Lender, Transmitter } from '../wire/transmitter.ts';
import type { Connection } from './connection.ts';
import { sendData } from './data-in.ts';
import { advanceDataOut } from './data-out.ts';
import { limits } from './limits.ts';
import type { IscsiTask } from './task.ts';

/** Tasks of a connection that wait for room to transmit, and reads that wait until fewer are held aside. Bounded by the number of tasks. */
export class TransmitLine {
	/** Bytes of reads that had to wait: for memory, for the device, and until they have left. */
	readBytesAside = 0;
	readonly #connection: Connection;
	readonly #transmitter: Transmitter;
	readonly #line: IscsiTask[] = [];
	readonly #deviceLine: IscsiTask[] = [];
	#noRoom = false;

	constructor(connection: Connection, transmitter: Transmitter) {
		this.#connection = connection;
		this.#transmitter = transmitter;
	}

	/** The transmitter has room. */
	goOn(): void {
		this.#noRoom = false;
		// A task that made way comes behind the others, so long reads take turns.
		while (!this.#noRoom && this.#line.length > 0) {
			const task = this.#line.shift()!;
			task.queued = false;
			if (task.answerable) this.#connection.flow.respond(task);
			else if (task.sendBytes > 0) sendData(task);
			else advanceDataOut(task);
		}
	}

	/** The task goes on when there is room to transmit. */
	queue(task: IscsiTask): void {
		this.#noRoom = true;
		if (task.queued) return;
		task.queued = true;
		this.#line.push(task);
	}

	/** The task's read goes on when fewer bytes of this connection are held aside. */
	queueForDevice(task: IscsiTask): void {
		this.#deviceLine.push(task);
	}

	/** `bytes` of a read are no longer held aside: another may go on. */
	readSettled(bytes: number): void {
		this.readBytesAside -= bytes;
		while (this.#deviceLine.length > 0 && this.readBytesAside < limits.readBytesAside) {
			const task = this.#deviceLine.shift()!;
			sendData(task);
			if (this.#deviceLine.at(-1) === task) return;
		}
	}

	/** Sends a pooled buffer with `bytes` of a read as it is; its memory is given back when it has left. */
	lend(buffer: Buffer, start: number, end: number, bytes: number): void {
		this.#transmitter.send(buffer, start, end, new Loan(this.#connection, bytes));
	}

	/** The task ends. */
	forget(task: IscsiTask): void {
		remove(this.#line, task);
		remove(this.#deviceLine, task);
		task.queued = false;
	}
}

/** A pooled buffer under way to the initiator. */
class Loan implements Lender {
	readonly #connection: Connection;
	readonly #bytes: number;

	constructor(connection: Connection, bytes: number) {
		this.#connection = connection;
		this.#bytes = bytes;
	}

	sent(buffer: Buffer): void {
		bufferPool.release(buffer);
		this.#connection.session!.reads.give(this.#bytes);
		this.#connection.line.readSettled(this.#bytes);
	}
}

function remove(line: IscsiTask[], task: IscsiTask): void {
	const index = line.indexOf(task);
	if (index >= 0) line.splice(index, 1);
}
