import { copiedBytesMax } from '../blockvol/block-device.ts';
import type { BudgetWaiter } from '../os/memory-budget.ts';
import { status } from '../scsi/task.ts';
import { acquireChunk } from './chunk.ts';
import type { Connection } from './connection.ts';
import { closeUnsolicited, failDataOut, firstChunkBytes, advanceDataOut, received } from './data-out.ts';
import { limits } from './limits.ts';
import { ahsType, BHS, bhsBytes, noTag, readBit, rejectReason, SCSICommand, writeBit, finalBit } from './pdu.ts';
import { acquireTask, type IscsiTask } from './task.ts';
import { transportSense } from './transport-sense.ts';

/** Takes SCSI Command PDUs in their turn (RFC 7143 §11.3) and finds memory for the data that comes with them. */
export class CommandIntake implements BudgetWaiter {
	readonly #connection: Connection;
	/** The task that the connection is not read for, until there is memory for its unsolicited data. */
	#waiting: IscsiTask | undefined;
	#waitingBytes = 0;
	#waitingSize = 0;
	#waitingFor: 'share' | 'budget' = 'budget';
	#isShared = false;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	get waits(): boolean {
		return this.#waiting !== undefined;
	}

	/** The header is here, its immediate data not yet. Returns the task if that data belongs to it, undefined if it is to be thrown away. */
	start(bhs: Buffer, at: number): IscsiTask | undefined {
		const connection = this.#connection;
		const session = connection.session!;
		const tag = BHS.initiatorTaskTag.get(bhs, at);
		const immediate = SCSICommand.immediate.get(bhs, at) === 1;
		const refusal = this.#refusal(tag, immediate);
		if (refusal !== undefined) {
			if (!immediate) session.window.advance();
			connection.control.reject(refusal, bhs, at);
			return undefined;
		}
		const flags = bhs[at + 1]!;
		const task = acquireTask();
		task.connection = connection;
		task.initiatorTaskTag = tag;
		task.immediate = immediate;
		task.occupies = true;
		task.read = (flags & readBit) !== 0;
		task.write = (flags & writeBit) !== 0;
		task.expectedDataTransferLength = SCSICommand.expectedDataTransferLength.get(bhs, at);
		task.scsi.dataOutBytes = task.write ? task.expectedDataTransferLength : 0;
		for (let index = 0; index < 8; index++) task.lun[index] = bhs[at + 8 + index]!;
		const { cdb } = task.scsi;
		for (let index = 0; index < 16; index++) cdb[index] = bhs[at + 32 + index]!;
		task.unit = session.target!.unit(task.lun);
		session.tasks.add(task);
		session.commands++;
		connection.statistics.commands++;
		if (immediate) session.immediateTasks++;
		else {
			session.window.occupy();
			session.window.advance();
		}
		const wrong = this.#checkUnsolicited(task, flags, BHS.dataSegmentLength.get(bhs, at)) ?? checkSegments(task, bhs, at);
		if (wrong !== undefined) failDataOut(task, wrong);
		else connection.flow.continueWith(task, session.target!.start(task.scsi, task.lun, session.nexus));
		// The answer may have left already; then the task is somebody else's.
		return session.tasks.get(tag) === task && task.initiatorTaskTag === tag ? task : undefined;
	}

	/** Its immediate data, if any, has come. */
	ended(task: IscsiTask, dataBytes: number, digestGood: boolean): void {
		if (!digestGood) failDataOut(task, transportSense.protocolServiceCRCError);
		if (!task.unsolicitedOpen) closeUnsolicited(task);
		if (dataBytes > 0 && !task.failed) received(task, 0, dataBytes);
		if (task.write || task.failed) advanceDataOut(task);
	}

	/**
	 * Memory for the data that comes unasked; `bytes` of it. If there is none the connection is not read until there is, but only if it holds no memory that
	 * further reading would free: otherwise all connections could wait for each other, and TASK SET FULL says it instead.
	 *
	 * A short write whose data comes with its command holds memory for one PDU of the connection; anything else counts in a share of its own.
	 */
	admit(task: IscsiTask, bytes: number): void {
		const { plan, statistics } = this.#connection;
		const size = firstChunkBytes(task, bytes, plan.chunkBytes);
		const isShared = task.unsolicitedOpen || size > copiedBytesMax;
		// Of the share only what comes unasked: the rest of the chunk stands in line with what R2Ts solicit.
		if (!isShared && this.#tryTake(size, isShared)) this.#admitted(task, size, size, isShared);
		else if ((isShared || size > bytes) && this.#tryTake(bytes, isShared)) this.#admitted(task, size, bytes, isShared);
		else if (this.#holdsIncomplete()) {
			statistics.taskSetFull++;
			task.scsi.status = status.taskSetFull;
			task.failed = true;
		} else {
			this.#waiting = task;
			this.#waitingBytes = bytes;
			this.#waitingSize = size;
			this.#waitingFor = isShared ? 'share' : 'budget';
			this.#isShared = isShared;
			const party = this.#connection.session!.unsolicitedParty;
			if (isShared ? plan.unsolicited.take(party, bytes, this) : plan.budget.take(bytes, this)) this.granted();
		}
	}

	granted(): void {
		if (this.#waitingFor === 'share') {
			this.#waitingFor = 'budget';
			if (!this.#connection.plan.budget.take(this.#waitingBytes, this)) return;
		}
		const task = this.#waiting!;
		this.#waiting = undefined;
		this.#admitted(task, this.#waitingSize, this.#waitingBytes, this.#isShared);
		this.#connection.resume();
	}

	/** The task ends, or all do. */
	forget(task: IscsiTask): void {
		if (this.#waiting !== task) return;
		const { plan, session } = this.#connection;
		this.#waiting = undefined;
		if (this.#waitingFor === 'share') plan.unsolicited.forget(session!.unsolicitedParty, this);
		else {
			plan.budget.forget(this);
			if (this.#isShared) plan.unsolicited.give(session!.unsolicitedParty, this.#waitingBytes);
		}
		this.#connection.resume();
	}

	#tryTake(bytes: number, isShared: boolean): boolean {
		const { plan, session } = this.#connection;
		if (isShared && !plan.unsolicited.tryTake(session!.unsolicitedParty, bytes)) return false;
		if (plan.budget.tryTake(bytes)) return true;
		if (isShared) plan.unsolicited.give(session!.unsolicitedParty, bytes);
		return false;
	}

	#admitted(task: IscsiTask, size: number, capacity: number, isShared: boolean): void {
		const chunk = acquireChunk(task, 0, size, capacity, false);
		chunk.unsolicited = isShared;
		task.chunks.push(chunk);
	}

	#holdsIncomplete(): boolean {
		const connection = this.#connection;
		return connection.session!.tasks.all().some((task) => task.connection === connection && task.chunks.length > 0);
	}

	#refusal(tag: number, immediate: boolean): number | undefined {
		const session = this.#connection.session!;
		if (session.target === undefined) return rejectReason.protocolError;
		if (tag === noTag) return rejectReason.invalidPDUField;
		if (session.tasks.get(tag) !== undefined) return rejectReason.taskInProgress;
		if (immediate && session.immediateTasks >= limits.immediateTasksPerSession) return rejectReason.tooManyImmediateCommands;
		return undefined;
	}

	/** §11.3.1, §11.3.4, §13.10, §13.11, §13.14: task attributes, and what may come unasked. Returns sense if it breaks that. */
	#checkUnsolicited(task: IscsiTask, flags: number, dataBytes: number): { key: number; code: number } | undefined {
		if ((flags & attributeMask) > headOfQueue) return transportSense.invalidMessageError;
		const { immediateData, initialR2T, firstBurstLength } = this.#connection.parameters;
		task.unsolicitedMax = task.write ? Math.min(firstBurstLength, task.expectedDataTransferLength) : 0;
		task.unsolicitedNext = dataBytes;
		const more = (flags & finalBit) === 0;
		task.unsolicitedOpen = task.write && more;
		if ((dataBytes > 0 && !(task.write && immediateData)) || (more && (!task.write || initialR2T)))
			return transportSense.unexpectedUnsolicitedData;
		if (dataBytes > task.unsolicitedMax) return transportSense.incorrectAmountOfData;
		return undefined;
	}
}

/** §11.3.1.1, ATTR: the last one that there is; ACA and reserved values are above it. */
const attributeMask = 0x07;
const headOfQueue = 3;

/** §11.2.2: CDBs longer than 16 bytes and bidirectional commands exist for no command of ours. */
function checkSegments(task: IscsiTask, bhs: Buffer, at: number): { key: number; code: number } | undefined {
	if (task.read && task.write) return transportSense.invalidCommandOperationCode;
	const end = at + bhsBytes + 4 * BHS.totalAHSLength.get(bhs, at);
	for (let segment = at + bhsBytes; segment < end;) {
		// AHSLength counts the bytes behind the first three, which are padded to words.
		const length = bhs.readUInt16BE(segment);
		if (bhs[segment + 2] === ahsType.extendedCDB || segment + 3 + length > end) return transportSense.invalidCommandOperationCode;
		segment += (3 + length + 3) & ~3;
	}
	return undefined;
}
