import { connect, type Socket } from 'node:net';
import { authenticate, type ChapOptions } from './chap.ts';
import { Command, connectionLost, noSense, scsiStatus } from './command.ts';
import { decodeKeys, encodeKeys, negotiated, offeredKeys, type LoginOptions, type Negotiated } from './login.ts';
import { Outbox, referenceFromBytes } from './outbox.ts';
import { PDUReader, type PDUSink } from './pdu-reader.ts';
import {
	basicHeaderBytes,
	finalFlag,
	immediateDelivery,
	noTag,
	opcode,
	padded,
	putLUN,
	putU24,
	putU32,
	serialDistance,
	u32,
} from './wire.ts';

export interface SessionOptions extends LoginOptions {
	host?: string;
	port: number;
	/** Undefined: a discovery session. */
	targetName: string | undefined;
	/** Goes through the security stage first. */
	chap?: ChapOptions;
	/** Commands that may be taken at once, at most 65,535. */
	commandsMax?: number;
}

/** A PDU that answers one of ours and that is not part of a SCSI command. */
export interface ControlPDU {
	header: Buffer;
	data: Buffer;
}

/** The target broke the protocol, refused the login, rejected a PDU, or the connection failed. */
export class InitiatorError extends Error {}

const receiveBytes = 512 * 1024;
let nextISID = (Date.now() & 0xffffff) ^ (process.pid << 8);

/**
 * One iSCSI session of one connection (RFC 7143, error recovery level 0), made to cost little: one receive buffer, one write a turn, no allocation
 * and no promise for a command.
 *
 *     connect → login → full feature → ended
 *
 * Commands beyond MaxCmdSN wait inside and go out in order as the window opens.
 */
export class Session implements PDUSink {
	readonly options: SessionOptions;
	negotiated!: Negotiated;
	/** performance.now() of the latest receive turn or flush; a cheap clock for latencies. */
	nowMs = performance.now();
	/** Called once when the connection is over, after every outstanding command was finished as lost. */
	onEnd: ((reason: InitiatorError) => void) | undefined = undefined;
	/** Asynchronous messages (RFC 7143 §11.9): the event code. */
	onAsyncMessage: ((event: number) => void) | undefined = undefined;
	outstanding = 0;
	r2tsReceived = 0;

	readonly #socket: Socket;
	readonly #outbox: Outbox;
	readonly #reader = new PDUReader(this);
	readonly #commands: Command[] = [];
	readonly #free: Command[] = [];
	readonly #waiting: Command[] = [];
	#waitingFrom = 0;
	readonly #control = new Map<number, { resolve(pdu: ControlPDU): void; reject(error: Error): void }>();
	#nextControlTag = 0x7000_ffff;
	#cmdSN = 1;
	#maxCmdSN = 0;
	#expStatSN = 0;
	#inTurn = false;
	#flushScheduled = false;
	#ended: InitiatorError | undefined = undefined;

	/** Resolves when the session is in the full feature phase. Rejects with InitiatorError. */
	static async open(options: SessionOptions): Promise<Session> {
		const session = new Session(options);
		await session.#login();
		return session;
	}

	private constructor(options: SessionOptions) {
		this.options = options;
		for (let index = 0; index < (options.commandsMax ?? 256); index++) this.#commands.push(new Command(index));
		this.#free.push(...this.#commands.toReversed());
		const receiveBuffer = Buffer.allocUnsafeSlow(receiveBytes);
		this.#socket = connect({
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
		this.#socket.on('error', (error) => this.#end(new InitiatorError(`connection: ${error.message}`)));
		this.#socket.on('close', () => this.#end(new InitiatorError('the connection was closed')));
		this.#socket.on('end', () => this.#end(new InitiatorError('the target closed the connection')));
	}

	get ended(): InitiatorError | undefined {
		return this.#ended;
	}

	/** How many more commands the target admits now. */
	get window(): number {
		return serialDistance(this.#maxCmdSN, this.#cmdSN) + 1;
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

	submit(command: Command): void {
		command.active = true;
		command.status = 0;
		command.residual = 0;
		command.response = 0;
		command.receivedBytes = 0;
		command.sense = noSense;
		command.submittedMs = this.nowMs;
		this.outstanding++;
		if (this.#ended !== undefined) {
			queueMicrotask(() => this.#finish(command, connectionLost));
			return;
		}
		if (serialDistance(this.#maxCmdSN, this.#cmdSN) < 0 || this.#waitingFrom < this.#waiting.length) this.#waiting.push(command);
		else this.#sendCommand(command);
		if (!this.#inTurn) this.#scheduleFlush();
	}

	/**
	 * Sends a PDU that is no SCSI command and waits for its answer. `header` is complete but for the sequence numbers, the tag and DataSegmentLength.
	 * Immediate PDUs (bit 40h of byte 0) do not use up a CmdSN.
	 */
	async exchange(header: Buffer, data: Buffer = noSense, tag = (this.#nextControlTag += 0x10000)): Promise<ControlPDU> {
		if (this.#ended !== undefined) throw this.#ended;
		putU32(header, 16, tag);
		return await new Promise((resolve, reject) => {
			this.#control.set(tag, { resolve, reject });
			this.#sendControl(header, data);
			this.#scheduleFlush();
		});
	}

	/** Task management (RFC 7143 §11.5): resolves to the response code. */
	async manageTask(taskFunction: number, lun: number, referenced?: Command): Promise<number> {
		const header = Buffer.alloc(basicHeaderBytes);
		header[0] = opcode.taskManagement | immediateDelivery;
		header[1] = finalFlag | taskFunction;
		putLUN(header, 8, lun);
		putU32(header, 20, referenced === undefined ? noTag : referenced.tag);
		const answer = await this.exchange(header);
		return answer.header[2]!;
	}

	/** A ping; resolves to the echoed data. */
	async ping(data: Buffer = noSense): Promise<Buffer> {
		const header = Buffer.alloc(basicHeaderBytes);
		header[0] = opcode.nopOut | immediateDelivery;
		header[1] = finalFlag;
		putU32(header, 20, noTag);
		return (await this.exchange(header, data)).data;
	}

	/** SendTargets (RFC 7143 appendix C), keys in the order of the answer. */
	async sendTargets(which = 'All'): Promise<[string, string][]> {
		const header = Buffer.alloc(basicHeaderBytes);
		header[0] = opcode.text | immediateDelivery;
		header[1] = finalFlag;
		putU32(header, 20, noTag);
		const answer = await this.exchange(header, encodeKeys({ SendTargets: which }));
		return decodeKeys(answer.data);
	}

	/** Logout (close the session), then closes the connection. */
	async logout(): Promise<void> {
		const header = Buffer.alloc(basicHeaderBytes);
		header[0] = opcode.logout | immediateDelivery;
		header[1] = finalFlag;
		const answer = await this.exchange(header);
		if (answer.header[2] !== 0) throw new InitiatorError(`logout refused with response ${answer.header[2]}`);
		this.destroy();
	}

	/** Cuts the connection without a word. */
	destroy(): void {
		this.#socket.destroy();
		this.#end(new InitiatorError('closed by this side'));
	}

	/** Sends what was submitted in this turn. Needed only by who wants it to leave before the turn ends. */
	flush(): void {
		this.#outbox.flush();
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
			if (!(error instanceof InitiatorError)) throw error;
			this.#end(error);
			return;
		} finally {
			this.#inTurn = false;
		}
		if (this.#ended === undefined) this.#outbox.flush();
	}

	// Receiving: PDUSink.

	dataTarget(header: Buffer, at: number, lengthBytes: number): void {
		const reader = this.#reader;
		if ((header[at]! & 0x3f) !== opcode.dataIn) {
			reader.collect(lengthBytes);
			return;
		}
		const command = this.#commandOf(u32(header, at + 16));
		const offset = u32(header, at + 40);
		if (offset + lengthBytes > command.dataInBytes) {
			throw new InitiatorError(`Data-In of ${lengthBytes} bytes at ${offset} exceeds the expected ${command.dataInBytes}`);
		}
		if (offset !== command.receivedBytes) throw new InitiatorError(`Data-In at ${offset}, expected ${command.receivedBytes}`);
		command.receivedBytes += lengthBytes;
		reader.direct(command.dataIn, offset);
	}

	pdu(header: Buffer, at: number, data: Buffer): void {
		const code = header[at]! & 0x3f;
		// A Data-In PDU carries StatSN only with the S bit (RFC 7143 §11.7.4).
		if (code === opcode.dataIn) {
			this.#window(header, at);
			if ((header[at + 1]! & 0x01) !== 0) {
				this.#statSN(header, at);
				const command = this.#commandOf(u32(header, at + 16));
				command.residual = residual(header, at);
				this.#finish(command, header[at + 3]!);
			}
		} else if (code === opcode.scsiResponse) {
			this.#statSN(header, at);
			this.#window(header, at);
			this.#scsiResponse(header, at, data);
		} else if (code === opcode.r2t) {
			this.#window(header, at);
			this.#r2t(header, at);
		} else {
			this.#controlPDU(code, header, at, data);
		}
	}

	#scsiResponse(header: Buffer, at: number, data: Buffer): void {
		const command = this.#commandOf(u32(header, at + 16));
		command.response = header[at + 2]!;
		command.residual = residual(header, at);
		if (data.length >= 2) command.sense = Buffer.from(data.subarray(2, 2 + data.readUInt16BE(0)));
		this.#finish(command, command.response === 0 ? header[at + 3]! : scsiStatus.taskAborted);
	}

	#r2t(header: Buffer, at: number): void {
		this.r2tsReceived++;
		const command = this.#commandOf(u32(header, at + 16));
		const offset = u32(header, at + 40);
		const lengthBytes = u32(header, at + 44);
		if (lengthBytes === 0 || lengthBytes > this.negotiated.maxBurstLength) throw new InitiatorError(`R2T for ${lengthBytes} bytes`);
		if (offset + lengthBytes > command.dataOutBytes)
			throw new InitiatorError(`R2T for ${lengthBytes} bytes at ${offset} is beyond the data`);
		this.#sendDataOut(command, u32(header, at + 20), offset, lengthBytes);
	}

	#controlPDU(code: number, header: Buffer, at: number, data: Buffer): void {
		const tag = u32(header, at + 16);
		if (code === opcode.reject) throw new InitiatorError(`the target rejected a PDU, reason ${header[at + 2]}h of opcode ${data[0]}`);
		if (code === opcode.loginResponse) {
			if ((header[at + 36] ?? 0) === 0) this.#expStatSN = (u32(header, at + 24) + 1) >>> 0;
		} else if (code !== opcode.nopIn || tag !== noTag) {
			this.#statSN(header, at);
		}
		this.#window(header, at);
		if (code === opcode.asyncMessage) {
			this.onAsyncMessage?.(header[at + 36]!);
			return;
		}
		if (code === opcode.nopIn && tag === noTag) {
			if (u32(header, at + 20) !== noTag) this.#pong(header, at);
			return;
		}
		const waiter = this.#control.get(tag);
		if (waiter === undefined) throw new InitiatorError(`opcode ${code} for the unknown tag ${tag}`);
		this.#control.delete(tag);
		waiter.resolve({ header: Buffer.from(header.subarray(at, at + basicHeaderBytes)), data: Buffer.from(data) });
	}

	#statSN(header: Buffer, at: number): void {
		const statSN = u32(header, at + 24);
		if (statSN !== this.#expStatSN) throw new InitiatorError(`StatSN ${statSN}, expected ${this.#expStatSN}`);
		this.#expStatSN = (statSN + 1) >>> 0;
	}

	#window(header: Buffer, at: number): void {
		const maxCmdSN = u32(header, at + 32);
		const expCmdSN = u32(header, at + 28);
		// RFC 7143 §4.2.2.1: a pair that contradicts itself is ignored, and the window never shrinks.
		if (serialDistance(maxCmdSN, expCmdSN) < -1 || serialDistance(maxCmdSN, this.#maxCmdSN) <= 0) return;
		this.#maxCmdSN = maxCmdSN;
		if (this.#waitingFrom < this.#waiting.length) this.#sendWaiting();
	}

	#sendWaiting(): void {
		while (this.#waitingFrom < this.#waiting.length && serialDistance(this.#maxCmdSN, this.#cmdSN) >= 0) {
			this.#sendCommand(this.#waiting[this.#waitingFrom++]!);
		}
		if (this.#waitingFrom === this.#waiting.length) {
			this.#waiting.length = 0;
			this.#waitingFrom = 0;
		}
	}

	#commandOf(tag: number): Command {
		const command = this.#commands[tag & 0xffff];
		if (command === undefined || command.tag !== tag || !command.active) throw new InitiatorError(`an answer for the unknown tag ${tag}`);
		return command;
	}

	#finish(command: Command, status: number): void {
		command.status = status;
		command.active = false;
		command.tag = (command.tag + 0x10000) % 0x7000_0000;
		this.outstanding--;
		command.owner?.finished(command);
		if (!command.active) this.#free.push(command);
	}

	// Sending.

	#sendCommand(command: Command): void {
		const { immediateData, firstBurstLength, initialR2T, targetMaxRecvDataSegmentLength } = this.negotiated;
		const outBytes = command.dataOutBytes;
		const immediate = immediateData ? Math.min(outBytes, firstBurstLength, targetMaxRecvDataSegmentLength) : 0;
		const unsolicited = initialR2T ? immediate : Math.min(outBytes, firstBurstLength);
		const copied = immediate < referenceFromBytes ? padded(immediate) : 0;
		const at = this.#outbox.reserve(basicHeaderBytes + copied);
		const slab = this.#outbox.slab;
		slab[at] = opcode.scsiCommand;
		// F, R, W and the attribute SIMPLE.
		slab[at + 1] = (unsolicited > immediate ? 0 : 0x80) | (command.dataInBytes > 0 ? 0x40 : 0) | (outBytes > 0 ? 0x20 : 0) | 0x01;
		slab[at + 2] = 0;
		slab[at + 3] = 0;
		slab[at + 4] = 0;
		putU24(slab, at + 5, immediate);
		putLUN(slab, at + 8, command.lun);
		putU32(slab, at + 16, command.tag);
		putU32(slab, at + 20, outBytes > 0 ? outBytes : command.dataInBytes);
		putU32(slab, at + 24, this.#cmdSN);
		putU32(slab, at + 28, this.#expStatSN);
		const cdb = command.cdb;
		for (let index = 0; index < 16; index++) slab[at + 32 + index] = cdb[index]!;
		this.#cmdSN = (this.#cmdSN + 1) >>> 0;
		if (immediate > 0) this.#sendData(command, 0, immediate, copied > 0 ? at + basicHeaderBytes : -1);
		if (unsolicited > immediate) this.#sendDataOut(command, noTag, immediate, unsolicited - immediate);
	}

	/** `slabAt`: where room was reserved for a copy, or −1 to send by reference. */
	#sendData(command: Command, offset: number, lengthBytes: number, slabAt: number): void {
		const start = command.dataOutStart + offset;
		if (slabAt >= 0) {
			command.dataOut!.copy(this.#outbox.slab, slabAt, start, start + lengthBytes);
			return;
		}
		this.#outbox.reference(command.dataOut!.subarray(start, start + lengthBytes));
		if (padded(lengthBytes) > lengthBytes) this.#outbox.reference(padding.subarray(0, padded(lengthBytes) - lengthBytes));
	}

	/** One sequence of Data-Out PDUs (RFC 7143 §11.7), DataSN from 0. */
	#sendDataOut(command: Command, targetTransferTag: number, offset: number, lengthBytes: number): void {
		const segmentMax = this.negotiated.targetMaxRecvDataSegmentLength;
		const end = offset + lengthBytes;
		for (let dataSN = 0; offset < end; dataSN++) {
			const length = Math.min(segmentMax, end - offset);
			const copied = length < referenceFromBytes ? padded(length) : 0;
			const at = this.#outbox.reserve(basicHeaderBytes + copied);
			const slab = this.#outbox.slab;
			slab.fill(0, at, at + basicHeaderBytes);
			slab[at] = opcode.dataOut;
			slab[at + 1] = offset + length === end ? finalFlag : 0;
			putU24(slab, at + 5, length);
			putLUN(slab, at + 8, command.lun);
			putU32(slab, at + 16, command.tag);
			putU32(slab, at + 20, targetTransferTag);
			putU32(slab, at + 28, this.#expStatSN);
			putU32(slab, at + 36, dataSN);
			putU32(slab, at + 40, offset);
			this.#sendData(command, offset, length, copied > 0 ? at + basicHeaderBytes : -1);
			offset += length;
		}
	}

	#sendControl(header: Buffer, data: Buffer): void {
		putU24(header, 5, data.length);
		putU32(header, 24, this.#cmdSN);
		putU32(header, 28, this.#expStatSN);
		if ((header[0]! & immediateDelivery) === 0) this.#cmdSN = (this.#cmdSN + 1) >>> 0;
		const at = this.#outbox.reserve(basicHeaderBytes + padded(data.length));
		const slab = this.#outbox.slab;
		header.copy(slab, at);
		slab.fill(0, at + basicHeaderBytes, at + basicHeaderBytes + padded(data.length));
		data.copy(slab, at + basicHeaderBytes);
	}

	/** The answer to a NOP-In ping (RFC 7143 §11.18.2) has no tag of its own and is immediate. */
	#pong(header: Buffer, at: number): void {
		const answer = Buffer.alloc(basicHeaderBytes);
		answer[0] = opcode.nopOut | immediateDelivery;
		answer[1] = finalFlag;
		header.copy(answer, 8, at + 8, at + 16);
		putU32(answer, 16, noTag);
		header.copy(answer, 20, at + 20, at + 24);
		this.#sendControl(answer, noSense);
		if (!this.#inTurn) this.#scheduleFlush();
	}

	async #login(): Promise<void> {
		const offered = offeredKeys(this.options.targetName, this.options);
		const isid = this.options.isid ?? newISID();
		// RFC 7143 §11.12.8: one tag for all requests of a login.
		const tag = (this.#nextControlTag += 0x10000);
		const answers = new Map<string, string>();
		const say = async (stages: number, data: Buffer): Promise<number> => {
			const header = Buffer.alloc(basicHeaderBytes);
			header[0] = opcode.login | immediateDelivery;
			header[1] = stages;
			header.set(isid, 8);
			const answer = await this.exchange(header, data, tag);
			if (answer.header[36] !== 0) {
				this.destroy();
				throw new InitiatorError(`login refused with status ${answer.header.toString('hex', 36, 38)}h ${answer.data.toString()}`.trim());
			}
			for (const [key, value] of decodeKeys(answer.data)) answers.set(key, value);
			return answer.header[1]!;
		};
		const { chap } = this.options;
		let operational = offered;
		if (chap !== undefined) {
			const { InitiatorName = '', TargetName, SessionType = '', ...others } = offered;
			const names = { InitiatorName, SessionType, ...(TargetName === undefined ? {} : { TargetName }) };
			// CSG = SecurityNegotiation, NSG = LoginOperationalNegotiation; T with the last.
			await authenticate(async (keys, last) => (await say(last ? 0x81 : 0x01, encodeKeys(keys)), answers), names, chap);
			operational = others;
		}
		let data = encodeKeys(operational);
		for (let round = 0; round < 8; round++) {
			// T, CSG = LoginOperationalNegotiation, NSG = FullFeaturePhase.
			if (((await say(0x80 | (1 << 2) | 3, data)) & 0x83) === 0x83) {
				this.negotiated = negotiated(offered, answers);
				return;
			}
			data = noSense;
		}
		throw new InitiatorError('the login does not end');
	}

	#end(reason: InitiatorError): void {
		if (this.#ended !== undefined) return;
		this.#ended = reason;
		this.#socket.destroy();
		for (const waiter of this.#control.values()) waiter.reject(reason);
		this.#control.clear();
		for (const command of this.#commands) if (command.active) this.#finish(command, connectionLost);
		this.onEnd?.(reason);
	}
}

const padding = Buffer.alloc(4);

function residual(header: Buffer, at: number): number {
	const flags = header[at + 1]!;
	if ((flags & 0x06) === 0) return 0;
	const count = u32(header, at + 44);
	return (flags & 0x02) !== 0 ? count : -count;
}

/** RFC 7143 §11.12.5, type 10b (random). */
function newISID(): Uint8Array {
	nextISID = (nextISID + 1) & 0xffffff;
	return Uint8Array.of(0x80, nextISID >>> 16, nextISID >>> 8, nextISID, process.pid >>> 8, process.pid);
}
