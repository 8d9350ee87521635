import { copiedBytesMax, type Outcome } from '../blockvol/block-device.ts';
import { bufferPool, headRoomBytes } from '../wire/buffer-pool.ts';
import { acquireChunk, type Chunk, releaseChunk } from './chunk.ts';
import type { Connection } from './connection.ts';
import { BHS, DataOut, finalBit, noTag, opcode, R2T, rejectReason } from './pdu.ts';
import type { IscsiTask } from './task.ts';
import { check, transportSense } from './transport-sense.ts';

/**
 * Data of write commands (RFC 7143 §4.2.5.2, §11.7, §11.8), in chunks: a command up to MemoryPlan.chunkBytes is one chunk and so one write of the device;
 * a longer one goes chunk by chunk, each with its own memory, so that however long it is it holds only what its R2Ts have asked for.
 */
const chunkAlignment = 4096;

/** First chunk of a command of which `unsolicited` bytes come unasked. */
export function firstChunkBytes(task: IscsiTask, unsolicited: number, chunkBytes: number): number {
	if (task.wantedBytes <= chunkBytes) return task.wantedBytes;
	return Math.min(task.wantedBytes, Math.ceil(unsolicited / chunkAlignment) * chunkAlignment);
}

/** Goes on with a command's data: asks for memory, sends R2Ts, or settles it when all is there. */
export function advanceDataOut(task: IscsiTask): void {
	const connection = task.connection!;
	if (task.failed || task.handedBytes === task.wantedBytes) {
		settle(task);
		return;
	}
	if (task.unsolicitedOpen || task.aborted !== 'no' || task.wantedGrantBytes > 0) return;
	while (task.solicitedTo < task.wantedBytes && task.r2ts.length < connection.parameters.maxOutstandingR2T) {
		const last = task.chunks.at(-1);
		const start = last === undefined ? task.handedBytes : last.end;
		if (last === undefined || task.solicitedTo === last.end) {
			requestMemory(task, Math.min(connection.plan.chunkBytes, task.wantedBytes - start));
			return;
		}
		if (last.capacity < last.size) {
			requestMemory(task, last.size);
			return;
		}
		if (!connection.writer.reserve(0)) {
			connection.line.queue(task);
			return;
		}
		sendR2T(connection, task, Math.min(connection.parameters.maxBurstLength, last.end - task.solicitedTo));
	}
}

/** Memory for the next chunk, or for all of the first one of which only the unsolicited part is here. */
export function memoryGranted(task: IscsiTask, bytes: number): void {
	const last = task.chunks.at(-1);
	if (last !== undefined && last.capacity < last.size) {
		const part = last.buffer;
		if (part !== undefined) {
			const whole = bufferPool.acquire(last.size);
			part.copy(whole, headRoomBytes, headRoomBytes, headRoomBytes + last.receivedBytes);
			bufferPool.release(part);
			last.buffer = whole;
		}
		giveMemory(task, last);
		last.capacity = last.size;
		last.solicited = true;
		last.unsolicited = false;
	} else {
		task.chunks.push(acquireChunk(task, last === undefined ? task.handedBytes : last.end, bytes, bytes, true));
	}
	advanceDataOut(task);
}

/** A Data-Out PDU's header: undefined if its data is to be thrown away, else the task that it belongs to and task.unsolicitedNext or its R2T say where. */
export function acceptDataOut(
	connection: Connection,
	bhs: Buffer,
	at: number,
): { task: IscsiTask; offset: number; keep: boolean } | undefined {
	const task = connection.session!.tasks.get(DataOut.initiatorTaskTag.get(bhs, at));
	// Data of a command that was ended meanwhile, or ignored: §4.2.3.3 and §11.7 have it thrown away.
	if (task === undefined || task.connection !== connection || task.aborted !== 'no') return undefined;
	const tag = DataOut.targetTransferTag.get(bhs, at);
	const length = DataOut.dataSegmentLength.get(bhs, at);
	const offset = DataOut.bufferOffset.get(bhs, at);
	const dataSN = DataOut.dataSN.get(bhs, at);
	const final = (bhs[at + 1]! & finalBit) !== 0;
	if (tag === noTag) {
		if (!task.unsolicitedOpen) {
			failDataOut(task, transportSense.unexpectedUnsolicitedData);
			return { task, offset, keep: false };
		}
		if (dataSN !== task.unsolicitedDataSN) failDataOut(task, transportSense.protocolServiceCRCError);
		else if (offset !== task.unsolicitedNext || length > task.unsolicitedMax - offset)
			failDataOut(task, transportSense.incorrectAmountOfData);
		task.unsolicitedDataSN++;
		task.unsolicitedNext = offset + length;
		return { task, offset, keep: !task.failed };
	}
	const r2t = task.r2ts[0];
	if (r2t === undefined || r2t.targetTransferTag !== tag) {
		connection.control.reject(rejectReason.invalidPDUField, bhs, at);
		return undefined;
	}
	if (dataSN !== r2t.dataSN) failDataOut(task, transportSense.protocolServiceCRCError);
	else if (offset !== r2t.next || length > r2t.end - offset || final !== (offset + length === r2t.end)) {
		failDataOut(task, transportSense.incorrectAmountOfData);
	}
	r2t.dataSN++;
	r2t.next = offset + length;
	return { task, offset, keep: !task.failed };
}

/** A Data-Out PDU is complete. */
export function dataOutEnded(task: IscsiTask, bhs: Buffer, at: number, keep: boolean, digestGood: boolean): void {
	if (!digestGood) failDataOut(task, transportSense.protocolServiceCRCError);
	const offset = DataOut.bufferOffset.get(bhs, at);
	const unsolicited = DataOut.targetTransferTag.get(bhs, at) === noTag;
	if ((bhs[at + 1]! & finalBit) !== 0) {
		if (unsolicited) closeUnsolicited(task);
		else task.r2ts.shift();
	}
	if (keep && !task.failed) received(task, offset, DataOut.dataSegmentLength.get(bhs, at));
	advanceDataOut(task);
}

/** No more unsolicited data is to come: R2Ts begin behind it. */
export function closeUnsolicited(task: IscsiTask): void {
	task.unsolicitedOpen = false;
	task.solicitedTo = Math.min(task.unsolicitedNext, task.wantedBytes);
}

/** Puts bytes of the command's data, `offset` from its beginning, where they belong; what is not wanted is dropped. */
export function placeData(task: IscsiTask, source: Buffer, start: number, end: number, offset: number, whole: boolean): void {
	const chunk = chunkAt(task, offset);
	if (chunk === undefined) return;
	const length = Math.min(end - start, chunk.end - offset);
	if (whole && chunk.receivedBytes === 0 && length === chunk.size && length <= copiedBytesMax && task.step === 'write') {
		// The device copies before it returns: straight from the receive buffer, without a stop in between. received() finds it gone.
		chunk.receivedBytes = length;
		handOver(task, chunk, source.subarray(start, start + length));
		return;
	}
	chunk.buffer ??= bufferPool.acquire(chunk.capacity);
	source.copy(chunk.buffer, headRoomBytes + offset - chunk.start, start, start + length);
}

/** Bytes of a PDU that was good are in their chunk; a full one goes on. */
export function received(task: IscsiTask, offset: number, length: number): void {
	const chunk = chunkAt(task, offset);
	if (chunk === undefined) return;
	chunk.receivedBytes += Math.min(length, chunk.end - offset);
	if (chunk.receivedBytes < chunk.size || chunk.buffer === undefined) return;
	const data = chunk.buffer.subarray(headRoomBytes, headRoomBytes + chunk.size);
	if (task.step === 'write') {
		handOver(task, chunk, data);
		return;
	}
	task.chunks.length = 0;
	task.handedBytes += chunk.size;
	// The device server may keep it until the task is finished.
	task.parameters = chunk;
}

/** The command cannot succeed any more. What is on its way is awaited and thrown away. */
export function failDataOut(task: IscsiTask, sense: { readonly key: number; readonly code: number }): void {
	if (!task.failed) check(task, sense);
	fail(task);
}

/** Device completion of one chunk. */
export function chunkWritten(chunk: Chunk, outcome: Outcome): void {
	const task = chunk.task!;
	task.atDevice--;
	giveMemory(task, chunk);
	releaseChunk(chunk);
	if (outcome !== 'good' && !task.failed && task.aborted === 'no') {
		task.unit!.fail(task.scsi, outcome);
		fail(task);
	}
	if (task.aborted === 'no') advanceDataOut(task);
	else task.connection!.flow.abortedIdle(task);
}

/** Gives back all memory that no device call holds, and stands in no line for more. */
export function dropDataOut(task: IscsiTask): void {
	leaveLine(task);
	for (const chunk of task.chunks) drop(task, chunk);
	task.chunks.length = 0;
	if (task.parameters !== undefined && task.atDevice === 0) {
		drop(task, task.parameters);
		task.parameters = undefined;
	}
	task.r2ts.length = 0;
}

function fail(task: IscsiTask): void {
	task.failed = true;
	leaveLine(task);
	for (const chunk of task.chunks) drop(task, chunk);
	task.chunks.length = 0;
}

/** Settles a command whose data is all here or will not be used. */
function settle(task: IscsiTask): void {
	if (task.answerable || task.unsolicitedOpen || task.r2ts.length > 0 || task.atDevice > 0) return;
	if (task.step === 'parameters' && !task.failed) {
		const chunk = task.parameters;
		const data = chunk?.buffer === undefined ? Buffer.alloc(0) : chunk.buffer.subarray(headRoomBytes, headRoomBytes + chunk.size);
		// Once only: what follows is `finished` or `pending`.
		task.step = 'finished';
		task.connection!.flow.continueWith(task, task.unit!.parameters(task.scsi, data));
		return;
	}
	task.connection!.flow.finished(task);
}

function leaveLine(task: IscsiTask): void {
	// A read stands in another line, which dropDataIn() takes it out of.
	if (task.wantedGrantBytes === 0 || task.step === 'read') return;
	task.connection!.session!.grants.forget(task);
	task.wantedGrantBytes = 0;
}

function requestMemory(task: IscsiTask, bytes: number): void {
	task.wantedGrantBytes = bytes;
	task.connection!.session!.grants.request(task);
}

function sendR2T(connection: Connection, task: IscsiTask, length: number): void {
	const { writer } = connection;
	const { buffer, at } = writer;
	const targetTransferTag = connection.nextTargetTransferTag();
	task.r2ts.push({ targetTransferTag, next: task.solicitedTo, end: task.solicitedTo + length, dataSN: 0 });
	// R2T shows the next StatSN but does not advance it (§11.8).
	writer.header(buffer, at, opcode.r2t, 0, task.initiatorTaskTag, 0, false);
	R2T.statSN.set(buffer, at, writer.statSN);
	BHS.lun.set(buffer, at, task.lun);
	R2T.targetTransferTag.set(buffer, at, targetTransferTag);
	R2T.r2tSN.set(buffer, at, task.r2tSN++);
	R2T.bufferOffset.set(buffer, at, task.solicitedTo);
	R2T.desiredDataTransferLength.set(buffer, at, length);
	writer.commit(0);
	task.solicitedTo += length;
}

function handOver(task: IscsiTask, chunk: Chunk, data: Uint8Array): void {
	task.chunks.splice(task.chunks.indexOf(chunk), 1);
	task.handedBytes += chunk.size;
	task.atDevice++;
	task.device.write(task.scsi.offsetBytes + chunk.start, data, task.scsi.fua, chunk);
	if (chunk.buffer !== undefined && chunk.size <= copiedBytesMax) {
		bufferPool.release(chunk.buffer);
		chunk.buffer = undefined;
	}
}

function chunkAt(task: IscsiTask, offset: number): Chunk | undefined {
	for (const chunk of task.chunks) if (offset >= chunk.start && offset < chunk.end) return chunk;
	return undefined;
}

function drop(task: IscsiTask, chunk: Chunk): void {
	giveMemory(task, chunk);
	releaseChunk(chunk);
}

function giveMemory(task: IscsiTask, chunk: Chunk): void {
	const { plan, session } = task.connection!;
	if (chunk.solicited) session!.grants.give(chunk.capacity);
	else plan.budget.give(chunk.capacity);
	if (chunk.unsolicited) plan.unsolicited.give(session!.unsolicitedParty, chunk.capacity);
}
