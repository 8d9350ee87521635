import { additionalSense, senseData, senseKey } from '../scsi/sense.ts';
import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import * as pdu from './pdu.ts';

const nothing = Buffer.alloc(0);

/** PDUs of a connection that are no part of a SCSI command. Nothing is sent once the connection is closed. */
export class Control {
	readonly #connection: Connection;
	/** Until the connection ends, once its initiator was asked to log out. */
	#logoutDueSeconds: number | undefined;
	#rejects = 0;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	/** There have been more Rejects than limits.rejects. */
	get rejectsTooMany(): boolean {
		return this.#rejects > limits.rejects;
	}

	/** Answers a NOP-Out (§11.18) with its data, as much as the initiator takes. */
	echo(bhs: Buffer, at: number, data: Buffer): void {
		const tag = pdu.NOPOut.initiatorTaskTag.get(bhs, at);
		// Without a tag it answers our ping, or only tells ExpStatSN.
		if (tag === pdu.noTag) return;
		const { parameters, writer } = this.#connection;
		const echo = data.subarray(0, Math.min(data.length, parameters.maxRecvDataSegmentLength));
		const answer = writer.control(pdu.opcode.nopIn, 0, tag, echo, true);
		pdu.NOPIn.targetTransferTag.set(answer.buffer, answer.at, pdu.noTag);
		writer.sendControl(answer);
	}

	/** NOP-In that wants an answer (§11.19). */
	ping(): void {
		const { writer } = this.#connection;
		const ping = writer.control(pdu.opcode.nopIn, 0, pdu.noTag, nothing, false);
		pdu.NOPIn.targetTransferTag.set(ping.buffer, ping.at, this.#connection.nextTargetTransferTag());
		// It shows the next StatSN but does not advance it (§11.19.1).
		pdu.NOPIn.statSN.set(ping.buffer, ping.at, writer.statSN);
		writer.sendControl(ping);
	}

	/** Reject (§11.17) with a copy of the header. */
	reject(reason: number, bhs: Buffer, at: number): void {
		const { closed, statistics, writer } = this.#connection;
		if (closed) return;
		statistics.rejects++;
		this.#rejects++;
		const answer = writer.control(pdu.opcode.reject, 0, pdu.noTag, bhs.subarray(at, at + pdu.bhsBytes), true);
		pdu.Reject.reason.set(answer.buffer, answer.at, reason);
		writer.sendControl(answer);
	}

	answerTaskManagement(initiatorTaskTag: number, response: number): void {
		const { inFullFeaturePhase, writer } = this.#connection;
		if (!inFullFeaturePhase) return;
		const answer = writer.control(pdu.opcode.taskManagementResponse, 0, initiatorTaskTag, nothing, true);
		pdu.TaskManagementResponse.response.set(answer.buffer, answer.at, response);
		writer.sendControl(answer);
	}

	answerLogout(initiatorTaskTag: number, response: number): void {
		const { writer } = this.#connection;
		const answer = writer.control(pdu.opcode.logoutResponse, 0, initiatorTaskTag, nothing, true);
		pdu.LogoutResponse.response.set(answer.buffer, answer.at, response);
		writer.sendControl(answer);
	}

	/** Asynchronous Message (§11.9): asks the initiator to log out within the time. When it has not, the connection ends. */
	askForLogout(seconds: number): void {
		if (!this.#asynchronous(pdu.asyncEvent.logoutRequest, { parameter3: seconds })) return;
		this.#logoutDueSeconds = seconds;
	}

	/** Asynchronous Message: the connection, or all of the session, will be dropped. There is nothing to come back to (§7.1.4.1), so no time is retained. */
	announceDrop(what: 'connection' | 'session'): void {
		const { cid, parameters } = this.#connection;
		const parameter2 = parameters.defaultTime2Wait;
		if (what === 'connection') this.#asynchronous(pdu.asyncEvent.dropConnection, { parameter1: cid, parameter2 });
		else this.#asynchronous(pdu.asyncEvent.dropAllConnections, { parameter2 });
	}

	/** Asynchronous Message with the sense data of REPORTED LUNS DATA HAS CHANGED. Discovery sessions have no LUNs. */
	reportedLunsChanged(): void {
		const target = this.#connection.session?.target;
		if (target === undefined) return;
		const sense = senseData({ key: senseKey.unitAttention, code: additionalSense.reportedLunsDataHasChanged }, 'fixed');
		const data = Buffer.alloc(2 + sense.length);
		data.writeUInt16BE(sense.length);
		data.set(sense, 2);
		this.#asynchronous(pdu.asyncEvent.scsiEvent, { lun: target.luns()[0] ?? 0 }, data);
	}

	/** Once a second. */
	tick(): void {
		if (this.#rejects > 0) this.#rejects--;
		if (this.#logoutDueSeconds === undefined || --this.#logoutDueSeconds > 0) return;
		this.#connection.dismiss('connection', 'did not log out when it was asked to');
	}

	/** False if there is nobody to tell. */
	#asynchronous(
		event: number,
		about: { lun?: number; parameter1?: number; parameter2?: number; parameter3?: number },
		data: Uint8Array = nothing,
	): boolean {
		const { inFullFeaturePhase, writer } = this.#connection;
		if (!inFullFeaturePhase) return false;
		const message = writer.control(pdu.opcode.asyncMessage, 0, pdu.noTag, data, true);
		const { buffer, at } = message;
		// Peripheral device addressing, single level (SAM-5): our LUNs are below 256.
		if (about.lun !== undefined) pdu.AsyncMessage.lun.get(buffer, at)[1] = about.lun;
		pdu.AsyncMessage.asyncEvent.set(buffer, at, event);
		pdu.AsyncMessage.parameter1.set(buffer, at, about.parameter1 ?? 0);
		pdu.AsyncMessage.parameter2.set(buffer, at, about.parameter2 ?? 0);
		pdu.AsyncMessage.parameter3.set(buffer, at, about.parameter3 ?? 0);
		writer.sendControl(message);
		return true;
	}
}
