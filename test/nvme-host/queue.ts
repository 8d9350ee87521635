import { connect as connectSocket, type Socket } from 'node:net';
import { Outbox } from '../initiator/outbox.ts';
import { Command, connectionLost, type CommandOwner } from './command.ts';
import { HostError, ProtocolViolation } from './host-error.ts';
import { PDUReader, type PDUSink } from './pdu-reader.ts';
import { PDUWriter } from './pdu-writer.ts';
import {
	fes,
	icBytes,
	pduFlag,
	pduType,
	psdtSGL,
	putCommonHeader,
	putU16,
	putU32,
	sglInCapsule,
	sglTransport,
	shortHeaderBytes,
	u16,
	u32,
} from './wire.ts';

export interface QueueOptions {
	host?: string;
	port: number;
	headerDigest?: boolean;
	dataDigest?: boolean;
	/** Alignment that we want of the controller's data, 0's based dwords, 0 to 31. */
	hpda?: number;
	/** R2Ts outstanding for one command that we allow, counted from 1. */
	maxR2Ts?: number;
	/** Commands that may be taken at once, at most 1,023: command identifier FFFFh is nobody's. */
	commandsMax?: number;
}

/** What became of a command, for tests: nothing here throws because of a status. */
export interface Result {
	/** Status Code Type × 100h + Status Code; connectionLost when the connection ended first. */
	status: number;
	dnr: boolean;
	result0: number;
	result1: number;
	/** As many bytes as were received. */
	data: Buffer;
	bySuccessFlag: boolean;
	r2ts: number;
}

export interface Transfer {
	dataOut?: Buffer;
	dataInBytes?: number;
	/** Send by R2T what would fit into the capsule. */
	solicited?: boolean;
	/** The builder fills in PSDT and SGL 1 itself. */
	ownSGL?: boolean;
}

export interface TermReq {
	fes: number;
	fei: number;
	/** As much as the controller gave back of the PDU in error. */
	data: Buffer;
}

export interface R2T {
	command: Command;
	ttag: number;
	offsetBytes: number;
	lengthBytes: number;
}

const indexBits = 10;
const cidMask = 0xffff;
const receiveBytes = 512 * 1024;
/** In-capsule data of the admin queue, and of I/O queues until Identify Controller says more (NVMe/TCP Transport, In-capsule Data). */
const adminCapsuleBytes = 8192;

/**
 * One queue, which is one connection, made to cost little: one receive buffer, one write a turn, no allocation and no promise for a command.
 *
 *     connect → ICReq → ICResp → in use (first Connect, which is a command like another) → ended
 *
 * A controller that breaks the transport's rules is sent an H2CTermReq, and the queue ends. How many commands are outstanding is bounded by commandsMax alone.
 */
export class Queue implements PDUSink {
	readonly options: QueueOptions;
	/** From the ICResp. */
	readonly icResp = { pfv: 0, cpda: 0, headerDigest: false, dataDigest: false, maxH2CData: 0 };
	/** Writes up to this length take their data along. */
	inCapsuleBytesMax = adminCapsuleBytes;
	/** SQHD in completions means something, and SUCCESS flags are against the rules. Until Connect has been answered it does. */
	flowControl = true;
	/** performance.now() of the latest receive turn or flush; a cheap clock for latencies. */
	nowMs = performance.now();
	/** Called once when the connection is over, after every outstanding command was finished as lost. */
	onEnd: ((reason: HostError) => void) | undefined = undefined;
	/** Told of each R2T before it is answered; who returns true answers it by sendData(), or not at all. */
	onR2T: ((r2t: R2T) => boolean) | undefined = undefined;
	/** What the controller said before it ended the connection. */
	termReq: TermReq | undefined = undefined;
	outstanding = 0;
	dataDigestErrors = 0;
	/** Of the latest completion. */
	sqhd = 0;

	readonly #socket: Socket;
	readonly #outbox: Outbox;
	readonly #writer: PDUWriter;
	readonly #reader = new PDUReader(this);
	readonly #commands: Command[] = [];
	readonly #free: Command[] = [];
	#initialised: { resolve(): void; reject(error: Error): void } | undefined = undefined;
	#inTurn = false;
	#flushScheduled = false;
	#ended: HostError | undefined = undefined;

	/** Resolves when the connection is initialised. Rejects with HostError. */
	static async open(options: QueueOptions): Promise<Queue> {
		const queue = new Queue(options);
		await new Promise<void>((resolve, reject) => {
			queue.#initialised = { resolve, reject };
			queue.#sendICReq();
		});
		return queue;
	}

	private constructor(options: QueueOptions) {
		this.options = options;
		const commandsMax = options.commandsMax ?? 128;
		if (commandsMax >= 1 << indexBits) throw new HostError(`${commandsMax} commands of a queue`);
		for (let index = 0; index < commandsMax; index++) this.#commands.push(new Command(this, index));
		this.#free.push(...this.#commands.toReversed());
		const receiveBuffer = Buffer.allocUnsafeSlow(receiveBytes);
		this.#socket = connectSocket({
			host: options.host ?? '127.0.0.1',
			port: options.port,
			noDelay: true,
			onread: {
				buffer: receiveBuffer,
				callback: (received) => {
					this.#receive(receiveBuffer, received);
					return true;
				},
			},
		});
		this.#outbox = new Outbox(this.#socket);
		this.#writer = new PDUWriter(this.#outbox);
		this.#reader.hpda = options.hpda ?? 0;
		this.#socket.on('error', (error) => this.#end(new HostError(`connection: ${error.message}`)));
		this.#socket.on('end', () => this.#end(new HostError('the controller closed the connection')));
		this.#socket.on('close', () => this.#end(new HostError('the connection was closed')));
	}

	get ended(): HostError | undefined {
		return this.#ended;
	}

	/** A command to fill in and submit; undefined when all are in use. */
	take(): Command | undefined {
		const command = this.#free.pop();
		command?.reset();
		return command;
	}

	/** Gives back a command that was taken and not submitted. */
	release(command: Command): void {
		this.#free.push(command);
	}

	/** Commands submitted in one go leave in that order with nothing between them, as fused ones have to. */
	submit(command: Command): void {
		command.active = true;
		command.status = 0;
		command.dnr = false;
		command.result0 = 0;
		command.result1 = 0;
		command.receivedBytes = 0;
		command.solicitedBytes = 0;
		command.r2ts = 0;
		command.lastSeen = false;
		command.bySuccessFlag = false;
		command.submittedMs = this.nowMs;
		this.outstanding++;
		if (this.#ended !== undefined) {
			queueMicrotask(() => this.#finish(command, connectionLost));
			return;
		}
		this.#sendCommand(command);
		if (!this.#inTurn) this.#scheduleFlush();
	}

	/** One command with a promise: for tests. `onSubmit` is handed the command when its identifier is settled. */
	async execute(fill: (sqe: Buffer) => void, transfer: Transfer = {}, onSubmit?: (command: Command) => void): Promise<Result> {
		const command = this.take();
		if (command === undefined) throw new HostError('every command of the queue is in use');
		fill(command.sqe);
		if (transfer.dataOut !== undefined) {
			command.dataOut = transfer.dataOut;
			command.dataOutBytes = transfer.dataOut.length;
		}
		if (transfer.dataInBytes !== undefined) {
			command.dataIn = Buffer.alloc(transfer.dataInBytes);
			command.dataInBytes = transfer.dataInBytes;
		}
		command.solicited = transfer.solicited ?? false;
		command.ownSGL = transfer.ownSGL ?? false;
		return await new Promise((resolve) => {
			command.owner = new Waiter(resolve);
			this.submit(command);
			onSubmit?.(command);
		});
	}

	/** The same, for commands that a test takes for granted: throws unless the status is 0. */
	async expectGood(fill: (sqe: Buffer) => void, transfer: Transfer = {}): Promise<Result> {
		const result = await this.execute(fill, transfer);
		if (result.status === 0) return result;
		if (result.status === connectionLost) throw this.#ended!;
		throw new HostError(`NVMe status ${result.status.toString(16).padStart(3, '0')}h${result.dnr ? ' (DNR)' : ''}`);
	}

	/** Answers an R2T that onR2T held back. */
	sendData({ command, ttag, offsetBytes, lengthBytes }: R2T): void {
		this.#writer.h2cData(command.cid, ttag, command.dataOut!, command.dataOutStart, offsetBytes, lengthBytes);
		if (!this.#inTurn) this.#scheduleFlush();
	}

	/** Cuts the connection without a word. */
	destroy(): void {
		this.#socket.destroy();
		this.#end(new HostError('closed by this side'));
	}

	/** Resolves when the connection is over, whoever ended it. */
	async over(): Promise<HostError> {
		if (this.#ended !== undefined) return this.#ended;
		return await new Promise((resolve) => {
			const before = this.onEnd;
			this.onEnd = (reason) => {
				before?.(reason);
				resolve(reason);
			};
		});
	}

	#scheduleFlush(): void {
		if (this.#flushScheduled) return;
		this.#flushScheduled = true;
		queueMicrotask(() => {
			this.#flushScheduled = false;
			this.nowMs = performance.now();
			if (this.#ended === undefined) this.#outbox.flush();
		});
	}

	#receive(buffer: Buffer, received: number): void {
		if (this.#ended !== undefined) return;
		this.nowMs = performance.now();
		this.#inTurn = true;
		try {
			this.#reader.push(buffer, received);
		} catch (error) {
			if (!(error instanceof HostError)) throw error;
			if (error instanceof ProtocolViolation) this.#writer.termReq(error.fes, error.fei, this.#reader.header);
			this.#outbox.flush();
			this.#end(error);
			return;
		} finally {
			this.#inTurn = false;
		}
		if (this.#ended === undefined) this.#outbox.flush();
	}

	// Receiving: PDUSink.

	dataTarget(header: Buffer, at: number): void {
		const command = this.#commandOf(u16(header, at + 8), 8);
		const offset = u32(header, at + 12);
		const lengthBytes = u32(header, at + 16);
		const carried = u32(header, at + 4) - header[at + 3]! - ((header[at + 1]! & pduFlag.ddgstf) !== 0 ? 4 : 0);
		if (carried !== lengthBytes) throw new ProtocolViolation(`DATAL ${lengthBytes} of ${carried} bytes`, fes.invalidPDUHeaderField, 16);
		if (offset + lengthBytes > command.dataInBytes)
			throw new ProtocolViolation(
				`C2HData of ${lengthBytes} bytes at ${offset} exceeds the expected ${command.dataInBytes}`,
				fes.dataTransferOutOfRange,
			);
		if (offset !== command.receivedBytes || command.lastSeen)
			throw new ProtocolViolation(`C2HData at ${offset}, expected ${command.receivedBytes}`, fes.pduSequenceError);
		command.receivedBytes += lengthBytes;
		this.#reader.direct(command.dataIn, offset);
	}

	pdu(header: Buffer, at: number, intact: boolean): void {
		const type = header[at]!;
		if (type === pduType.icResp || this.#initialised !== undefined) this.#icResp(header, at, type);
		else if (type === pduType.c2hData) this.#c2hData(header, at, intact);
		else if (type === pduType.capsuleResp) this.#capsuleResp(header, at);
		else if (type === pduType.r2t) this.#r2t(header, at);
		else this.#termReq(header, at);
	}

	#icResp(header: Buffer, at: number, type: number): void {
		if (type === pduType.c2hTermReq) this.#termReq(header, at);
		const waiter = this.#initialised;
		if (type !== pduType.icResp || waiter === undefined)
			throw new ProtocolViolation(`a PDU of type ${type} out of order`, fes.pduSequenceError);
		const answer = this.icResp;
		answer.pfv = u16(header, at + 8);
		answer.cpda = header[at + 10]!;
		answer.headerDigest = (header[at + 11]! & 1) !== 0;
		answer.dataDigest = (header[at + 11]! & 2) !== 0;
		answer.maxH2CData = u32(header, at + 12);
		if (answer.pfv !== 0) throw new ProtocolViolation(`PFV ${answer.pfv}`, fes.unsupportedParameter, 8);
		if (answer.cpda > 31) throw new ProtocolViolation(`CPDA ${answer.cpda}`, fes.invalidPDUHeaderField, 10);
		if (answer.headerDigest !== (this.options.headerDigest ?? false) || answer.dataDigest !== (this.options.dataDigest ?? false))
			throw new ProtocolViolation('digests that were not asked for, or not those that were', fes.unsupportedParameter, 11);
		if (answer.maxH2CData < 4096 || answer.maxH2CData % 4 !== 0)
			throw new ProtocolViolation(`MAXH2CDATA ${answer.maxH2CData}`, fes.invalidPDUHeaderField, 12);
		this.#writer.headerDigest = this.#reader.headerDigest = answer.headerDigest;
		this.#writer.dataDigest = this.#reader.dataDigest = answer.dataDigest;
		this.#writer.cpda = answer.cpda;
		this.#writer.maxH2CData = answer.maxH2CData;
		this.#initialised = undefined;
		waiter.resolve();
	}

	#c2hData(header: Buffer, at: number, intact: boolean): void {
		const command = this.#commandOf(u16(header, at + 8), 8);
		if (!intact) this.dataDigestErrors++;
		const flags = header[at + 1]!;
		if ((flags & pduFlag.lastPDU) !== 0) command.lastSeen = true;
		if ((flags & pduFlag.success) === 0) return;
		if (!command.lastSeen || this.flowControl)
			throw new ProtocolViolation('a SUCCESS flag where none may be', fes.invalidPDUHeaderField, 1);
		command.bySuccessFlag = true;
		this.#finish(command, 0);
	}

	#capsuleResp(header: Buffer, at: number): void {
		const command = this.#commandOf(u16(header, at + 20), 20);
		const field = u16(header, at + 22);
		command.result0 = u32(header, at + 8);
		command.result1 = u32(header, at + 12);
		this.sqhd = u16(header, at + 16);
		command.dnr = (field & 0x8000) !== 0;
		const code = (field >>> 1) & 0x7ff;
		if (code === 0 && command.receivedBytes > 0 && !command.lastSeen)
			throw new ProtocolViolation('a completion before the last data', fes.pduSequenceError);
		this.#finish(command, code);
	}

	#r2t(header: Buffer, at: number): void {
		const command = this.#commandOf(u16(header, at + 8), 8);
		command.r2ts++;
		const ttag = u16(header, at + 10);
		const offsetBytes = u32(header, at + 12);
		const lengthBytes = u32(header, at + 16);
		if (lengthBytes === 0 || offsetBytes + lengthBytes > command.dataOutBytes)
			throw new ProtocolViolation(`R2T for ${lengthBytes} bytes at ${offsetBytes} of ${command.dataOutBytes}`, fes.dataTransferOutOfRange);
		if (offsetBytes !== command.solicitedBytes)
			throw new ProtocolViolation(`R2T at ${offsetBytes}, expected ${command.solicitedBytes}`, fes.pduSequenceError);
		command.solicitedBytes += lengthBytes;
		if (this.onR2T !== undefined && this.onR2T({ command, ttag, offsetBytes, lengthBytes })) return;
		this.#writer.h2cData(command.cid, ttag, command.dataOut!, command.dataOutStart, offsetBytes, lengthBytes);
	}

	#termReq(header: Buffer, at: number): never {
		const plen = u32(header, at + 4);
		this.termReq = {
			fes: u16(header, at + 8),
			fei: u32(header, at + 10),
			data: Buffer.from(header.subarray(at + shortHeaderBytes, at + plen)),
		};
		throw new HostError(`the controller terminated the connection, FES ${this.termReq.fes}, FEI ${this.termReq.fei}`);
	}

	/** `field`: where the header has it. */
	#commandOf(cid: number, field: number): Command {
		const command = this.#commands[cid & ((1 << indexBits) - 1)];
		if (command === undefined || command.cid !== cid || !command.active)
			throw new ProtocolViolation(`an answer for the unknown command identifier ${cid}`, fes.invalidPDUHeaderField, field);
		return command;
	}

	#finish(command: Command, status: number): void {
		command.status = status;
		command.active = false;
		command.cid = (command.cid + (1 << indexBits)) & cidMask;
		this.outstanding--;
		command.owner?.finished(command);
		if (!command.active) this.#free.push(command);
	}

	// Sending.

	#sendICReq(): void {
		const { hpda = 0, headerDigest = false, dataDigest = false, maxR2Ts = 1 } = this.options;
		const at = this.#outbox.reserve(icBytes);
		const slab = this.#outbox.slab;
		slab.fill(0, at, at + icBytes);
		putCommonHeader(slab, at, pduType.icReq, 0, icBytes, 0, icBytes);
		slab[at + 10] = hpda;
		slab[at + 11] = (headerDigest ? 1 : 0) | (dataDigest ? 2 : 0);
		putU32(slab, at + 12, maxR2Ts - 1);
		this.#scheduleFlush();
	}

	#sendCommand(command: Command): void {
		const sqe = command.sqe;
		putU16(sqe, 2, command.cid);
		const outBytes = command.dataOutBytes;
		const inCapsule = outBytes > 0 && outBytes <= this.inCapsuleBytesMax && !command.solicited;
		if (!command.ownSGL) {
			sqe[1] = (sqe[1]! & 0x3f) | psdtSGL;
			putU32(sqe, 24, 0);
			putU32(sqe, 28, 0);
			putU32(sqe, 32, outBytes > 0 ? outBytes : command.dataInBytes);
			putU32(sqe, 36, 0);
			sqe[39] = inCapsule ? sglInCapsule : sglTransport;
		}
		if (inCapsule) this.#writer.capsule(sqe, command.dataOut, command.dataOutStart, outBytes);
		else this.#writer.capsule(sqe, undefined, 0, 0);
	}

	#end(reason: HostError): void {
		if (this.#ended !== undefined) return;
		this.#ended = reason;
		// What was written already, an H2CTermReq perhaps, still goes out.
		this.#socket.destroySoon();
		this.#initialised?.reject(reason);
		for (const command of this.#commands) if (command.active) this.#finish(command, connectionLost);
		this.onEnd?.(reason);
	}
}

class Waiter implements CommandOwner {
	readonly #resolve: (result: Result) => void;

	constructor(resolve: (result: Result) => void) {
		this.#resolve = resolve;
	}

	finished(command: Command): void {
		const { status, dnr, result0, result1, bySuccessFlag, r2ts } = command;
		const data = command.dataIn?.subarray(0, command.receivedBytes) ?? Buffer.alloc(0);
		this.#resolve({ status, dnr, result0, result1, data, bySuccessFlag, r2ts });
	}
}
