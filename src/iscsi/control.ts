import type { Connection } from './connection.ts';
import * as pdu from './pdu.ts';

const nothing = Buffer.alloc(0);

/** PDUs of a connection that are no part of a SCSI command. Nothing is sent once the connection is closed. */
export class Control {
	readonly #connection: Connection;

	constructor(connection: Connection) {
		this.#connection = connection;
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

	/** Asynchronous Message (§11.9): asks the initiator to log out within the time. */
	askForLogout(seconds: number): void {
		const { inFullFeaturePhase, writer } = this.#connection;
		if (!inFullFeaturePhase) return;
		const message = writer.control(pdu.opcode.asyncMessage, 0, pdu.noTag, nothing, true);
		pdu.AsyncMessage.asyncEvent.set(message.buffer, message.at, pdu.asyncEvent.logoutRequest);
		pdu.AsyncMessage.parameter3.set(message.buffer, message.at, seconds);
		writer.sendControl(message);
	}
}
