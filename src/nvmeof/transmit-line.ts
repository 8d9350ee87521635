import { bufferPool } from '../wire/buffer-pool.ts';
import type { Lender, Transmitter } from '../wire/transmitter.ts';
import { sendData } from './c2h-data.ts';
import type { Command } from './command.ts';
import type { Connection } from './connection.ts';
import { advance } from './h2c-data.ts';
import { transportLimits } from './transport-limits.ts';

/** Commands of a connection that wait for room to transmit. Bounded by the number of commands. */
export class TransmitLine {
	readonly #connection: Connection;
	readonly #transmitter: Transmitter;
	readonly #line: Command[] = [];
	#noRoom = false;
	/** Of finished requests in the line. */
	#dataBytes = 0;

	constructor(connection: Connection, transmitter: Transmitter) {
		this.#connection = connection;
		this.#transmitter = transmitter;
	}

	get size(): number {
		return this.#line.length;
	}

	/** The host asks for data and does not read it: nothing should be taken from it until there is room again. */
	get isLong(): boolean {
		return this.#dataBytes > transportLimits.waitingDataBytes;
	}

	/** The transmitter has room. */
	goOn(): void {
		this.#noRoom = false;
		// A command that made way comes behind the others, so long reads take turns.
		while (!this.#noRoom && this.#line.length > 0) {
			const command = this.#line.shift()!;
			this.#left(command);
			if (command.answerable) this.#connection.flow.respond(command);
			else if (command.sendBytes > 0) sendData(command);
			else advance(command);
		}
	}

	/** The command goes on when there is room to transmit. */
	queue(command: Command): void {
		this.#noRoom = true;
		if (command.queued) return;
		command.queued = true;
		command.queuedBytes = command.request.dataToHost?.length ?? 0;
		this.#dataBytes += command.queuedBytes;
		this.#line.push(command);
	}

	/** Sends a pooled buffer with `bytes` of a read as it is; its memory is given back when it has left. */
	lend(buffer: Buffer, start: number, end: number, bytes: number): void {
		this.#transmitter.send(buffer, start, end, new Loan(this.#connection, bytes));
	}

	/** The command ends, or no longer waits. */
	forget(command: Command): void {
		if (!command.queued) return;
		this.#left(command);
		this.#line.splice(this.#line.indexOf(command), 1);
	}

	/** A copy: the caller may end commands while walking through it. */
	all(): Command[] {
		return [...this.#line];
	}

	#left(command: Command): void {
		command.queued = false;
		this.#dataBytes -= command.queuedBytes;
		command.queuedBytes = 0;
	}
}

/** A pooled buffer under way to the host. */
class Loan implements Lender {
	readonly #connection: Connection;
	readonly #bytes: number;

	constructor(connection: Connection, bytes: number) {
		this.#connection = connection;
		this.#bytes = bytes;
	}

	sent(buffer: Buffer): void {
		bufferPool.release(buffer);
		this.#connection.reads.give(this.#bytes);
	}
}
