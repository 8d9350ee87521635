import { dropRead, flushThenSend, sendData } from './c2h-data.ts';
import { type Command, releaseCommand } from './command.ts';
import type { Connection } from './connection.ts';
import { advance, dropHostData, failTransfer } from './h2c-data.ts';
import { limits } from './limits.ts';
import { Sqe } from './pdu.ts';
import type { NextStep } from './request.ts';
import { sglToController, sglToHost } from './sgl.ts';
import { status } from './status.ts';

/** The way of a connection's commands from the controller's first word to their end; Command draws it. */
export class CommandFlow {
	readonly #connection: Connection;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	/** What the controller wants next for a command. */
	continueWith(command: Command, step: NextStep): void {
		const { request } = command;
		command.step = step;
		switch (step) {
			case 'finished':
				this.finished(command);
				return;
			case 'pending':
				command.atDevice++;
				return;
			case 'read': {
				const sgl = sglToHost(request.sqe);
				if (sgl !== 'transport') this.#refuse(command, sgl);
				else if (Sqe.sglLength.get(request.sqe, 0) !== request.lengthBytes) this.#refuse(command, status.dataSGLLengthInvalid);
				else {
					command.sendBytes = request.lengthBytes;
					if (command.sendBytes === 0) this.finished(command);
					else if (request.fua) flushThenSend(command);
					else sendData(command);
				}
				return;
			}
			case 'write':
			case 'parameters':
				this.#takeData(command);
				return;
			default:
				step satisfies never;
		}
	}

	/** All data of a request whose step was `parameters`. */
	parametersCame(command: Command, data: Buffer): void {
		// Once only: what follows is `finished` or `pending`, or `read`.
		command.step = 'finished';
		const step = this.#connection.logicDoes(command, data);
		if (step === 'write' || step === 'parameters') throw new Error(`${step} after parameters: data of a command comes once`);
		this.continueWith(command, step);
	}

	/** Status and result of a command are settled, and what it had to get from the host is over. */
	finished(command: Command): void {
		if (command.aborted !== 'no') {
			this.abortedIdle(command);
			return;
		}
		const { request } = command;
		if (request.dataToHost !== undefined && request.status === status.success) {
			const sgl = sglToHost(request.sqe);
			if (sgl === 'transport') command.sendBytes = Math.min(request.dataToHost.length, Sqe.sglLength.get(request.sqe, 0));
			else {
				request.end(sgl);
				command.untold = true;
			}
		}
		if (command.sendBytes > 0) sendData(command);
		else this.respond(command);
	}

	/** CapsuleResp, when there is room. */
	respond(command: Command): void {
		const connection = this.#connection;
		const { request } = command;
		if (connection.closed) {
			this.ended(command);
			return;
		}
		command.answerable = true;
		if (command.untold) {
			command.untold = false;
			connection.logic!.ended(request);
		}
		if (!connection.writer.reserveHeader()) {
			connection.line.queue(command);
			return;
		}
		// Status Field: the phase tag's bit is reserved in capsules.
		const statusField = (request.status << 1) | (request.dnr ? 0x8000 : 0);
		connection.writer.capsuleResp(command.commandIdentifier, statusField, connection.sqhd(request), request.result0, request.result1);
		this.ended(command);
	}

	/** The command has been answered, or needs no answer, and the device has nothing of it. */
	ended(command: Command): void {
		const connection = this.#connection;
		if (command.step === 'read') connection.statistics.bytesRead += command.sentBytes;
		else if (command.step === 'write') connection.statistics.bytesWritten += command.handedBytes;
		dropHostData(command);
		dropRead(command);
		connection.forget(command);
		const { abortListeners } = command;
		const aborted = command.aborted === 'silent' || command.request.status === status.commandAbortRequested;
		connection.gone(command);
		releaseCommand(command);
		if (abortListeners !== undefined) for (const listener of abortListeners) listener(aborted);
		connection.perhapsIdle();
	}

	/** Ends a command early. What the device has of it is awaited; see Command.aborted for the answer. */
	abort(command: Command, how: 'silent' | 'answered'): void {
		if (how === 'answered' && (command.answerable || command.aborted !== 'no')) return;
		if (command.aborted === 'no') this.#connection.statistics.commandsAborted++;
		command.aborted = how;
		command.request.aborted = true;
		command.inCapsule = false;
		this.#connection.forget(command);
		dropHostData(command);
		if (command.atDevice === 0) dropRead(command);
		this.abortedIdle(command);
	}

	/** Perhaps the device has nothing of an aborted command any more. */
	abortedIdle(command: Command): void {
		if (command.atDevice > 0) return;
		if (command.aborted === 'silent' || this.#connection.closed) {
			this.ended(command);
			return;
		}
		const { request } = command;
		// The logic says itself what became of a pending one; a write that the device had whole could not be stopped.
		const isSettled =
			command.step === 'pending' || (command.step === 'write' && command.handedBytes === command.wantedBytes && !command.failed);
		if (!isSettled) {
			request.end(status.commandAbortRequested, false);
			command.untold = true;
		}
		request.dataToHost = undefined;
		this.respond(command);
	}

	#takeData(command: Command): void {
		const { request } = command;
		const sgl = sglToController(request.sqe, request.lengthBytes, command.capsuleBytes);
		if (typeof sgl === 'number') {
			this.#refuse(command, sgl);
			return;
		}
		if (command.step === 'parameters') {
			if (request.lengthBytes > limits.parameterBytesMax) {
				this.#refuse(command, status.invalidField);
				return;
			}
			if (request.lengthBytes > this.#connection.memory.solicited.limitBytes) {
				// The operator's budget is too small for it.
				failTransfer(command, status.internalError);
				this.finished(command);
				return;
			}
		}
		command.wantedBytes = request.lengthBytes;
		if (sgl === 'inCapsule' && command.wantedBytes > 0) {
			command.inCapsule = true;
			command.capsuleOffset = Sqe.sglOffset.get(request.sqe, 0);
			this.#connection.intake.admit(command);
		} else advance(command);
	}

	/** The transport ends a command for what it says itself. */
	#refuse(command: Command, code: number): void {
		command.request.end(code);
		command.untold = true;
		command.failed = true;
		this.finished(command);
	}
}
