import { status, type NextStep } from '../scsi/task.ts';
import type { Connection } from './connection.ts';
import { dropDataIn, flushThenSend, sendData } from './data-in.ts';
import { dropDataOut, failDataOut } from './data-out.ts';
import * as pdu from './pdu.ts';
import { residual } from './residual.ts';
import { type IscsiTask, releaseTask } from './task.ts';
import { transportSense } from './transport-sense.ts';

/** The way of a connection's tasks from the device server's first word to their end; IscsiTask draws it. */
export class TaskFlow {
	readonly #connection: Connection;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	/** What the device server wants next for a task. */
	continueWith(task: IscsiTask, step: NextStep): void {
		task.step = step;
		switch (step) {
			case 'finished':
				this.finished(task);
				return;
			case 'pending':
				task.atDevice++;
				return;
			case 'read':
				task.dueBytes = task.scsi.lengthBytes;
				// A read that is flagged as a write expects no data: all of it is overflow.
				task.sendBytes = task.read ? Math.min(task.scsi.lengthBytes, task.expectedDataTransferLength) : 0;
				if (task.sendBytes === 0) this.finished(task);
				else if (task.scsi.fua) flushThenSend(task);
				else sendData(task);
				return;
			case 'write':
			case 'parameters': {
				task.dueBytes = task.scsi.lengthBytes;
				if (!task.write && task.scsi.lengthBytes > 0) {
					// Good status would say that something was written (§11.3.1).
					failDataOut(task, transportSense.invalidFieldInCDB);
					return;
				}
				const wanted = Math.min(task.scsi.lengthBytes, task.expectedDataTransferLength);
				task.wantedBytes = step === 'write' ? wanted - (wanted % task.device.blockSize) : wanted;
				const unsolicited = Math.min(task.wantedBytes, task.unsolicitedOpen ? task.unsolicitedMax : task.unsolicitedNext);
				if (unsolicited > 0) this.#connection.admit(task, unsolicited);
				return;
			}
			default:
				step satisfies never;
		}
	}

	/** The SCSI part of a task is done, apart from data-in of the device server. */
	finished(task: IscsiTask): void {
		if (task.aborted !== 'no') {
			this.abortedIdle(task);
			return;
		}
		if (task.unsolicitedOpen || task.r2ts.length > 0) return;
		const { dataIn } = task.scsi;
		if (dataIn !== undefined && task.read) {
			task.source = dataIn;
			task.sendBytes = Math.min(dataIn.length, task.expectedDataTransferLength);
			task.sourceTo = task.sendBytes;
		}
		if (task.sendBytes > task.sentBytes && task.scsi.status === status.good) sendData(task);
		else this.respond(task);
	}

	/** SCSI Response (§11.4), when there is room. */
	respond(task: IscsiTask): void {
		task.answerable = true;
		const { sense } = task.scsi;
		const dataBytes = sense === undefined ? 0 : 2 + sense.length;
		const { writer } = this.#connection;
		if (!writer.reserve(dataBytes)) {
			this.#connection.line.queue(task);
			return;
		}
		this.vacate(task);
		const { buffer, at } = writer;
		const { flags, count } = residual(task);
		writer.header(buffer, at, pdu.opcode.scsiResponse, flags, task.initiatorTaskTag, dataBytes, true);
		buffer[at + 3] = task.scsi.status;
		pdu.SCSIResponse.expDataSN.set(buffer, at, task.dataSN + task.r2tSN);
		pdu.SCSIResponse.residualCount.set(buffer, at, count);
		if (sense !== undefined) {
			const place = writer.dataAt;
			buffer.writeUInt16BE(sense.length, place);
			buffer.set(sense, place + 2);
		}
		writer.commit(dataBytes);
		this.ended(task);
	}

	/** The task no longer counts against the session's limits. */
	vacate(task: IscsiTask): void {
		if (!task.occupies) return;
		task.occupies = false;
		if (task.immediate) this.#connection.session!.immediateTasks--;
		else this.#connection.session!.window.vacate();
	}

	/** The task has been answered, or needs no answer, and the device has nothing of it. */
	ended(task: IscsiTask): void {
		const session = this.#connection.session!;
		this.vacate(task);
		if (task.step === 'read') {
			session.bytesRead += task.sentBytes;
			this.#connection.statistics.bytesRead += task.sentBytes;
		} else if (task.handedBytes > 0) {
			session.bytesWritten += task.handedBytes;
			this.#connection.statistics.bytesWritten += task.handedBytes;
		}
		if (task.chunks.length > 0 || task.parameters !== undefined || task.wantedGrantBytes > 0) dropDataOut(task);
		if (task.pooled !== undefined || task.pooledBytes > 0) dropDataIn(task);
		this.#connection.forget(task);
		session.tasks.delete(task);
		const aborted = task.aborted !== 'no';
		if (aborted) this.#connection.sessions.functions.gone(task);
		releaseTask(task);
		session.taskGone();
	}

	/** Ends a task early. What the device has of it is awaited; see IscsiTask.aborted for the answer. */
	abort(task: IscsiTask, how: 'silent' | 'answered'): void {
		if (task.aborted !== 'no') {
			if (how === 'silent') task.aborted = how;
			return;
		}
		this.#connection.statistics.tasksAborted++;
		task.aborted = how;
		task.scsi.aborted = true;
		this.#connection.forget(task);
		dropDataOut(task);
		if (task.atDevice === 0) dropDataIn(task);
		this.abortedIdle(task);
	}

	/** Perhaps the device has nothing of an aborted task any more. */
	abortedIdle(task: IscsiTask): void {
		if (task.atDevice > 0) return;
		if (task.aborted === 'silent' || !this.#connection.inFullFeaturePhase) {
			this.ended(task);
			return;
		}
		task.scsi.status = status.taskAborted;
		task.scsi.sense = undefined;
		this.respond(task);
	}
}
