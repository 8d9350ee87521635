import type { Logger } from '../os/logger.ts';
import type { GrantLine } from '../os/grant-line.ts';
import type { Transmitter } from '../wire/transmitter.ts';
import type { Chunk } from './chunk.ts';
import type { Command } from './command.ts';
import { CommandFlow } from './command-flow.ts';
import { CommandIntake } from './command-intake.ts';
import { CommandTable } from './command-table.ts';
import { Framing, type PDUHandler } from './framing.ts';
import { acceptH2CData, capsuleEnded, h2cDataEnded, placeCapsule, placeH2CData } from './h2c-data.ts';
import { limits } from './limits.ts';
import { OpenR2Ts } from './open-r2ts.ts';
import { connectType, fabricsOpcode, ICReq, pduType, Sqe, TermReq } from './pdu.ts';
import { icResp, PDUWriter } from './pdu-writer.ts';
import type { Fabric, NextStep, QueueLink, QueueLogic, Request } from './request.ts';
import type { Statistics } from './statistics.ts';
import { c2hTermReq, fes } from './term-req.ts';
import { transportLimits } from './transport-limits.ts';
import type { TransportMemory } from './transport-memory.ts';
import { TransmitLine } from './transmit-line.ts';
import { Watch } from './watch.ts';

/** What all connections of a listener share. */
export interface ConnectionEnvironment {
	readonly fabric: Fabric;
	readonly memory: TransportMemory;
	readonly statistics: Statistics;
	readonly log: Logger;
}

/** What a connection asks of its socket. */
export interface ConnectionHost {
	readonly transmitter: Transmitter;
	readonly remote: string;
	readonly localAddress: string;
	readonly localPort: number;
	/** Goes on with receive(), not before this returns. */
	resume(): void;
	/** The same, once other connections have had their turn. */
	resumeLater(): void;
	/** Closes behind what was sent. */
	end(): void;
	/** Closes at once. */
	destroy(reason: string): void;
}

type Phase = 'initializing' | 'ready' | 'ending' | 'closed';

/** HPDA counts dwords, less one, in five bits. */
const hpdaMax = 31;

/**
 * One NVMe/TCP connection, which is one queue, without I/O: bytes and completions in, PDUs into the transmitter.
 *
 *   initializing ── ICReq ─→ ready ── end(), drain() ─→ ending ── all answers have room ─→ closed
 *        └── C2HTermReq, H2CTermReq, destroy(), socket closed: from anywhere ─────────────→ closed
 *
 * Everything is synchronous. Invariants: nothing is received while `stopped`; after `closed` nothing is sent; each command in `commands` has its own identifier; `outstanding` counts
 * the commands that have come and are not over, and `unanswered` is at most the queue's depth, which so bounds the work of a turn.
 */
export class Connection implements PDUHandler, QueueLink {
	readonly host: ConnectionHost;
	readonly writer: PDUWriter;
	readonly memory: TransportMemory;
	readonly statistics: Statistics;
	readonly flow = new CommandFlow(this);
	readonly intake = new CommandIntake(this);
	readonly commands = new CommandTable();
	readonly r2ts = new OpenR2Ts();
	readonly solicited: GrantLine<Command>;
	readonly reads: GrantLine<Command>;
	readonly capsules: GrantLine<CommandIntake>;
	readonly line: TransmitLine;
	/** From ICReq on. */
	logic: QueueLogic | undefined;
	headerDigest = false;
	dataDigest = false;
	/** As the host allows and we bound it. */
	r2tsPerCommand = 1;
	outstanding = 0;
	/** The same, and those whose answer leaves at the end of this turn: the host cannot have it yet, so all of these are in its queue. */
	unanswered = 0;
	dataBytesReceived = 0;
	/** Of them, in H2CData. */
	solicitedBytesReceived = 0;
	readonly #environment: ConnectionEnvironment;
	readonly #framing = new Framing(this);
	readonly #watch = new Watch(this);
	#phase: Phase = 'initializing';
	/** Submission queue entries taken. */
	#taken = 0;
	/** Whose data the current PDU carries. */
	#capsule: Command | undefined;
	#chunk: Chunk | undefined;
	#chunkBytes = 0;
	/** Of this turn. */
	#pdus = 0;
	#draining = false;
	#endReason = '';
	#endWanted = false;
	/** Above 0 in calls of the logic, whose answer goes before an end that it asks for, and while commands are being ended. */
	#busy = 0;

	constructor(environment: ConnectionEnvironment, host: ConnectionHost) {
		this.#environment = environment;
		this.host = host;
		this.memory = environment.memory;
		this.statistics = environment.statistics;
		this.solicited = this.memory.solicitedLine();
		this.reads = this.memory.readLine();
		this.capsules = this.memory.capsuleLine();
		this.writer = new PDUWriter(host.transmitter);
		this.line = new TransmitLine(this, host.transmitter);
	}

	get closed(): boolean {
		return this.#phase === 'closed';
	}

	/** Connect has succeeded. */
	get isConnected(): boolean {
		return this.logic !== undefined && this.logic.depth > 1;
	}

	get remote(): string {
		return this.host.remote;
	}

	get localAddress(): string {
		return this.host.localAddress;
	}

	get localPort(): number {
		return this.host.localPort;
	}

	/** A host waits for memory that may be what this one holds. */
	get isContended(): boolean {
		return this.solicited.isContended || this.reads.isContended || this.capsules.isContended;
	}

	get inCapsuleBytesMax(): number {
		return this.logic?.inCapsuleBytesMax ?? limits.adminInCapsuleBytes;
	}

	/** A capsule has begun whose data is not all here. */
	get awaitsCapsule(): boolean {
		return this.#capsule !== undefined;
	}

	/** Bytes start..end of a buffer that is valid during the call. Returns where it stopped: before `end` it wants no more until host.resume(). */
	receive(buffer: Buffer, start: number, end: number): number {
		this.unanswered = this.outstanding;
		this.#pdus = 0;
		const stopped = this.#framing.receive(buffer, start, end);
		if (this.#pdus >= transportLimits.pdusPerTurn) {
			this.#pdus = 0;
			this.host.resumeLater();
		}
		return stopped;
	}

	resume(): void {
		this.host.resume();
	}

	get stopped(): boolean {
		if (this.#pdus >= transportLimits.pdusPerTurn) return true;
		if (this.#phase !== 'ready' && this.#phase !== 'initializing') return true;
		if (this.intake.waits) return true;
		// What was begun, and what R2Ts have asked for, is still taken.
		if (this.#draining && this.r2ts.size === 0 && !this.#framing.inPDU) return true;
		return this.line.isLong;
	}

	expects(type: number): boolean {
		return type === pduType.h2cTermReq || (type === pduType.icReq) === (this.#phase === 'initializing');
	}

	header(buffer: Buffer, at: number, dataBytes: number): void {
		this.#pdus++;
		switch (buffer[at]) {
			case pduType.capsuleCmd:
				this.#capsule = this.intake.start(buffer, at, dataBytes);
				if (this.#endWanted) this.perhapsIdle();
				return;
			case pduType.h2cData:
				this.#chunk = acceptH2CData(this, buffer, at, dataBytes);
				this.#chunkBytes = dataBytes;
				return;
			case pduType.icReq:
				this.#initialize(buffer, at);
				return;
			default:
				this.#terminated(buffer, at);
		}
	}

	data(source: Buffer, start: number, end: number, offset: number, whole: boolean): void {
		if (this.#chunk !== undefined) {
			this.dataBytesReceived += end - start;
			this.solicitedBytesReceived += end - start;
			placeH2CData(this.#chunk, source, start, end, offset, whole);
		} else if (this.#capsule !== undefined) {
			this.dataBytesReceived += end - start;
			placeCapsule(this.#capsule, source, start, end, offset, whole);
		}
	}

	ended(digestGood: boolean): void {
		const chunk = this.#chunk;
		const capsule = this.#capsule;
		this.#chunk = undefined;
		this.#capsule = undefined;
		if (!digestGood) this.statistics.dataDigestErrors++;
		if (this.#phase !== 'ready') return;
		if (chunk !== undefined) h2cDataEnded(chunk, this.#chunkBytes, digestGood);
		else if (capsule !== undefined) capsuleEnded(capsule, digestGood);
		if (this.#endWanted) this.perhapsIdle();
	}

	/** Ends the connection with a C2HTermReq. */
	violated(status: number, fei: number, buffer: Buffer, at: number, quotedBytes: number): void {
		if (this.#phase === 'closed') return;
		if (status === fes.headerDigestError) this.statistics.headerDigestErrors++;
		else this.statistics.protocolErrors++;
		this.#environment.log.warn({ remote: this.remote, fes: status, fei }, 'NVMe/TCP protocol error');
		this.writer.send(c2hTermReq(status, fei, buffer, at, quotedBytes));
		this.#leave('terminated for a protocol error');
		this.host.end();
	}

	lost(reason: string): void {
		this.statistics.protocolErrors++;
		this.destroy(reason);
	}

	/** From the transmitter. */
	roomAgain(): void {
		this.line.goOn();
		this.perhapsIdle();
		this.host.resume();
	}

	/** Once a second. */
	tick(): void {
		this.#watch.tick();
	}

	/** A command has come. False: its command identifier is in use. */
	came(command: Command): boolean {
		this.statistics.commands++;
		this.#taken++;
		this.outstanding++;
		this.unanswered++;
		return this.commands.add(command);
	}

	/** A command is over. */
	gone(command: Command): void {
		this.outstanding--;
		if (command.registered) this.commands.delete(command);
	}

	/** What is still to come of a command's data goes nowhere, and it stands in no line to be sent or received. */
	forget(command: Command): void {
		if (this.#capsule === command) this.#capsule = undefined;
		this.intake.forget(command);
		this.line.forget(command);
	}

	/** Shows a command to the logic, or with its data. */
	logicDoes(command: Command, parameters: Buffer | undefined): NextStep {
		this.#busy++;
		const step = parameters === undefined ? this.logic!.start(command.request) : this.logic!.parameters(command.request, parameters);
		this.#busy--;
		// It may have been Connect.
		if (parameters !== undefined && this.logic!.hostNQN !== undefined) this.#joinHost(this.logic!.hostNQN);
		return step;
	}

	/** Submission Queue Head Pointer of a completion: without flow control reserved, and in the answer to Connect the sign that there is none. */
	sqhd(request: Request): number {
		const { flowControlDisabled, depth } = this.logic!;
		if (!flowControlDisabled) return this.#taken % depth;
		const { sqe } = request;
		return Sqe.opcode.get(sqe, 0) === fabricsOpcode && Sqe.fctype.get(sqe, 0) === connectType ? 0xffff : 0;
	}

	/** QueueLink. */
	end(reason: string): void {
		if (this.#phase === 'closed' || this.#phase === 'ending') return;
		this.#endReason = reason;
		this.#endWanted = true;
		this.perhapsIdle();
	}

	/** QueueLink. */
	destroy(reason: string): void {
		if (this.#phase === 'closed') return;
		this.#leave(reason);
		this.host.destroy(reason);
	}

	/** QueueLink. */
	abort(select: (request: Request) => boolean, ended: (aborted: boolean) => void): number {
		const named = this.commands.all().filter((command) => select(command.request));
		for (const command of named) (command.abortListeners ??= []).push(ended);
		// A listener of one may have ended another.
		for (const command of named) if (command.connection === this) this.flow.abort(command, 'answered');
		return named.length;
	}

	/** Takes no more commands, and ends when those that it has are over. */
	drain(): void {
		this.#draining = true;
		this.perhapsIdle();
	}

	/** The socket is gone. */
	socketClosed(reason: string): void {
		this.#leave(reason);
	}

	/** Something is over that an end may have waited for. */
	perhapsIdle(): void {
		if (this.#busy > 0 || this.#phase === 'closed') return;
		if (this.#endWanted && this.#phase !== 'ending') this.#endSoon();
		else if (this.#phase === 'ending') this.#endWhenSaid();
		else if (this.#draining && !this.commands.all().some(({ request }) => !request.awaitsEvent)) this.end('the target stops');
	}

	/** What has an answer gets it, everything else ends here. */
	#endSoon(): void {
		this.#phase = 'ending';
		this.#busy++;
		for (const command of this.commands.all()) if (command.connection === this && !command.answerable) this.flow.abort(command, 'silent');
		this.#busy--;
		this.#endWhenSaid();
	}

	#endWhenSaid(): void {
		if (this.#phase !== 'ending' || this.line.size > 0) return;
		this.#leave(this.#endReason);
		this.host.end();
	}

	#leave(reason: string): void {
		if (this.#phase === 'closed') return;
		this.#phase = 'closed';
		this.#environment.log.debug({ remote: this.remote, reason }, 'NVMe/TCP connection closed');
		this.logic?.closed();
		// In the line may be a second one of the same command identifier, which is in no table.
		for (const command of [...this.commands.all(), ...this.line.all()]) {
			if (command.connection !== this) continue;
			// Its event has no one to tell any more. Of others the device may have the data, so the logic finishes them.
			if (command.step === 'pending' && command.request.awaitsEvent) command.atDevice--;
			this.flow.abort(command, 'silent');
		}
		this.r2ts.forEach((chunk) => this.r2ts.delete(chunk));
		this.solicited.leave();
		this.reads.leave();
		this.capsules.leave();
	}

	/** Memory is shared by hosts. */
	#joinHost(nqn: string): void {
		this.solicited.join(nqn);
		this.reads.join(nqn);
		this.capsules.join(nqn);
	}

	#initialize(buffer: Buffer, at: number): void {
		const pfv = ICReq.pfv.get(buffer, at);
		const hpda = ICReq.hpda.get(buffer, at);
		if (pfv !== 0) {
			this.violated(fes.unsupportedParameter, ICReq.pfv.offset, buffer, at, ICReq.sizeBytes);
			return;
		}
		if (hpda > hpdaMax) {
			this.violated(fes.invalidPDUHeaderField, ICReq.hpda.offset, buffer, at, ICReq.sizeBytes);
			return;
		}
		this.headerDigest = ICReq.headerDigest.get(buffer, at) === 1;
		this.dataDigest = ICReq.dataDigest.get(buffer, at) === 1;
		this.r2tsPerCommand = Math.min(ICReq.maxR2T.get(buffer, at) + 1, transportLimits.r2tsPerCommand);
		this.writer.send(icResp(this.headerDigest, this.dataDigest));
		this.writer.agree(this.headerDigest, this.dataDigest, hpda);
		this.#phase = 'ready';
		this.logic = this.#environment.fabric.open(this);
	}

	#terminated(buffer: Buffer, at: number): void {
		const [status, fei] = [TermReq.fes.get(buffer, at), TermReq.fei.get(buffer, at)];
		this.statistics.terminatedByHost++;
		this.#environment.log.warn({ remote: this.remote, fes: status, fei }, 'NVMe/TCP connection terminated by the host');
		this.destroy('terminated by the host');
	}
}
