import { copiedBytesMax, type Outcome } from '../blockvol/block-device.ts';
import { bufferPool, headRoomBytes } from '../wire/buffer-pool.ts';
import { acquireChunk, type Chunk, releaseChunk } from './chunk.ts';
import type { Command } from './command.ts';
import type { Connection } from './connection.ts';
import { CommonHeader, flag, H2CData } from './pdu.ts';
import { status } from './status.ts';
import { fes } from './term-req.ts';
import { transportLimits } from './transport-limits.ts';
import { acquireBuffer, releaseBuffer } from './transport-memory.ts';

/**
 * Data of write commands (NVMe/TCP Transport 1.0, "Data Transfers"). In a capsule it goes to the device in one write. Else R2Ts ask for it chunk by chunk, each with its own memory and
 * one write of the device, so that however long a command is it holds only what its R2Ts have asked for. Parameters are collected whole.
 */

/** Goes on with a command's data: asks for memory, sends R2Ts, or settles it when all is there. */
export function advance(command: Command): void {
	const connection = command.connection!;
	if (command.failed || command.handedBytes === command.wantedBytes) {
		settle(command);
		return;
	}
	if (command.aborted !== 'no' || command.wantedGrantBytes > 0) return;
	while (command.solicitedTo < command.wantedBytes && command.openR2Ts < connection.r2tsPerCommand) {
		if (command.nextChunk === undefined) {
			const length = Math.min(transportLimits.r2tBytes, command.wantedBytes - command.solicitedTo);
			const isGranted = command.step === 'parameters' && command.solicitedBytes > 0;
			if (!isGranted) {
				requestMemory(command, command.step === 'parameters' ? command.wantedBytes : length);
				return;
			}
			command.nextChunk = acquireChunk(command, command.solicitedTo, command.solicitedTo + length, 0);
		}
		if (!connection.writer.reserveHeader()) {
			connection.line.queue(command);
			return;
		}
		if (!sendR2T(connection, command, command.nextChunk)) return;
	}
}

/** Memory for the next chunk of a write, or for all parameters. */
export function solicitationGranted(command: Command, bytes: number): void {
	if (command.step === 'parameters') {
		command.solicitedBytes = bytes;
		command.buffer = acquireBuffer(bytes);
	} else command.nextChunk = acquireChunk(command, command.solicitedTo, command.solicitedTo + bytes, bytes);
	advance(command);
}

/** The header of an H2CData with `dataBytes` of data: the chunk that they belong to, or undefined when the connection has been ended for it. */
export function acceptH2CData(connection: Connection, header: Buffer, at: number, dataBytes: number): Chunk | undefined {
	const cccid = H2CData.cccid.get(header, at);
	const datao = H2CData.datao.get(header, at);
	const datal = H2CData.datal.get(header, at);
	const chunk = connection.r2ts.get(H2CData.ttag.get(header, at));
	if (chunk?.commandIdentifier !== cccid) {
		const isKnown = chunk === undefined && connection.commands.get(cccid) !== undefined;
		return refuse(connection, header, at, fes.invalidPDUHeaderField, isKnown ? H2CData.ttag.offset : H2CData.cccid.offset);
	}
	if (datal !== dataBytes || datal === 0) return refuse(connection, header, at, fes.invalidPDUHeaderField, H2CData.datal.offset);
	if (datal > transportLimits.h2cDataBytes) return refuse(connection, header, at, fes.dataTransferLimitExceeded, 0);
	if (datao < chunk.start || datao + datal > chunk.end) return refuse(connection, header, at, fes.dataTransferOutOfRange, 0);
	const isLast = (CommonHeader.flags.get(header, at) & flag.lastPDU) !== 0;
	if (datao !== chunk.next || isLast !== (datao + datal === chunk.end)) return refuse(connection, header, at, fes.pduSequenceError, 0);
	return chunk;
}

/** Puts bytes of an H2CData, `offset` from its beginning, where they belong. `whole`: they are all of it, and good. */
export function placeH2CData(chunk: Chunk, source: Buffer, start: number, end: number, offset: number, whole: boolean): void {
	const { command } = chunk;
	if (command === undefined || command.failed) return;
	const length = end - start;
	const size = chunk.end - chunk.start;
	if (command.step === 'parameters') {
		source.copy(command.buffer!, headRoomBytes + chunk.next + offset, start, end);
		return;
	}
	if (whole && length === size && size <= copiedBytesMax) {
		// The device copies before it returns: straight from the receive buffer, without a stop in between.
		handOver(command, chunk, source.subarray(start, end));
		return;
	}
	chunk.buffer ??= bufferPool.acquire(size);
	source.copy(chunk.buffer, headRoomBytes + chunk.next - chunk.start + offset, start, end);
}

/** An H2CData with `dataBytes` of data is complete. */
export function h2cDataEnded(chunk: Chunk, dataBytes: number, digestGood: boolean): void {
	const { command } = chunk;
	chunk.next += dataBytes;
	if (!digestGood && command !== undefined) failTransfer(command, status.transientTransportError);
	if (chunk.next < chunk.end) return;
	chunk.connection!.r2ts.delete(chunk);
	if (command === undefined) {
		releaseChunk(chunk);
		return;
	}
	command.openR2Ts--;
	if (command.failed) {
		if (!chunk.handed) {
			chunk.drop();
			releaseChunk(chunk);
		}
	} else if (command.step === 'parameters') {
		command.handedBytes += chunk.end - chunk.start;
		releaseChunk(chunk);
	} else if (!chunk.handed) {
		const size = chunk.end - chunk.start;
		handOver(command, chunk, chunk.buffer!.subarray(headRoomBytes, headRoomBytes + size));
		if (size <= copiedBytesMax) {
			bufferPool.release(chunk.buffer!);
			chunk.buffer = undefined;
		}
	}
	advance(command);
}

/** Device completion of one chunk. */
export function chunkWritten(chunk: Chunk, outcome: Outcome): void {
	const command = chunk.command!;
	noteOutcome(command, outcome);
	// Not before: the next in line for it may be this command.
	chunk.drop();
	releaseChunk(chunk);
	backFromDevice(command);
}

/** Puts bytes of a capsule's data, `offset` from its beginning, where they belong. `whole`: they are all of it, and good. */
export function placeCapsule(command: Command, source: Buffer, start: number, end: number, offset: number, whole: boolean): void {
	const from = Math.max(command.capsuleOffset, offset);
	const to = Math.min(command.capsuleOffset + command.wantedBytes, offset + end - start);
	if (from >= to) return;
	const at = start + from - offset;
	if (whole && command.step === 'write' && command.wantedBytes <= copiedBytesMax) {
		// The device copies before it returns.
		writeCapsule(command, source.subarray(at, at + command.wantedBytes));
		return;
	}
	command.buffer ??= acquireBuffer(command.wantedBytes);
	source.copy(command.buffer, headRoomBytes + from - command.capsuleOffset, at, at + to - from);
}

/** The capsule is complete. */
export function capsuleEnded(command: Command, digestGood: boolean): void {
	if (!command.inCapsule) return;
	command.inCapsule = false;
	if (!digestGood) {
		failTransfer(command, status.transientTransportError);
		settle(command);
	} else if (command.step === 'write') {
		writeCapsule(command, command.buffer!.subarray(headRoomBytes, headRoomBytes + command.wantedBytes));
		// Of longer data the device has not made a copy: it goes with the command.
		if (command.wantedBytes <= copiedBytesMax) dropBuffer(command);
	} else {
		command.handedBytes = command.wantedBytes;
		settle(command);
	}
}

/** Device completion of a capsule's data. */
export function capsuleWritten(command: Command, outcome: Outcome): void {
	noteOutcome(command, outcome);
	giveCapsule(command);
	backFromDevice(command);
}

/** The command cannot succeed any more. What R2Ts have asked for is awaited and thrown away. Not Do Not Retry: the same may go well. */
export function failTransfer(command: Command, code: number): void {
	if (command.failed) return;
	command.request.end(code, false);
	command.untold = true;
	fail(command);
}

/** Gives back all memory that no device call holds, and stands in no line for more. R2Ts that are open are nobody's from now on: late data of them is thrown away. */
export function dropHostData(command: Command): void {
	dropSolicitation(command);
	if (command.openR2Ts > 0) {
		command.connection!.r2ts.forEach((chunk) => {
			if (chunk.command !== command) return;
			chunk.drop();
			chunk.command = undefined;
		});
		command.openR2Ts = 0;
	}
	// The logic or the device may have it still.
	if (command.atDevice > 0) return;
	giveCapsule(command);
	dropBuffer(command);
}

function refuse(connection: Connection, header: Buffer, at: number, fatalErrorStatus: number, fei: number): undefined {
	connection.violated(fatalErrorStatus, fei, header, at, H2CData.sizeBytes);
}

/** Settles a command whose data is all here or will not be used. */
function settle(command: Command): void {
	if (command.answerable || command.inCapsule || command.openR2Ts > 0 || command.atDevice > 0) return;
	const { flow } = command.connection!;
	if (command.step === 'parameters' && !command.failed) {
		const data = command.buffer?.subarray(headRoomBytes, headRoomBytes + command.wantedBytes);
		flow.parametersCame(command, data ?? nothing);
	} else flow.finished(command);
}

const nothing = Buffer.alloc(0);

function fail(command: Command): void {
	command.failed = true;
	dropSolicitation(command);
	if (command.openR2Ts > 0) {
		command.connection!.r2ts.forEach((chunk) => {
			if (chunk.command === command && !chunk.handed) chunk.drop();
		});
	}
	if (command.atDevice === 0) dropBuffer(command);
}

function dropSolicitation(command: Command): void {
	if (command.wantedGrantBytes > 0) {
		const { solicited, reads } = command.connection!;
		(command.step === 'read' ? reads : solicited).forget(command);
		command.wantedGrantBytes = 0;
	}
	if (command.nextChunk === undefined) return;
	command.nextChunk.drop();
	releaseChunk(command.nextChunk);
	command.nextChunk = undefined;
}

function noteOutcome(command: Command, outcome: Outcome): void {
	if (outcome === 'good' || command.failed) return;
	if (command.aborted === 'no') command.connection!.logic!.fail(command.request, outcome);
	fail(command);
}

function backFromDevice(command: Command): void {
	command.atDevice--;
	if (command.aborted === 'no') advance(command);
	else command.connection!.flow.abortedIdle(command);
}

function requestMemory(command: Command, bytes: number): void {
	command.wantedGrantBytes = bytes;
	command.connection!.solicited.request(command);
}

function sendR2T(connection: Connection, command: Command, chunk: Chunk): boolean {
	if (connection.r2ts.isFull) {
		connection.destroy('too many R2Ts are not fulfilled');
		return false;
	}
	connection.r2ts.add(chunk);
	connection.statistics.r2ts++;
	connection.writer.r2t(command.commandIdentifier, chunk.ttag, chunk.start, chunk.end - chunk.start);
	command.nextChunk = undefined;
	command.solicitedTo = chunk.end;
	command.openR2Ts++;
	return true;
}

function handOver(command: Command, chunk: Chunk, data: Uint8Array): void {
	const { request } = command;
	chunk.handed = true;
	command.handedBytes += data.length;
	command.atDevice++;
	request.device!.write(request.offsetBytes + chunk.start, data, request.fua, chunk);
}

function writeCapsule(command: Command, data: Uint8Array): void {
	const { request } = command;
	command.inCapsule = false;
	command.handedBytes = data.length;
	command.atDevice++;
	request.device!.write(request.offsetBytes, data, request.fua, command);
}

function giveCapsule(command: Command): void {
	command.connection!.intake.give(command);
}

function dropBuffer(command: Command): void {
	if (command.buffer !== undefined) releaseBuffer(command.buffer, command.wantedBytes);
	command.buffer = undefined;
	const bytes = command.solicitedBytes;
	command.solicitedBytes = 0;
	if (bytes > 0) command.connection!.solicited.give(bytes);
}
