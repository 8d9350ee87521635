import type { GrantTaker } from '../os/grant-line.ts';
import type { BudgetWaiter } from '../os/memory-budget.ts';
import { acquireCommand, type Command } from './command.ts';
import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import { CapsuleCmd, Sqe } from './pdu.ts';
import { status } from './status.ts';
import { fes } from './term-req.ts';
import { transportLimits } from './transport-limits.ts';

/** Takes CapsuleCmd PDUs and finds memory for the data that comes with them. */
export class CommandIntake implements BudgetWaiter, GrantTaker {
	readonly #connection: Connection;
	/** The command that the connection is not read for, until there is memory for its capsule's data. */
	#waiting: Command | undefined;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	get waits(): boolean {
		return this.#waiting !== undefined;
	}

	/** The header is here, its data not yet. Returns the command if that data belongs to it, undefined if it is to be thrown away. */
	start(header: Buffer, at: number, dataBytes: number): Command | undefined {
		const connection = this.#connection;
		// More than the host's queue has entries: it does not wait for answers.
		if (connection.unanswered >= Math.min(connection.logic!.depth, limits.queueDepth)) {
			connection.violated(fes.pduSequenceError, 0, header, at, CapsuleCmd.sizeBytes);
			return undefined;
		}
		const command = acquireCommand();
		const { sqe } = command.request;
		const sqeAt = at + CapsuleCmd.sqe.offset;
		for (let index = 0; index < sqe.length; index++) sqe[index] = header[sqeAt + index]!;
		command.connection = connection;
		command.commandIdentifier = Sqe.commandIdentifier.get(sqe, 0);
		command.capsuleBytes = dataBytes;
		command.registered = connection.came(command);
		if (!command.registered) {
			command.request.end(status.commandIdentifierConflict);
			connection.flow.finished(command);
			return undefined;
		}
		connection.flow.continueWith(command, connection.logicDoes(command, undefined));
		// Its answer may have left already; then it has been reset.
		return command.inCapsule ? command : undefined;
	}

	/** Memory for the data in its capsule. If there is none the connection is not read until there is: see TransportMemory. */
	admit(command: Command): void {
		const { budget } = this.#connection.memory;
		this.#waiting = command;
		if (isLarge(command.wantedBytes)) this.#connection.capsules.request(this);
		else if (budget.tryTake(command.wantedBytes) || budget.take(command.wantedBytes, this)) this.#admit();
	}

	/** GrantTaker. */
	get wantedGrantBytes(): number {
		return this.#waiting!.wantedBytes;
	}

	/** GrantTaker: of the share of large capsules, perhaps before admit() has returned. */
	memoryGranted(): void {
		this.#admit();
		this.#connection.resume();
	}

	/** BudgetWaiter. */
	granted(): void {
		this.#admit();
		this.#connection.resume();
	}

	/** The device has the capsule's data no more, or will not get it. */
	give(command: Command): void {
		const bytes = command.capsuleHeldBytes;
		if (bytes === 0) return;
		command.capsuleHeldBytes = 0;
		if (isLarge(bytes)) this.#connection.capsules.give(bytes);
		else this.#connection.memory.budget.give(bytes);
	}

	/** The command ends. */
	forget(command: Command): void {
		if (this.#waiting !== command) return;
		if (isLarge(command.wantedBytes)) this.#connection.capsules.forget(this);
		else this.#connection.memory.budget.forget(this);
		this.#waiting = undefined;
		this.#connection.resume();
	}

	#admit(): void {
		const command = this.#waiting!;
		this.#waiting = undefined;
		command.capsuleHeldBytes = command.wantedBytes;
	}
}

function isLarge(bytes: number): boolean {
	return bytes > transportLimits.smallCapsuleBytes;
}
