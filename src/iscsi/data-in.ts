import type { Outcome } from '../blockvol/block-device.ts';
import { status } from '../scsi/task.ts';
import { bufferPool, headRoomBytes } from '../wire/buffer-pool.ts';
import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import { DataIn, finalBit, noTag, opcode, statusBit } from './pdu.ts';
import { residual } from './residual.ts';
import type { IscsiTask } from './task.ts';

/** Blocks that are read aside when PDU boundaries do not fall on blocks. */
const asideBytes = 64 * 1024;

/** Up to here it is cheaper to copy what was read aside into the slab (4 KiB: 0.2 µs) than to hand the socket a piece of its own (5 µs). */
const copiedBytes = 32 * 1024;

/**
 * Sends a command's data-in (RFC 7143 §4.2.5.1, §11.7) as far as the transmitter has room and the device answers at once, and queues the task for the rest.
 * The bytes of a block read go from the device straight behind the PDU's header; a read that has to wait gets a buffer of its own, which is then sent
 * as it is. Good status goes with the last Data-In (phase collapse).
 */
export function sendData(task: IscsiTask): void {
	const connection = task.connection!;
	const { writer } = connection;
	while (task.sentBytes < task.sendBytes) {
		if (task.source !== undefined && task.sentBytes < task.sourceTo) {
			const length = segmentBytes(connection, task, task.sourceTo - task.sentBytes);
			if (!writer.reserve(length)) {
				connection.line.queue(task);
				return;
			}
			const from = task.sentBytes - task.sourceFrom;
			task.source.copy(writer.buffer, writer.dataAt, from, from + length);
			dataInHeader(connection, task, writer.buffer, writer.at, length);
			writer.commit(length);
			continue;
		}
		const { device } = task;
		let length = segmentBytes(connection, task, task.sendBytes - task.sentBytes);
		// A PDU that ends inside a block: the blocks are read aside. Only a last block of which the initiator wants a part, or odd negotiated lengths.
		if (length < task.sendBytes - task.sentBytes) length -= length % device.blockSize;
		if (length === 0 || length % device.blockSize !== 0) {
			if (!readAside(connection, task)) return;
			continue;
		}
		if (!writer.reserve(length)) {
			connection.line.queue(task);
			return;
		}
		const place = writer.dataAt;
		const outcome = device.tryRead(task.scsi.offsetBytes + task.sentBytes, writer.buffer, place, place + length);
		if (outcome === undefined) {
			readLater(connection, task, length);
			return;
		}
		if (outcome !== 'good') {
			failRead(task, outcome);
			return;
		}
		dataInHeader(connection, task, writer.buffer, writer.at, length);
		writer.commit(length);
	}
	endData(task);
}

/** Puts what the task is to read on the medium, and sends it then (SBC-4, FUA of READ). */
export function flushThenSend(task: IscsiTask): void {
	task.atDevice++;
	task.device.flush(task);
}

/** The device has flushed. */
export function dataInFlushed(task: IscsiTask, outcome: Outcome): void {
	if (task.aborted !== 'no') task.connection!.flow.abortedIdle(task);
	else if (outcome === 'good') sendData(task);
	else failRead(task, outcome);
}

/** Memory for a read that has to wait. */
export function dataInGranted(task: IscsiTask): void {
	task.pooledBytes = task.readingBytes;
	startRead(task);
}

/** The device has filled the task's buffer. */
export function dataInBytesRead(task: IscsiTask, outcome: Outcome): void {
	const connection = task.connection!;
	const length = task.readingBytes;
	task.readingBytes = 0;
	if (task.aborted !== 'no') {
		connection.flow.abortedIdle(task);
		return;
	}
	if (outcome !== 'good') {
		dropDataIn(task);
		failRead(task, outcome);
		return;
	}
	const buffer = task.pooled!;
	if (task.source !== undefined) {
		sendData(task);
		return;
	}
	const { writer } = connection;
	if (length <= copiedBytes && writer.reserve(length)) {
		buffer.copy(writer.buffer, writer.dataAt, headRoomBytes, headRoomBytes + length);
		dataInHeader(connection, task, writer.buffer, writer.at, length);
		writer.commit(length);
		dropDataIn(task);
	} else {
		const at = headRoomBytes - writer.headerBytes;
		dataInHeader(connection, task, buffer, at, length);
		const size = writer.seal(buffer, at, length);
		task.pooled = undefined;
		task.pooledBytes = 0;
		connection.line.lend(buffer, at, at + size, length);
	}
	if (task.sentBytes < task.sendBytes) sendData(task);
	else endData(task);
}

/** Gives back what the task holds for reading. The device has nothing of it any more. */
export function dropDataIn(task: IscsiTask): void {
	const { reads } = task.connection!.session!;
	if (task.readingBytes > 0 && task.atDevice === 0) {
		// Still in the line for memory.
		reads.forget(task);
		task.wantedGrantBytes = 0;
		const bytes = task.readingBytes;
		task.readingBytes = 0;
		task.connection!.line.readSettled(bytes);
	}
	if (task.pooled !== undefined) bufferPool.release(task.pooled);
	task.pooled = undefined;
	task.source = undefined;
	const bytes = task.pooledBytes;
	task.pooledBytes = 0;
	if (bytes === 0) return;
	reads.give(bytes);
	task.connection!.line.readSettled(bytes);
}

/** How much the next PDU may carry, before blocks are looked at. */
function segmentBytes(connection: Connection, task: IscsiTask, remaining: number): number {
	const { maxRecvDataSegmentLength, maxBurstLength } = connection.parameters;
	return Math.min(remaining, maxRecvDataSegmentLength, limits.dataInBytes, maxBurstLength - task.burstBytes);
}

/** Writes the header of a Data-In for the next `length` bytes, whose data stands behind it already or will. */
function dataInHeader(connection: Connection, task: IscsiTask, buffer: Buffer, at: number, length: number): void {
	const { writer } = connection;
	const offset = task.sentBytes;
	task.sentBytes += length;
	task.burstBytes += length;
	const last = task.sentBytes === task.sendBytes;
	const collapse = last && task.scsi.status === status.good;
	// Its slot is free when the initiator reads this, so MaxCmdSN may say so already.
	if (collapse) connection.flow.vacate(task);
	writer.header(buffer, at, opcode.dataIn, 0, task.initiatorTaskTag, length, collapse);
	const blockSize = task.unit?.device.blockSize ?? 1;
	const burstOver = connection.parameters.maxBurstLength - task.burstBytes < (task.source === undefined ? blockSize : 1);
	if (burstOver) task.burstBytes = 0;
	buffer[at + 1] = last || burstOver ? finalBit : 0;
	DataIn.targetTransferTag.set(buffer, at, noTag);
	DataIn.dataSN.set(buffer, at, task.dataSN++);
	DataIn.bufferOffset.set(buffer, at, offset);
	if (!collapse) return;
	const { flags, count } = residual(task);
	buffer[at + 1]! |= statusBit | flags;
	buffer[at + 3] = task.scsi.status;
	DataIn.residualCount.set(buffer, at, count);
}

/** All data is on its way: the task ends here, or with a response if its status needs one. */
function endData(task: IscsiTask): void {
	const connection = task.connection!;
	if (task.sendBytes > 0 && task.scsi.status === status.good) connection.flow.ended(task);
	else connection.flow.respond(task);
}

function failRead(task: IscsiTask, outcome: Exclude<Outcome, 'good'>): void {
	task.unit!.fail(task.scsi, outcome);
	task.source = undefined;
	task.connection!.flow.respond(task);
}

function readLater(connection: Connection, task: IscsiTask, length: number): void {
	if (connection.line.readBytesAside > 0 && connection.line.readBytesAside + length > limits.readBytesAside) {
		task.source = undefined;
		connection.line.queueForDevice(task);
		return;
	}
	connection.line.readBytesAside += length;
	task.readingBytes = length;
	task.wantedGrantBytes = length;
	connection.session!.reads.request(task);
}

function startRead(task: IscsiTask): void {
	const length = task.readingBytes;
	task.pooled = bufferPool.acquire(length);
	task.atDevice++;
	const from = task.source === undefined ? task.sentBytes : task.sourceFrom;
	task.device.read(task.scsi.offsetBytes + from, task.pooled.subarray(headRoomBytes, headRoomBytes + length), task);
	if (task.source !== undefined) task.source = task.pooled.subarray(headRoomBytes, headRoomBytes + length);
}

/** Reads whole blocks around the next bytes into task.source. True if they are there. */
function readAside(connection: Connection, task: IscsiTask): boolean {
	const { blockSize } = task.device;
	const from = task.sentBytes - (task.sentBytes % blockSize);
	const to = Math.min(from + asideBytes, Math.ceil(task.sendBytes / blockSize) * blockSize);
	dropDataIn(task);
	task.sourceFrom = from;
	task.sourceTo = Math.min(to, task.sendBytes);
	const here = Buffer.allocUnsafe(to - from);
	const outcome = task.device.tryRead(task.scsi.offsetBytes + from, here);
	task.source = here;
	if (outcome === 'good') return true;
	if (outcome === undefined) readLater(connection, task, to - from);
	else failRead(task, outcome);
	return false;
}
