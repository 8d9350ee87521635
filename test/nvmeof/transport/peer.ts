import type { Outcome } from '../../../src/blockvol/block-device.ts';
import { Connection, type ConnectionEnvironment, type ConnectionHost } from '../../../src/nvmeof/connection.ts';
import { limits } from '../../../src/nvmeof/limits.ts';
import * as pdu from '../../../src/nvmeof/pdu.ts';
import type { Fabric, NextStep, QueueLink, QueueLogic, Request } from '../../../src/nvmeof/request.ts';
import { Statistics } from '../../../src/nvmeof/statistics.ts';
import { status } from '../../../src/nvmeof/status.ts';
import { TransportMemory } from '../../../src/nvmeof/transport-memory.ts';
import { silent } from '../../../src/os/logger.ts';
import { MemoryBudget } from '../../../src/os/memory-budget.ts';
import { crc32c } from '../../../src/wire/crc32c.ts';
import { Transmitter } from '../../../src/wire/transmitter.ts';
import { FlatDevice } from '../../iscsi/flat-device.ts';

/** Opcodes of FakeLogic. CDW10 is the first block, CDW12 counts blocks; CDW11 is what the others need. */
export const opcode = {
	flush: 0x00,
	write: 0x01,
	read: 0x02,
	answer: 0x0a,
	pend: 0x0c,
	parameters: 0x0d,
	fail: 0x0e,
	later: 0x0f,
} as const;

/** A queue without a controller: what a command wants stands in its opcode. */
export class FakeLogic implements QueueLogic {
	hostNQN: string | undefined = undefined;
	readonly link: QueueLink;
	readonly world: World;
	depth = 1;
	inCapsuleBytesMax: number = limits.inCapsuleBytes;
	flowControlDisabled = false;
	readonly pending: Request[] = [];
	readonly log: string[] = [];
	readonly parametersSeen: Buffer[] = [];
	/** What parameters() comes to. */
	afterParameters: NextStep = 'finished';
	onStart: ((request: Request) => NextStep | undefined) | undefined;

	constructor(world: World, link: QueueLink) {
		this.world = world;
		this.link = link;
	}

	start(request: Request): NextStep {
		const { sqe } = request;
		const early = this.onStart?.(request);
		if (early !== undefined) return early;
		const word = (dword: number): number => sqe.readUInt32LE(dword * 4);
		if (sqe[0] === pdu.fabricsOpcode) {
			if (sqe[4] !== pdu.connectType) return request.end(status.invalidField);
			request.lengthBytes = 1024;
			return 'parameters';
		}
		request.device = this.world.device;
		request.offsetBytes = word(10) * 512;
		request.lengthBytes = (word(12) & 0xffffff) * 512;
		switch (sqe[0]) {
			case opcode.write:
				request.fua = (sqe[51]! & 0x40) !== 0;
				return 'write';
			case opcode.read:
				request.fua = (sqe[51]! & 0x40) !== 0;
				return 'read';
			case opcode.parameters:
				request.lengthBytes = word(11);
				return 'parameters';
			case opcode.answer:
				request.dataToHost = pattern(word(11), 5);
				request.result0 = word(13);
				return 'finished';
			case opcode.pend:
				request.awaitsEvent = true;
				this.pending.push(request);
				return 'pending';
			case opcode.later:
				this.pending.push(request);
				return 'pending';
			case opcode.flush:
				request.onOutcome = (done, outcome) => {
					if (outcome !== 'good') this.fail(done, outcome);
					done.owner!.requestFinished(done);
				};
				this.world.device.flush(request);
				return 'pending';
			default:
				return request.end(status.invalidCommandOpcode);
		}
	}

	parameters(request: Request, data: Buffer): NextStep {
		this.parametersSeen.push(Buffer.from(data));
		if (request.sqe[0] === pdu.fabricsOpcode) {
			this.hostNQN = this.world.hostNQN;
			this.depth = request.sqe.readUInt16LE(44) + 1;
			this.flowControlDisabled = (request.sqe[46]! & 4) !== 0;
			request.result0 = 0x0001;
			return 'finished';
		}
		if (this.afterParameters === 'pending') this.pending.push(request);
		return this.afterParameters;
	}

	fail(request: Request, outcome: Outcome): void {
		this.log.push(`fail ${outcome}`);
		request.end(outcome === 'mediumError' ? status.unrecoveredReadError : status.internalError);
	}

	ended(request: Request): void {
		this.log.push(`ended ${request.sqe.readUInt16LE(2)} ${request.status.toString(16)}`);
	}

	closed(): void {
		this.log.push('closed');
	}

	/** A pending request is done. */
	finish(index = 0): void {
		const [request] = this.pending.splice(index, 1);
		request!.owner!.requestFinished(request!);
	}
}

/** A listener's world without sockets. */
export class World implements Fabric {
	readonly device: FlatDevice;
	readonly statistics = new Statistics();
	readonly budget: MemoryBudget;
	readonly memory: TransportMemory;
	readonly environment: ConnectionEnvironment;
	readonly logics: FakeLogic[] = [];
	/** Who says Connect next; undefined: each connection is a host of its own. */
	hostNQN: string | undefined;
	ticks = 0;

	constructor(options: { budgetBytes?: number; deviceBytes?: number } = {}) {
		this.device = new FlatDevice({ sizeBytes: options.deviceBytes ?? 1024 * 1024 });
		this.budget = new MemoryBudget(options.budgetBytes ?? 64 * 1024 * 1024);
		this.memory = TransportMemory.of(this.budget);
		this.environment = { fabric: this, memory: this.memory, statistics: this.statistics, log: silent };
	}

	open(link: QueueLink): QueueLogic {
		const logic = new FakeLogic(this, link);
		this.logics.push(logic);
		return logic;
	}

	tick(): void {
		this.ticks++;
	}

	connect(): Peer {
		return new Peer(this);
	}

	/** Nothing of the memory is held, and nobody waits for any. */
	get isFree(): boolean {
		const { budget, solicited, reads, capsules } = this.memory;
		return [budget, solicited, reads, capsules].every(({ usedBytes, waiting }) => usedBytes === 0 && waiting === 0);
	}
}

/** A PDU that came from the controller. */
export interface Answer {
	readonly type: number;
	readonly flags: number;
	/** The header, without its digest. */
	readonly header: Buffer;
	readonly data: Buffer;
	readonly pdo: number;
	/** What stands between header and data. */
	readonly padding: Buffer;
}

export interface CommandOptions {
	opcode: number;
	cid: number;
	block?: number;
	blocks?: number;
	cdw11?: number;
	cdw13?: number;
	/** Length in SGL 1. */
	length?: number;
	/** Data in the capsule; SGL 1 says so. */
	data?: Uint8Array;
	fua?: boolean;
	edit?: (sqe: Buffer) => void;
}

export interface ICReqOptions {
	hpda?: number;
	headerDigest?: boolean;
	dataDigest?: boolean;
	maxR2T?: number;
	pfv?: number;
}

/** The host's end of a connection to a core, in memory. */
export class Peer implements ConnectionHost {
	readonly world: World;
	readonly transmitter: Transmitter;
	readonly connection: Connection;
	readonly remote = '192.0.2.2:40000';
	readonly localAddress = '192.0.2.1';
	readonly localPort = 4420;
	/** While true nothing leaves the controller's side. */
	blocked = false;
	ended = false;
	destroyed: string | undefined;
	headerDigest = false;
	dataDigest = false;
	/** Bytes between a header (with its digest) and data that we send. */
	padding = 0;
	#stuck = false;
	#output: Buffer[] = [];
	#rest: Buffer = Buffer.alloc(0);
	#scheduled = false;

	constructor(world: World) {
		this.world = world;
		this.transmitter = new Transmitter(
			{
				write: (pieces) => {
					if (this.destroyed !== undefined) throw new Error('a closed connection writes');
					for (const piece of pieces) this.#output.push(Buffer.from(piece));
					this.#stuck = this.blocked;
					return !this.blocked;
				},
			},
			{ roomAgain: () => this.connection.roomAgain() },
		);
		this.connection = new Connection(world.environment, this);
	}

	get logic(): FakeLogic {
		return this.world.logics.find((logic) => logic.link === this.connection)!;
	}

	get closed(): boolean {
		return this.ended || this.destroyed !== undefined;
	}

	/** Bytes that the controller does not want yet. */
	get unreadBytes(): number {
		return this.#rest.length;
	}

	resume(): void {
		if (this.#scheduled) return;
		this.#scheduled = true;
		queueMicrotask(() => {
			this.#scheduled = false;
			this.#feed();
		});
	}

	resumeLater(): void {
		setImmediate(() => this.resume());
	}

	end(): void {
		this.ended = true;
		this.transmitter.flush();
	}

	destroy(reason: string): void {
		this.destroyed = reason;
		this.connection.socketClosed(reason);
		this.transmitter.close();
	}

	/** The controller's output may leave again. */
	unblock(): void {
		this.blocked = false;
		if (this.#stuck) this.transmitter.drained();
	}

	/** The socket breaks. */
	cut(): void {
		this.destroy('cut');
	}

	/** Bytes to the controller, in a buffer that is overwritten afterwards, as a receive buffer is. */
	send(...pieces: Uint8Array[]): void {
		for (const piece of pieces) {
			if (this.closed) return;
			this.#rest = Buffer.concat([this.#rest, piece]);
			this.#feed();
		}
	}

	/** A PDU: common header and digests are filled in around a header of HLEN bytes. */
	pdu(header: Buffer, data: Uint8Array = Buffer.alloc(0), flags = 0): Buffer {
		const digests = header[0] === pdu.pduType.capsuleCmd || header[0] === pdu.pduType.h2cData;
		const hdgst = digests && this.headerDigest;
		const ddgst = digests && this.dataDigest && data.length > 0;
		const headerEnd = header.length + (hdgst ? 4 : 0);
		const pdo = data.length > 0 ? headerEnd + this.padding : 0;
		header[1] = flags | (hdgst ? pdu.flag.hdgstf : 0) | (ddgst ? pdu.flag.ddgstf : 0);
		header[2] = header.length;
		header[3] = pdo;
		header.writeUInt32LE(Math.max(pdo, headerEnd) + data.length + (ddgst ? 4 : 0), 4);
		const parts: Uint8Array[] = [header];
		if (hdgst) parts.push(littleEndian(crc32c(header)));
		if (data.length > 0) parts.push(Buffer.alloc(this.padding, 0xee), data);
		if (ddgst) parts.push(littleEndian(crc32c(data)));
		return Buffer.concat(parts);
	}

	icReq(options: ICReqOptions = {}): Buffer {
		const header = Buffer.alloc(pdu.ICReq.sizeBytes);
		pdu.ICReq.pfv.set(header, 0, options.pfv ?? 0);
		pdu.ICReq.hpda.set(header, 0, options.hpda ?? 0);
		pdu.ICReq.headerDigest.set(header, 0, options.headerDigest === true ? 1 : 0);
		pdu.ICReq.dataDigest.set(header, 0, options.dataDigest === true ? 1 : 0);
		pdu.ICReq.maxR2T.set(header, 0, options.maxR2T ?? 0);
		return this.pdu(header);
	}

	command(options: CommandOptions): Buffer {
		const header = Buffer.alloc(pdu.CapsuleCmd.sizeBytes);
		header[0] = pdu.pduType.capsuleCmd;
		const sqe = header.subarray(8);
		sqe[0] = options.opcode;
		sqe[1] = 0x40;
		sqe.writeUInt16LE(options.cid, 2);
		sqe.writeUInt32LE(options.length ?? options.data?.length ?? (options.blocks ?? 0) * 512, 32);
		sqe[39] = options.data === undefined ? pdu.sglIdentifier.transport : pdu.sglIdentifier.inCapsule;
		sqe.writeUInt32LE(options.block ?? 0, 40);
		sqe.writeUInt32LE(options.cdw11 ?? 0, 44);
		sqe.writeUInt32LE(options.blocks ?? 0, 48);
		if (options.fua === true) sqe[51]! |= 0x40;
		sqe.writeUInt32LE(options.cdw13 ?? 0, 52);
		options.edit?.(sqe);
		return this.pdu(header, options.data);
	}

	/** Of the host of this name, as from a successful Connect on. */
	async openAs(hostNQN: string, options: Parameters<Peer['open']>[0] = {}): Promise<this> {
		this.world.hostNQN = hostNQN;
		return this.open(options);
	}

	connectCommand(options: { cid?: number; depth?: number; flowControlDisabled?: boolean } = {}): Buffer {
		return this.command({
			opcode: pdu.fabricsOpcode,
			cid: options.cid ?? 0xfff0,
			data: Buffer.alloc(1024, 7),
			edit: (sqe) => {
				sqe[4] = pdu.connectType;
				sqe.writeUInt16LE((options.depth ?? 128) - 1, 44);
				sqe[46] = options.flowControlDisabled === true ? 4 : 0;
			},
		});
	}

	h2cData(options: {
		cid: number;
		ttag: number;
		offset: number;
		data: Uint8Array;
		last: boolean;
		edit?: (header: Buffer) => void;
	}): Buffer {
		const header = Buffer.alloc(pdu.H2CData.sizeBytes);
		header[0] = pdu.pduType.h2cData;
		pdu.H2CData.cccid.set(header, 0, options.cid);
		pdu.H2CData.ttag.set(header, 0, options.ttag);
		pdu.H2CData.datao.set(header, 0, options.offset);
		pdu.H2CData.datal.set(header, 0, options.data.length);
		options.edit?.(header);
		return this.pdu(header, options.data, options.last ? pdu.flag.lastPDU : 0);
	}

	termReq(fes = 1, fei = 0, data: Uint8Array = Buffer.alloc(24)): Buffer {
		const header = Buffer.alloc(pdu.TermReq.sizeBytes);
		header[0] = pdu.pduType.h2cTermReq;
		header[2] = header.length;
		header.writeUInt32LE(header.length + data.length, 4);
		pdu.TermReq.fes.set(header, 0, fes);
		pdu.TermReq.fei.set(header, 0, fei);
		return Buffer.concat([header, data]);
	}

	/** ICReq, ICResp. */
	async initialize(options: ICReqOptions = {}): Promise<Answer> {
		this.send(this.icReq(options));
		const answer = await this.answer();
		this.headerDigest = options.headerDigest ?? false;
		this.dataDigest = options.dataDigest ?? false;
		return answer;
	}

	/** ICReq and Connect. */
	async open(options: ICReqOptions & { depth?: number; flowControlDisabled?: boolean } = {}): Promise<this> {
		await this.initialize(options);
		this.send(this.connectCommand(options));
		const answer = await this.answer();
		if (statusOf(answer) !== '0') throw new Error(`Connect: ${statusOf(answer)}`);
		return this;
	}

	/** All PDUs that came since the last call. */
	async answers(): Promise<Answer[]> {
		await settled();
		return this.takeAnswers();
	}

	takeAnswers(): Answer[] {
		const all = Buffer.concat(this.#output);
		this.#output = [];
		const found: Answer[] = [];
		for (let at = 0; at < all.length;) {
			const [type, flags, hlen, pdo] = [all[at]!, all[at + 1]!, all[at + 2]!, all[at + 3]!];
			const plen = all.readUInt32LE(at + 4);
			const header = all.subarray(at, at + hlen);
			let headerEnd = at + hlen;
			if ((flags & pdu.flag.hdgstf) !== 0 && type > 3) {
				if (!this.headerDigest || all.readUInt32LE(headerEnd) !== crc32c(header)) throw new Error('header digest of the controller');
				headerEnd += 4;
			} else if (this.headerDigest && type > 3) throw new Error('no header digest');
			const end = at + plen;
			if (end > all.length || plen < hlen) throw new Error(`PLEN ${plen}`);
			const isTermReq = type === pdu.pduType.c2hTermReq;
			const dataAt = pdo === 0 ? headerEnd : at + pdo;
			let dataEnd = end;
			if ((flags & pdu.flag.ddgstf) !== 0 && type > 3) {
				dataEnd -= 4;
				if (!this.dataDigest || all.readUInt32LE(dataEnd) !== crc32c(all.subarray(dataAt, dataEnd)))
					throw new Error('data digest of the controller');
			} else if (this.dataDigest && !isTermReq && dataEnd > dataAt) throw new Error('no data digest');
			found.push({ type, flags, header, data: all.subarray(dataAt, dataEnd), pdo, padding: all.subarray(headerEnd, dataAt) });
			at = end;
		}
		return found;
	}

	/** The one PDU that came. */
	async answer(): Promise<Answer> {
		const answers = await this.answers();
		if (answers.length !== 1) throw new Error(`${answers.length} PDUs: ${answers.map(statusOf).join(' ')}`);
		return answers[0]!;
	}

	/** Answers an R2T with `data` of the whole command. */
	fulfil(asked: AskedData, data: Uint8Array, pieceBytes = 1024 * 1024): void {
		for (let at = asked.offset; at < asked.offset + asked.length; at += pieceBytes) {
			const end = Math.min(at + pieceBytes, asked.offset + asked.length);
			this.send(
				this.h2cData({
					cid: asked.cid,
					ttag: asked.ttag,
					offset: at,
					data: data.subarray(at, end),
					last: end === asked.offset + asked.length,
				}),
			);
		}
	}

	#feed(): void {
		while (this.#rest.length > 0 && !this.closed) {
			const buffer = Buffer.from(this.#rest);
			this.transmitter.hold();
			const stopped = this.connection.receive(buffer, 0, buffer.length);
			this.transmitter.letGo();
			this.#rest = Buffer.from(buffer.subarray(stopped));
			buffer.fill(0xdd);
			if (stopped < buffer.length) return;
		}
	}
}

export interface AskedData {
	readonly cid: number;
	readonly ttag: number;
	readonly offset: number;
	readonly length: number;
}

export function r2t(answer: Answer): AskedData {
	if (answer.type !== pdu.pduType.r2t) throw new Error(`no R2T: ${statusOf(answer)}`);
	const { header } = answer;
	return {
		cid: pdu.R2T.cccid.get(header, 0),
		ttag: pdu.R2T.ttag.get(header, 0),
		offset: pdu.R2T.r2to.get(header, 0),
		length: pdu.R2T.r2tl.get(header, 0),
	};
}

/** Of a CapsuleResp the status in hex, with `!` for Do Not Retry; of a C2HTermReq FES and FEI; of others their kind. */
export function statusOf(answer: Answer): string {
	const { type, header } = answer;
	if (type === pdu.pduType.capsuleResp) {
		const field = pdu.CapsuleResp.status.get(header, 0);
		return `${((field & 0x7fff) >> 1).toString(16)}${(field & 0x8000) === 0 ? '' : '!'}`;
	}
	if (type === pdu.pduType.c2hTermReq) return `term ${pdu.TermReq.fes.get(header, 0)}/${pdu.TermReq.fei.get(header, 0)}`;
	if (type === pdu.pduType.r2t) return 'R2T';
	if (type === pdu.pduType.c2hData) return (answer.flags & pdu.flag.success) === 0 ? 'C2HData' : 'C2HData 0';
	return type === pdu.pduType.icResp ? 'ICResp' : `type ${type}`;
}

export function cidOf({ header, type }: Answer): number {
	return header.readUInt16LE(type === pdu.pduType.capsuleResp ? 20 : 8);
}

export function pattern(length: number, seed: number): Buffer {
	const data = Buffer.alloc(length);
	for (let index = 0; index < length; index++) data[index] = (index * 7 + (index >> 9) * 13 + seed * 31) & 0xff;
	return data;
}

export function split(stream: Buffer, bytes: number): Buffer[] {
	const pieces: Buffer[] = [];
	for (let at = 0; at < stream.length; at += bytes) pieces.push(stream.subarray(at, at + bytes));
	return pieces;
}

export function littleEndian(value: number): Buffer {
	const buffer = Buffer.alloc(4);
	buffer.writeUInt32LE(value);
	return buffer;
}

/** Everything that microtasks have to do is done. */
export function settled(): Promise<void> {
	return new Promise((resolve) => {
		setImmediate(resolve);
	});
}
