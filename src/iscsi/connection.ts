import { status, type NextStep } from '../scsi/task.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import type { Lender, Transmitter } from '../wire/transmitter.ts';
import { CommandIntake } from './command-intake.ts';
import { CommandWindow } from './command-window.ts';
import { sendData, dropDataIn } from './data-in.ts';
import { acceptDataOut, advanceDataOut, dataOutEnded, dropDataOut, failDataOut, placeData } from './data-out.ts';
import { Framing, type PDUHandler } from './framing.ts';
import { HeldPDUs } from './held-pdus.ts';
import { limits } from './limits.ts';
import type { Logger } from './logger.ts';
import { Login, type LoginReply } from './login.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { defaultParameters, type Parameters } from './parameters.ts';
import * as pdu from './pdu.ts';
import { PDUWriter } from './pdu-writer.ts';
import type { TargetRegistry } from './registry.ts';
import { residual } from './residual.ts';
import type { Session } from './session.ts';
import type { SessionTable } from './session-table.ts';
import type { Statistics } from './statistics.ts';
import { manageTasks } from './task-management.ts';
import { type IscsiTask, releaseTask } from './task.ts';
import { TextExchange } from './text-exchange.ts';
import { transportSense } from './transport-sense.ts';

/** What all connections of a listener share. */
export interface ConnectionEnvironment {
	readonly registry: TargetRegistry;
	readonly sessions: SessionTable;
	readonly plan: MemoryPlan;
	readonly statistics: Statistics;
	readonly log: Logger;
	/** False while the listener drains. */
	readonly accepting: boolean;
	now(): Date;
}

/** What a connection asks of its socket. */
export interface ConnectionHost {
	readonly transmitter: Transmitter;
	/** host:port that the initiator reached us by, IPv6 in brackets. */
	readonly portal: string;
	readonly remote: string;
	/** Goes on with receive(), not before this returns. */
	resume(): void;
	/** Closes behind what was sent. */
	end(): void;
	/** Closes at once. */
	destroy(reason: string): void;
}

type Phase = 'login' | 'joining' | 'fullFeature' | 'loggingOut' | 'closed';
type Disposition = 'discard' | 'dataOut' | 'command' | 'collect' | 'hold';

const nothing = Buffer.alloc(0);

/**
 * One iSCSI connection, without I/O: bytes and completions in, PDUs into the transmitter.
 *
 *   login ── last Login Response ─→ joining ── no old session is in the way ─→ fullFeature ── Logout ─→ loggingOut ── tasks gone ─→ closed
 *     └─ refused ─→ closed                                                        └─ error, socket closed, reinstatement ─→ closed
 *
 * Everything is synchronous. Invariants: nothing is received while `stopped`; after `closed` nothing is sent; each task of the session names the
 * connection that it is answered on.
 */
export class Connection implements PDUHandler {
	readonly host: ConnectionHost;
	readonly writer: PDUWriter;
	readonly plan: MemoryPlan;
	readonly statistics: Statistics;
	readonly sessions: SessionTable;
	readonly registry: TargetRegistry;
	session: Session | undefined;
	parameters: Parameters = defaultParameters();
	/** Bytes of reads that had to wait: for memory, for the device, and until they have left. */
	readBytesAside = 0;
	headerDigest = false;
	dataDigest = false;
	readonly #environment: ConnectionEnvironment;
	readonly #transmitter: Transmitter;
	readonly #framing = new Framing(this);
	readonly #login: Login;
	readonly #intake = new CommandIntake(this);
	readonly #held = new HeldPDUs();
	#text: TextExchange | undefined;
	#phase: Phase = 'login';
	#loginBegun = false;
	#disposition: Disposition = 'discard';
	/** Whose data the current PDU carries, and where it begins in the command's data. */
	#dataTask: IscsiTask | undefined;
	#dataOffset = 0;
	#keep = false;
	/** Data of a PDU that is used whole. */
	#collected: Buffer = nothing;
	#collectBytes = 0;
	readonly #line: IscsiTask[] = [];
	readonly #deviceLine: IscsiTask[] = [];
	#noRoom = false;
	#nextTag = 0;
	#ages = { login: 0, silence: 0, stalled: 0 };
	#pinged = false;

	constructor(environment: ConnectionEnvironment, host: ConnectionHost) {
		this.#environment = environment;
		this.host = host;
		this.#transmitter = host.transmitter;
		this.plan = environment.plan;
		this.statistics = environment.statistics;
		this.sessions = environment.sessions;
		this.registry = environment.registry;
		this.writer = new PDUWriter(host.transmitter, new CommandWindow(0));
		this.#login = new Login({
			registry: environment.registry,
			get accepting() {
				return environment.accepting;
			},
			sessionOf: (initiatorName, isid, tsih) => environment.sessions.sessionOf(initiatorName, isid, tsih),
		});
	}

	get closed(): boolean {
		return this.#phase === 'closed';
	}

	get cid(): number {
		return this.#login.cid;
	}

	get portal(): string {
		return this.host.portal;
	}

	get inFullFeaturePhase(): boolean {
		return this.#phase === 'fullFeature';
	}

	/** Bytes start..end of a buffer that is valid during the call. Returns where it stopped: before `end` it wants no more until host.resume(). */
	receive(buffer: Buffer, start: number, end: number): number {
		return this.#framing.receive(buffer, start, end);
	}

	resume(): void {
		this.host.resume();
	}

	get stopped(): boolean {
		if (this.#phase !== 'fullFeature' && this.#phase !== 'login') return true;
		if (this.#intake.waits) return true;
		if (!this.#transmitter.backlogged) return false;
		this.#transmitter.awaitRoom();
		return true;
	}

	get dataSegmentLengthMax(): number {
		return this.#phase === 'login' ? limits.loginDataSegmentLength : limits.maxRecvDataSegmentLength;
	}

	header(bhs: Buffer, at: number): void {
		const code = bhs[at]! & 0x3f;
		this.#disposition = 'collect';
		this.#collected = nothing;
		this.#collectBytes = pdu.BHS.dataSegmentLength.get(bhs, at);
		this.#dataTask = undefined;
		if (this.#phase === 'login') return;
		if (pdu.BHS.totalAHSLength.get(bhs, at) > 0 && code !== pdu.opcode.scsiCommand) this.#violate(bhs, at, 'additional header segments');
		else if (code === pdu.opcode.dataOut) this.#dataOutHeader(bhs, at);
		else if (pdu.carriesCmdSN(code)) this.#orderedHeader(bhs, at, code);
	}

	data(source: Buffer, start: number, end: number, offset: number, whole: boolean): void {
		switch (this.#disposition) {
			case 'discard':
				return;
			case 'dataOut':
			case 'command':
				if (this.#dataTask !== undefined && this.#keep) placeData(this.#dataTask, source, start, end, this.#dataOffset + offset, whole);
				return;
			default:
				if (whole) this.#collected = source.subarray(start, end);
				else {
					if (offset === 0) this.#collected = Buffer.alloc(this.#collectBytes);
					source.copy(this.#collected, offset, start, end);
				}
		}
	}

	end(bhs: Buffer, at: number, digestGood: boolean): void {
		if (this.#phase === 'closed') return;
		if (!digestGood) {
			this.statistics.digestErrors++;
			this.reject(pdu.rejectReason.dataDigestError, bhs, at);
		}
		const task = this.#dataTask;
		this.#dataTask = undefined;
		switch (this.#disposition) {
			case 'discard':
				break;
			case 'dataOut':
				if (task !== undefined) dataOutEnded(task, bhs, at, this.#keep, digestGood);
				break;
			case 'command':
				if (task !== undefined) this.#intake.ended(task, pdu.BHS.dataSegmentLength.get(bhs, at), digestGood);
				break;
			case 'hold':
				if (digestGood && !this.#held.keep(bhs, at, this.#collected)) this.#violate(bhs, at, 'too many PDUs ahead of a missing CmdSN');
				break;
			case 'collect':
				if (digestGood) this.#whole(bhs, at, this.#collected);
				break;
			default:
				this.#disposition satisfies never;
		}
		this.#collected = nothing;
		if (this.#held.size > 0) this.#runHeld();
	}

	lost(reason: string, digest: boolean): void {
		if (digest) this.statistics.digestErrors++;
		else this.statistics.protocolErrors++;
		this.drop(reason);
	}

	/** From the transmitter. */
	roomAgain(): void {
		this.#noRoom = false;
		// A task that made way comes behind the others, so long reads take turns.
		while (!this.#noRoom && this.#line.length > 0) {
			const task = this.#line.shift()!;
			task.queued = false;
			if (task.answerable) this.respond(task);
			else if (task.sendBytes > 0) sendData(task);
			else advanceDataOut(task);
		}
		this.host.resume();
	}

	/** The task goes on when there is room to transmit. */
	queue(task: IscsiTask): void {
		this.#noRoom = true;
		if (task.queued) return;
		task.queued = true;
		this.#line.push(task);
	}

	/** The task's read goes on when the device has fewer of this connection. */
	queueForDevice(task: IscsiTask): void {
		this.#deviceLine.push(task);
	}

	/** `bytes` of a read are no longer held aside: another may go on. */
	readSettled(bytes: number): void {
		this.readBytesAside -= bytes;
		while (this.#deviceLine.length > 0 && this.readBytesAside < limits.readBytesAside) {
			const task = this.#deviceLine.shift()!;
			sendData(task);
			if (this.#deviceLine.at(-1) === task) return;
		}
	}

	/** Sends a pooled buffer with `bytes` of a read as it is; its memory is given back when it has left. */
	lend(buffer: Buffer, start: number, end: number, bytes: number): void {
		this.#transmitter.send(buffer, start, end, new Loan(this, bytes));
	}

	nextTargetTransferTag(): number {
		this.#nextTag = (this.#nextTag + 1) % pdu.noTag;
		return this.#nextTag;
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
				if (unsolicited > 0) this.#intake.admit(task, unsolicited);
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
		const { writer } = this;
		if (!writer.reserve(dataBytes)) {
			this.queue(task);
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
		if (task.immediate) this.session!.immediateTasks--;
		else this.session!.window.vacate();
	}

	/** The task has been answered, or needs no answer, and the device has nothing of it. */
	ended(task: IscsiTask): void {
		const session = this.session!;
		this.vacate(task);
		if (task.step === 'read') {
			session.bytesRead += task.sentBytes;
			this.statistics.bytesRead += task.sentBytes;
		} else if (task.handedBytes > 0) {
			session.bytesWritten += task.handedBytes;
			this.statistics.bytesWritten += task.handedBytes;
		}
		if (task.chunks.length > 0 || task.parameters !== undefined || task.wantedGrantBytes > 0) dropDataOut(task);
		if (task.pooled !== undefined || task.pooledBytes > 0) dropDataIn(task);
		if (this.#dataTask === task) this.#dataTask = undefined;
		session.tasks.delete(task);
		const aborted = task.aborted !== 'no';
		if (aborted) this.sessions.functions.gone(task);
		releaseTask(task);
		session.taskGone();
	}

	/** Ends a task early. What the device has of it is awaited; see IscsiTask.aborted for the answer. */
	abort(task: IscsiTask, how: 'silent' | 'answered'): void {
		if (task.aborted !== 'no') {
			if (how === 'silent') task.aborted = how;
			return;
		}
		this.statistics.tasksAborted++;
		task.aborted = how;
		if (this.#dataTask === task) this.#dataTask = undefined;
		this.#intake.forget(task);
		remove(this.#line, task);
		remove(this.#deviceLine, task);
		task.queued = false;
		dropDataOut(task);
		if (task.atDevice === 0) dropDataIn(task);
		this.abortedIdle(task);
	}

	/** Perhaps the device has nothing of an aborted task any more. */
	abortedIdle(task: IscsiTask): void {
		if (task.atDevice > 0) return;
		if (task.aborted === 'silent' || this.#phase !== 'fullFeature') {
			this.ended(task);
			return;
		}
		task.scsi.status = status.taskAborted;
		task.scsi.sense = undefined;
		this.respond(task);
	}

	/** Reject (§11.17) with a copy of the header. */
	reject(reason: number, bhs: Buffer, at: number): void {
		if (this.#phase === 'closed') return;
		this.statistics.rejects++;
		const answer = this.writer.control(pdu.opcode.reject, 0, pdu.noTag, bhs.subarray(at, at + pdu.bhsBytes), true);
		pdu.Reject.reason.set(answer.buffer, answer.at, reason);
		this.writer.sendControl(answer);
	}

	answerTaskManagement(initiatorTaskTag: number, response: number): void {
		if (this.#phase !== 'fullFeature') return;
		const answer = this.writer.control(pdu.opcode.taskManagementResponse, 0, initiatorTaskTag, nothing, true);
		pdu.TaskManagementResponse.response.set(answer.buffer, answer.at, response);
		this.writer.sendControl(answer);
	}

	/** ABORT TASK of a command that has not come: its CmdSN counts as received. False if it is not in the window. */
	skipCommand(cmdSN: number): boolean {
		if (this.session!.window.place(cmdSN) === 'outside') return false;
		this.#held.skip(cmdSN);
		this.#runHeld();
		return true;
	}

	/** Asynchronous Message (§11.9): asks the initiator to log out within the time. */
	askForLogout(seconds: number): void {
		if (this.#phase !== 'fullFeature') return;
		const message = this.writer.control(pdu.opcode.asyncMessage, 0, pdu.noTag, nothing, true);
		pdu.AsyncMessage.asyncEvent.set(message.buffer, message.at, pdu.asyncEvent.logoutRequest);
		pdu.AsyncMessage.parameter3.set(message.buffer, message.at, seconds);
		this.writer.sendControl(message);
	}

	/** Once a second. `heard`: something came since the last time. */
	tick(heard: boolean): void {
		const ages = this.#ages;
		if (this.#phase === 'login' || this.#phase === 'joining') {
			if (++ages.login > limits.loginSeconds) this.drop('login took too long');
			return;
		}
		if (this.#phase !== 'fullFeature') return;
		if (heard) {
			ages.silence = 0;
			this.#pinged = false;
		} else if (!this.#intake.waits) ages.silence++;
		ages.stalled = this.#transmitter.inFlight && !this.#transmitter.movedSince() ? ages.stalled + 1 : 0;
		if (ages.stalled >= limits.stalledSeconds || this.#dataStalled()) {
			this.statistics.stalled++;
			this.drop('stalled');
		} else if (ages.silence >= limits.pingSeconds + limits.pingAnswerSeconds) this.drop('no answer to a ping');
		else if (ages.silence >= limits.pingSeconds && !this.#pinged) this.#ping();
	}

	/** Closes at once. */
	drop(reason: string): void {
		if (this.#phase === 'closed') return;
		this.#leave(reason);
		this.host.destroy(reason);
	}

	/** Closes behind what was said. */
	endSoon(): void {
		if (this.#phase === 'closed') return;
		this.#leave('ended by the target');
		this.host.end();
	}

	/** The socket is gone. */
	socketClosed(reason: string): void {
		this.#leave(reason);
	}

	#leave(reason: string): void {
		if (this.#phase === 'closed') return;
		this.#phase = 'closed';
		const { session } = this;
		this.#environment.log.debug({ remote: this.host.remote, initiator: session?.initiatorName, reason }, 'iSCSI connection closed');
		if (session === undefined) return;
		for (const task of session.tasks.all()) if (task.connection === this) this.abort(task, 'silent');
		this.#held.clear();
		this.sessions.connectionGone(session, this);
	}

	#dataOutHeader(bhs: Buffer, at: number): void {
		this.#disposition = 'discard';
		if (this.#held.has(pdu.BHS.initiatorTaskTag.get(bhs, at))) {
			this.#violate(bhs, at, 'data for a command ahead of a missing CmdSN');
			return;
		}
		const accepted = acceptDataOut(this, bhs, at);
		if (accepted === undefined) return;
		this.#disposition = 'dataOut';
		this.#dataTask = accepted.task;
		this.#dataOffset = accepted.offset;
		this.#keep = accepted.keep;
	}

	#orderedHeader(bhs: Buffer, at: number, code: number): void {
		const { window } = this.session!;
		const immediate = (bhs[at]! & pdu.immediateBit) !== 0;
		const place = immediate ? 'next' : window.place(pdu.BHS.cmdSN.get(bhs, at));
		if (place === 'outside') {
			// §4.2.2.1: silently.
			this.statistics.commandsIgnored++;
			this.#disposition = 'discard';
		} else if (place === 'ahead') {
			this.#disposition = 'hold';
			if (code === pdu.opcode.scsiCommand && (bhs[at + 1]! & pdu.finalBit) === 0)
				this.#violate(bhs, at, 'unsolicited data ahead of a missing CmdSN');
		} else if (code === pdu.opcode.scsiCommand) {
			this.#disposition = 'command';
			this.#dataTask = this.#intake.start(bhs, at);
			this.#dataOffset = 0;
			this.#keep = true;
		} else if (!immediate) window.advance();
	}

	/** A PDU with all its data. */
	#whole(bhs: Buffer, at: number, data: Buffer): void {
		const code = bhs[at]! & 0x3f;
		if (this.#phase === 'login') {
			this.#loginPDU(bhs, at, code, data);
			return;
		}
		switch (code) {
			case pdu.opcode.nopOut:
				this.#nopOut(bhs, at, data);
				return;
			case pdu.opcode.textRequest:
				this.#text ??= new TextExchange(this);
				this.#text.request(bhs, at, data);
				return;
			case pdu.opcode.logoutRequest:
				this.#logout(bhs, at);
				return;
			case pdu.opcode.taskManagementRequest:
				if (this.session!.target === undefined) this.reject(pdu.rejectReason.protocolError, bhs, at);
				else manageTasks(this, bhs, at);
				return;
			case pdu.opcode.snack:
				// ErrorRecoveryLevel 0 keeps nothing to repeat (§7.1.4.1).
				this.reject(pdu.rejectReason.snackReject, bhs, at);
				return;
			case pdu.opcode.loginRequest:
				this.#violate(bhs, at, 'login in full feature phase');
				return;
			default:
				this.reject(pdu.rejectReason.commandNotSupported, bhs, at);
		}
	}

	#nopOut(bhs: Buffer, at: number, data: Buffer): void {
		const tag = pdu.NOPOut.initiatorTaskTag.get(bhs, at);
		// Without a tag it answers our ping, or only tells ExpStatSN.
		if (tag === pdu.noTag) return;
		const echo = data.subarray(0, Math.min(data.length, this.parameters.maxRecvDataSegmentLength));
		const answer = this.writer.control(pdu.opcode.nopIn, 0, tag, echo, true);
		pdu.NOPIn.targetTransferTag.set(answer.buffer, answer.at, pdu.noTag);
		this.writer.sendControl(answer);
	}

	#ping(): void {
		this.#pinged = true;
		const ping = this.writer.control(pdu.opcode.nopIn, 0, pdu.noTag, nothing, false);
		pdu.NOPIn.targetTransferTag.set(ping.buffer, ping.at, this.nextTargetTransferTag());
		// It shows the next StatSN but does not advance it (§11.19.1).
		pdu.NOPIn.statSN.set(ping.buffer, ping.at, this.writer.statSN);
		this.writer.sendControl(ping);
	}

	#logout(bhs: Buffer, at: number): void {
		const tag = pdu.LogoutRequest.initiatorTaskTag.get(bhs, at);
		const reason = pdu.LogoutRequest.reasonCode.get(bhs, at);
		const session = this.session!;
		const known = reason === 0 || session.hasConnection(pdu.LogoutRequest.cid.get(bhs, at));
		// §11.14.1: 0 close the session, 1 close the connection, 2 leave it for recovery. §11.15.1: 1 CID not found, 2 recovery is not supported.
		const response = reason > 2 ? undefined : reason === 2 ? 2 : known ? 0 : 1;
		if (response === undefined) {
			this.reject(pdu.rejectReason.invalidPDUField, bhs, at);
			return;
		}
		if (response === 0) {
			this.#phase = 'loggingOut';
			for (const task of session.tasks.all()) this.abort(task, 'silent');
			session.whenIdle(() => {
				if (this.#phase === 'closed') return;
				this.#answerLogout(tag, response);
				this.endSoon();
			});
		} else this.#answerLogout(tag, response);
	}

	#answerLogout(initiatorTaskTag: number, response: number): void {
		const answer = this.writer.control(pdu.opcode.logoutResponse, 0, initiatorTaskTag, nothing, true);
		pdu.LogoutResponse.response.set(answer.buffer, answer.at, response);
		this.writer.sendControl(answer);
	}

	#loginPDU(bhs: Buffer, at: number, code: number, data: Buffer): void {
		if (code !== pdu.opcode.loginRequest) {
			// §6.3: nothing else may come before full feature phase.
			if (this.#loginBegun) this.#refuseLogin(pdu.loginStatus.invalidDuringLogin);
			else this.lost('something other than a login request came first', false);
			return;
		}
		const login = this.#login;
		if (!this.#loginBegun) {
			this.#loginBegun = true;
			this.writer.window = new CommandWindow(pdu.LoginRequest.cmdSN.get(bhs, at));
		}
		const reply = login.request(bhs, at, data);
		if (reply.status !== pdu.loginStatus.success) this.#refuseLogin(reply.status);
		else if (!reply.transit || reply.nextStage !== 3) this.#answerLogin(reply, login.tsih);
		else {
			this.#phase = 'joining';
			this.sessions.establish(login, this, this.#environment.now(), (result) => this.#joined(result, reply));
		}
	}

	#joined(result: Session | number, reply: LoginReply): void {
		if (typeof result === 'number') {
			if (this.#phase === 'joining') this.#refuseLogin(result);
			return;
		}
		if (this.#phase !== 'joining') {
			this.sessions.connectionGone(result, this);
			return;
		}
		const login = this.#login;
		this.session = result;
		this.writer.window = result.window;
		this.#answerLogin(reply, result.tsih);
		this.parameters = login.parameters;
		this.headerDigest = login.parameters.headerDigest;
		this.dataDigest = login.parameters.dataDigest;
		this.writer.headerDigest = this.headerDigest;
		this.writer.dataDigest = this.dataDigest;
		this.#phase = 'fullFeature';
		this.statistics.logins++;
		this.#environment.log.info(
			{ remote: this.host.remote, initiator: result.initiatorName, target: result.target?.name, tsih: result.tsih },
			result.target === undefined ? 'iSCSI discovery session' : 'iSCSI session',
		);
		this.host.resume();
	}

	#answerLogin(reply: LoginReply, tsih: number): void {
		const flags = (reply.transit ? pdu.finalBit : 0) | (reply.currentStage << 2) | reply.nextStage;
		const answer = this.writer.control(
			pdu.opcode.loginResponse,
			0,
			this.#login.initiatorTaskTag,
			reply.text,
			reply.status === pdu.loginStatus.success,
		);
		const { buffer, at } = answer;
		buffer[at + 1] = flags;
		pdu.LoginResponse.isid.set(buffer, at, this.#login.isidBytes);
		pdu.LoginResponse.tsih.set(buffer, at, tsih);
		pdu.LoginResponse.statusClass.set(buffer, at, reply.status >> 8);
		pdu.LoginResponse.statusDetail.set(buffer, at, reply.status & 0xff);
		this.writer.sendControl(answer);
	}

	#refuseLogin(loginStatus: number): void {
		this.statistics.loginsRefused++;
		this.#environment.log.info(
			{ remote: this.host.remote, initiator: this.#login.initiatorName, status: loginStatus.toString(16).padStart(4, '0') },
			'iSCSI login refused',
		);
		this.#answerLogin({ status: loginStatus, transit: false, currentStage: 0, nextStage: 0, text: nothing }, this.#login.tsih);
		this.endSoon();
	}

	/** The peer broke the protocol in a way that the session cannot go on after at ErrorRecoveryLevel 0. */
	#violate(bhs: Buffer, at: number, reason: string): void {
		this.statistics.protocolErrors++;
		this.#disposition = 'discard';
		this.reject(pdu.rejectReason.protocolError, bhs, at);
		this.#environment.log.warn({ remote: this.host.remote, initiator: this.session?.initiatorName, reason }, 'iSCSI protocol error');
		this.endSoon();
	}

	#runHeld(): void {
		const { window } = this.session!;
		for (;;) {
			const held = this.#held.take(window.expCmdSN);
			if (held === undefined || this.#phase !== 'fullFeature') return;
			if (held === 'skipped') {
				window.advance();
				continue;
			}
			this.header(held.header, 0);
			if (this.#intake.waits) {
				this.drop('no memory for a command that was held');
				return;
			}
			if (held.data.length > 0) this.data(held.data, 0, held.data.length, 0, true);
			this.end(held.header, 0, true);
		}
	}

	/** A task holds memory for data that the initiator does not send, though we read. */
	#dataStalled(): boolean {
		if (this.stopped) return false;
		let stalled = false;
		for (const task of this.session!.tasks.all()) {
			for (const chunk of task.chunks) {
				chunk.idleSeconds = chunk.receivedBytes === chunk.receivedBefore ? chunk.idleSeconds + 1 : 0;
				chunk.receivedBefore = chunk.receivedBytes;
				stalled ||= chunk.idleSeconds >= limits.stalledSeconds;
			}
		}
		return stalled;
	}
}

/** A pooled buffer under way to the initiator. */
class Loan implements Lender {
	readonly #connection: Connection;
	readonly #bytes: number;

	constructor(connection: Connection, bytes: number) {
		this.#connection = connection;
		this.#bytes = bytes;
	}

	sent(buffer: Buffer): void {
		bufferPool.release(buffer);
		this.#connection.plan.budget.give(this.#bytes);
		this.#connection.readSettled(this.#bytes);
	}
}

function remove(line: IscsiTask[], task: IscsiTask): void {
	const index = line.indexOf(task);
	if (index >= 0) line.splice(index, 1);
}
