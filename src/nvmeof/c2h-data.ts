import type { Outcome } from '../blockvol/block-device.ts';
import { bufferPool, headRoomBytes } from '../wire/buffer-pool.ts';
import type { Command } from './command.ts';
import { flag } from './pdu.ts';
import { status } from './status.ts';
import { transportLimits } from './transport-limits.ts';

/** Up to here it is cheaper to copy what had to be waited for into the slab (4 KiB: 0.2 µs) than to hand the socket a piece of its own (5 µs). */
const copiedBytes = 32 * 1024;

/**
 * Sends a command's data (NVMe/TCP Transport 1.0, C2HData) as far as the transmitter has room and the device answers at once, and queues the command for the rest. What is read goes
 * from the device straight behind the PDU's header; a read that has to wait gets a buffer of its own. Success goes with the last C2HData when the completion would say nothing else.
 */
export function sendData(command: Command): void {
	const { request } = command;
	const { writer, line } = command.connection!;
	while (command.sentBytes < command.sendBytes) {
		const length = Math.min(command.sendBytes - command.sentBytes, transportLimits.c2hDataBytes);
		if (!writer.reserveData(length)) {
			line.queue(command);
			return;
		}
		const at = writer.dataAt;
		if (command.step === 'read') {
			const outcome = request.device!.tryRead(request.offsetBytes + command.sentBytes, writer.buffer, at, at + length);
			if (outcome === undefined) {
				command.readingBytes = length;
				command.wantedGrantBytes = length;
				command.connection!.reads.request(command);
				return;
			}
			if (outcome !== 'good') {
				failRead(command, outcome);
				return;
			}
		} else request.dataToHost!.copy(writer.buffer, at, command.sentBytes, command.sentBytes + length);
		const offset = command.sentBytes;
		writer.c2hData(command.commandIdentifier, offset, length, sentFlags(command, length));
	}
	endData(command);
}

/** Puts what the command is to read on stable storage, and sends it then. */
export function flushThenSend(command: Command): void {
	command.atDevice++;
	command.request.device!.flush(command);
}

/** The device has flushed. */
export function flushed(command: Command, outcome: Outcome): void {
	command.atDevice--;
	if (command.aborted !== 'no') command.connection!.flow.abortedIdle(command);
	else if (outcome === 'good') sendData(command);
	else failRead(command, outcome);
}

/** Memory for a read that has to wait. */
export function readGranted(command: Command, bytes: number): void {
	const { request } = command;
	const { writer } = command.connection!;
	const length = command.readingBytes;
	command.readBytes = bytes;
	// Room for the header in front of the data, whatever alignment the host wants.
	command.readAt = Math.max(headRoomBytes, writer.dataOffset);
	command.readBuffer = bufferPool.acquire(length + command.readAt - headRoomBytes);
	command.atDevice++;
	request.device!.read(
		request.offsetBytes + command.sentBytes,
		command.readBuffer.subarray(command.readAt, command.readAt + length),
		command,
	);
}

/** The device has filled the command's buffer. */
export function bytesRead(command: Command, outcome: Outcome): void {
	const connection = command.connection!;
	const length = command.readingBytes;
	command.readingBytes = 0;
	command.atDevice--;
	if (command.aborted !== 'no') {
		dropRead(command);
		connection.flow.abortedIdle(command);
		return;
	}
	if (outcome !== 'good') {
		dropRead(command);
		failRead(command, outcome);
		return;
	}
	const { writer } = connection;
	const buffer = command.readBuffer!;
	const offset = command.sentBytes;
	if (length <= copiedBytes && writer.reserveData(length)) {
		buffer.copy(writer.buffer, writer.dataAt, command.readAt, command.readAt + length);
		writer.c2hData(command.commandIdentifier, offset, length, sentFlags(command, length));
		dropRead(command);
	} else {
		const at = command.readAt - writer.dataOffset;
		const size = writer.c2hDataInto(buffer, at, command.commandIdentifier, offset, length, sentFlags(command, length));
		command.readBuffer = undefined;
		command.readBytes = 0;
		connection.line.lend(buffer, at, at + size, length);
	}
	if (command.sentBytes < command.sendBytes) sendData(command);
	else endData(command);
}

/** Gives back what the command holds for reading, and stands in no line for more. The device has nothing of it. */
export function dropRead(command: Command): void {
	if (command.readBuffer !== undefined) bufferPool.release(command.readBuffer);
	command.readBuffer = undefined;
	const bytes = command.readBytes;
	command.readBytes = 0;
	if (bytes > 0) command.connection!.reads.give(bytes);
}

/** Counts `length` bytes as sent and says which flags their PDU has. */
function sentFlags(command: Command, length: number): number {
	command.sentBytes += length;
	if (command.sentBytes < command.sendBytes) return 0;
	return isSilent(command) ? flag.lastPDU | flag.success : flag.lastPDU;
}

/** The completion would say nothing: SUCCESS in the last C2HData stands for it. */
function isSilent(command: Command): boolean {
	const { request } = command;
	return (
		request.status === status.success && request.result0 === 0 && request.result1 === 0 && command.connection!.logic!.flowControlDisabled
	);
}

function endData(command: Command): void {
	const { flow } = command.connection!;
	if (isSilent(command)) flow.ended(command);
	else flow.respond(command);
}

function failRead(command: Command, outcome: Exclude<Outcome, 'good'>): void {
	const { flow, logic } = command.connection!;
	logic!.fail(command.request, outcome);
	flow.respond(command);
}
