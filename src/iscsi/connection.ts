import type { Logger } from '../os/logger.ts';
import type { Transmitter } from '../wire/transmitter.ts';
import { CommandIntake } from './command-intake.ts';
import { CommandWindow } from './command-window.ts';
import { Control } from './control.ts';
import { acceptDataOut, dataOutEnded, placeData } from './data-out.ts';
import { Framing, type PDUHandler } from './framing.ts';
import { HeldPDUs } from './held-pdus.ts';
import { limits } from './limits.ts';
import { LoginExchange } from './login-exchange.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { defaultParameters, type Parameters } from './parameters.ts';
import * as pdu from './pdu.ts';
import { PDUWriter } from './pdu-writer.ts';
import type { Portal } from './portal.ts';
import type { TargetRegistry } from './registry.ts';
import type { Session } from './session.ts';
import type { SessionTable } from './session-table.ts';
import type { Statistics } from './statistics.ts';
import { manageTasks } from './task-management.ts';
import type { IscsiTask } from './task.ts';
import { TaskFlow } from './task-flow.ts';
import { TransmitLine } from './transmit-line.ts';
import { Watch } from './watch.ts';
import { TextExchange } from './text-exchange.ts';

/** What all connections of a listener share. */
export interface ConnectionEnvironment {
	readonly registry: TargetRegistry;
	readonly sessions: SessionTable;
	readonly plan: MemoryPlan;
	readonly statistics: Statistics;
	readonly log: Logger;
	/** False while the listener drains. */
	readonly accepting: boolean;
	/** All that lead to the same targets and sessions. */
	readonly portals: readonly Portal[];
	now(): Date;
	random(lengthBytes: number): Buffer;
}

/** What a connection asks of its socket. */
export interface ConnectionHost {
	readonly transmitter: Transmitter;
	/** IP address that the initiator reached us by. */
	readonly localAddress: string;
	/** That of the portal; see Portal. */
	readonly portalGroupTag: number | undefined;
	/** host:port of the initiator, IPv6 in brackets, and its address alone. */
	readonly remote: string;
	readonly remoteAddress: string;
	/** Goes on with receive(), not before this returns. */
	resume(): void;
	/** The same, once other connections have had their turn. */
	resumeLater(): void;
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
	readonly control = new Control(this);
	readonly flow = new TaskFlow(this);
	readonly line: TransmitLine;
	session: Session | undefined;
	parameters: Parameters = defaultParameters();
	headerDigest = false;
	dataDigest = false;
	/** Data of commands that we know. */
	dataBytesReceived = 0;
	/** Of it, in Data-Out PDUs. */
	dataOutBytesReceived = 0;
	readonly #environment: ConnectionEnvironment;
	readonly #transmitter: Transmitter;
	readonly #framing = new Framing(this);
	readonly #login: LoginExchange;
	readonly #watch = new Watch(this);
	readonly #intake = new CommandIntake(this);
	readonly #held = new HeldPDUs();
	#text: TextExchange | undefined;
	#phase: Phase = 'login';
	#disposition: Disposition = 'discard';
	/** Whose data the current PDU carries, and where it begins in the command's data. */
	#dataTask: IscsiTask | undefined;
	#dataOffset = 0;
	#keep = false;
	/** Data of a PDU that is used whole. */
	#collected: Buffer = nothing;
	#collectBytes = 0;
	#nextTag = 0;
	/** Of this turn. */
	#pdus = 0;
	#immediatePDUs = 0;

	constructor(environment: ConnectionEnvironment, host: ConnectionHost) {
		this.#environment = environment;
		this.host = host;
		this.#transmitter = host.transmitter;
		this.plan = environment.plan;
		this.statistics = environment.statistics;
		this.sessions = environment.sessions;
		this.registry = environment.registry;
		this.writer = new PDUWriter(host.transmitter, new CommandWindow(0));
		this.line = new TransmitLine(this, host.transmitter);
		this.#login = new LoginExchange(this, environment);
	}

	get closed(): boolean {
		return this.#phase === 'closed';
	}

	get cid(): number {
		return this.#login.cid;
	}

	/** All portals of the process. */
	get portals(): readonly Portal[] {
		return this.#environment.portals;
	}

	get inFullFeaturePhase(): boolean {
		return this.#phase === 'fullFeature';
	}

	get loggingIn(): boolean {
		return this.#phase === 'login' || this.#phase === 'joining';
	}

	/** Login is settled, but for an old session that may be in the way. */
	join(): void {
		this.#phase = 'joining';
	}

	enterFullFeaturePhase(session: Session, parameters: Parameters): void {
		this.session = session;
		this.parameters = parameters;
		this.headerDigest = parameters.headerDigest;
		this.dataDigest = parameters.dataDigest;
		this.writer.headerDigest = this.headerDigest;
		this.writer.dataDigest = this.dataDigest;
		this.#phase = 'fullFeature';
		this.host.resume();
	}

	/** Bytes start..end of a buffer that is valid during the call. Returns where it stopped: before `end` it wants no more until host.resume(). */
	receive(buffer: Buffer, start: number, end: number): number {
		this.session?.window.beginTurn();
		this.#immediatePDUs = 0;
		this.#pdus = 0;
		const stopped = this.#framing.receive(buffer, start, end);
		if (this.#pdus >= limits.pdusPerTurn) {
			this.#pdus = 0;
			this.host.resumeLater();
		}
		return stopped;
	}

	resume(): void {
		this.host.resume();
	}

	get stopped(): boolean {
		if (this.#pdus >= limits.pdusPerTurn) return true;
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
		this.#pdus++;
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
				if (this.#dataTask === undefined) return;
				this.dataBytesReceived += end - start;
				if (this.#disposition === 'dataOut') this.dataOutBytesReceived += end - start;
				if (this.#keep) placeData(this.#dataTask, source, start, end, this.#dataOffset + offset, whole);
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
			this.control.reject(pdu.rejectReason.dataDigestError, bhs, at);
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
		if (this.control.rejectsTooMany) this.#giveUp('too many PDUs that had to be rejected');
	}

	lost(reason: string, digest: boolean): void {
		if (digest) this.statistics.digestErrors++;
		else this.statistics.protocolErrors++;
		this.drop(reason);
	}

	/** From the transmitter. */
	roomAgain(): void {
		this.line.goOn();
		this.host.resume();
	}

	/** Once a second. `heard`: something came since the last time. */
	tick(heard: boolean): void {
		this.#watch.tick(heard);
		this.control.tick();
	}

	nextTargetTransferTag(): number {
		this.#nextTag = (this.#nextTag + 1) % pdu.noTag;
		return this.#nextTag;
	}

	/** The task ends: what is still to come of its data goes nowhere. */
	forget(task: IscsiTask): void {
		if (this.#dataTask === task) this.#dataTask = undefined;
		this.#intake.forget(task);
		this.line.forget(task);
	}

	/** Memory for data that comes unasked. */
	admit(task: IscsiTask, bytes: number): void {
		this.#intake.admit(task, bytes);
	}

	/** ABORT TASK of a command that has not come: its CmdSN counts as received. False if it is not in the window. */
	skipCommand(cmdSN: number): boolean {
		if (this.session!.window.place(cmdSN) === 'outside') return false;
		this.#held.skip(cmdSN);
		this.#runHeld();
		return true;
	}

	/** Closes at once. */
	drop(reason: string): void {
		if (this.#phase === 'closed') return;
		this.#leave(reason);
		this.host.destroy(reason);
	}

	/** Closes behind what was said. */
	endSoon(reason = 'ended by the target'): void {
		if (this.#phase === 'closed') return;
		this.#leave(reason);
		this.host.end();
	}

	/** Closes, telling the initiator before what it loses. */
	dismiss(what: 'connection' | 'session', reason: string): void {
		this.control.announceDrop(what);
		this.endSoon(reason);
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
		for (const task of session.tasks.all()) if (task.connection === this) this.flow.abort(task, 'silent');
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
		if (immediate && ++this.#immediatePDUs > limits.immediatePDUsPerTurn) {
			this.#disposition = 'discard';
			this.control.reject(pdu.rejectReason.tooManyImmediateCommands, bhs, at);
		} else if (place === 'outside') {
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
			this.#login.take(bhs, at, code, data);
			return;
		}
		switch (code) {
			case pdu.opcode.nopOut:
				this.control.echo(bhs, at, data);
				return;
			case pdu.opcode.textRequest:
				this.#text ??= new TextExchange(this);
				this.#text.request(bhs, at, data);
				return;
			case pdu.opcode.logoutRequest:
				this.#logout(bhs, at);
				return;
			case pdu.opcode.taskManagementRequest:
				if (this.session!.target === undefined) this.control.reject(pdu.rejectReason.protocolError, bhs, at);
				else manageTasks(this, bhs, at);
				return;
			case pdu.opcode.snack:
				// ErrorRecoveryLevel 0 keeps nothing to repeat (§7.1.4.1).
				this.control.reject(pdu.rejectReason.snackReject, bhs, at);
				return;
			case pdu.opcode.loginRequest:
				this.#violate(bhs, at, 'login in full feature phase');
				return;
			default:
				this.control.reject(pdu.rejectReason.commandNotSupported, bhs, at);
		}
	}

	#logout(bhs: Buffer, at: number): void {
		const tag = pdu.LogoutRequest.initiatorTaskTag.get(bhs, at);
		const reason = pdu.LogoutRequest.reasonCode.get(bhs, at);
		const session = this.session!;
		const known = reason === 0 || session.hasConnection(pdu.LogoutRequest.cid.get(bhs, at));
		// §11.14.1: 0 close the session, 1 close the connection, 2 leave it for recovery. §11.15.1: 1 CID not found, 2 recovery is not supported.
		const response = reason > 2 ? undefined : reason === 2 ? 2 : known ? 0 : 1;
		if (response === undefined) {
			this.control.reject(pdu.rejectReason.invalidPDUField, bhs, at);
			return;
		}
		if (response === 0) {
			this.#phase = 'loggingOut';
			for (const task of session.tasks.all()) this.flow.abort(task, 'silent');
			session.whenIdle(() => {
				if (this.#phase === 'closed') return;
				this.control.answerLogout(tag, response);
				this.endSoon();
			});
		} else this.control.answerLogout(tag, response);
	}

	/** The peer broke the protocol in a way that the session cannot go on after at ErrorRecoveryLevel 0. */
	#violate(bhs: Buffer, at: number, reason: string): void {
		this.statistics.protocolErrors++;
		this.#disposition = 'discard';
		this.control.reject(pdu.rejectReason.protocolError, bhs, at);
		this.#giveUp(reason);
	}

	#giveUp(reason: string): void {
		if (this.closed) return;
		this.#environment.log.warn({ remote: this.host.remote, initiator: this.session?.initiatorName, reason }, 'iSCSI protocol error');
		this.endSoon(reason);
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
}
