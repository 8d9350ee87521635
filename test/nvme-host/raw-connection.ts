import { connect, type Socket } from 'node:net';
import { crc32c } from '../../src/wire/crc32c.ts';
import {
	commonHeaderBytes,
	dataOffset,
	digestBytes,
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
	sqeBytes,
	u16,
	u32,
} from './wire.ts';

/** How a PDU differs from what it should be. A digest: right, wrong by a bit, or not there although the flag says so. */
export interface PDUForm {
	flags?: number;
	hlen?: number;
	pdo?: number;
	plen?: number;
	headerDigest?: boolean | 'wrong';
	dataDigest?: boolean | 'wrong';
	/** 0's based dwords; padding in front of the data up to it. */
	alignment?: number;
	/** Bytes to put over the finished header, by position, before its digest is computed. */
	at?: Readonly<Record<number, number>>;
}

/** A PDU of any kind: `header` is all of its header behind the common one. */
export function pdu(type: number, header: Buffer, data: Buffer | undefined, form: PDUForm = {}): Buffer {
	const hlen = commonHeaderBytes + header.length;
	const hasData = data !== undefined && data.length > 0;
	const headerBytes = hlen + (form.headerDigest ? digestBytes : 0);
	const isTermReq = type === pduType.h2cTermReq;
	const dataAt = hasData && !isTermReq ? dataOffset(headerBytes, form.alignment ?? 0) : headerBytes;
	const dataEnd = dataAt + (data?.length ?? 0);
	const bytes = Buffer.alloc(dataEnd + (hasData && form.dataDigest ? digestBytes : 0));
	const digests = (form.headerDigest ? pduFlag.hdgstf : 0) | (hasData && form.dataDigest ? pduFlag.ddgstf : 0);
	const pdo = hasData && !isTermReq ? dataAt : 0;
	putCommonHeader(bytes, 0, type, form.flags ?? digests, form.hlen ?? hlen, form.pdo ?? pdo, form.plen ?? bytes.length);
	header.copy(bytes, commonHeaderBytes);
	for (const [position, value] of Object.entries(form.at ?? {})) bytes[Number(position)] = value;
	if (form.headerDigest) putU32(bytes, hlen, crc32c(bytes.subarray(0, hlen)) ^ (form.headerDigest === 'wrong' ? 1 : 0));
	if (data !== undefined && hasData) {
		data.copy(bytes, dataAt);
		if (form.dataDigest) putU32(bytes, dataEnd, crc32c(data) ^ (form.dataDigest === 'wrong' ? 1 : 0));
	}
	return bytes;
}

export interface ICFields {
	pfv?: number;
	hpda?: number;
	/** The whole DGST byte. */
	dgst?: number;
	/** As on the wire, 0's based. */
	maxR2T?: number;
}

export function icReq({ pfv = 0, hpda = 0, dgst = 0, maxR2T = 0 }: ICFields = {}, form: PDUForm = {}): Buffer {
	const header = Buffer.alloc(icBytes - commonHeaderBytes);
	putU16(header, 0, pfv);
	header[2] = hpda;
	header[3] = dgst;
	putU32(header, 4, maxR2T);
	return pdu(pduType.icReq, header, undefined, form);
}

/** `data` is in the capsule. */
export function capsuleCmd(sqe: Buffer, data?: Buffer, form: PDUForm = {}): Buffer {
	return pdu(pduType.capsuleCmd, sqe, data, form);
}

/** Fills in what every command needs beside its own fields: the identifier, PSDT and SGL 1. */
export function described(fill: (sqe: Buffer) => void, cid: number, lengthBytes = 0, inCapsule = false): Buffer {
	const sqe = Buffer.alloc(sqeBytes);
	fill(sqe);
	putU16(sqe, 2, cid);
	sqe[1] = (sqe[1]! & 0x3f) | psdtSGL;
	putU32(sqe, 32, lengthBytes);
	sqe[39] = inCapsule ? sglInCapsule : sglTransport;
	return sqe;
}

export interface DataFields {
	cccid: number;
	ttag: number;
	datao: number;
	/** The length of the data unless said otherwise. */
	datal?: number;
	last?: boolean;
}

export function h2cData({ cccid, ttag, datao, datal, last = true }: DataFields, data: Buffer, form: PDUForm = {}): Buffer {
	const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
	putU16(header, 0, cccid);
	putU16(header, 2, ttag);
	putU32(header, 4, datao);
	putU32(header, 8, datal ?? data.length);
	const flags = (last ? pduFlag.lastPDU : 0) | (form.headerDigest ? pduFlag.hdgstf : 0) | (form.dataDigest ? pduFlag.ddgstf : 0);
	return pdu(pduType.h2cData, header, data, { flags, ...form });
}

export function h2cTermReq(fes: number, fei: number, data: Buffer = Buffer.alloc(0), form: PDUForm = {}): Buffer {
	const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
	putU16(header, 0, fes);
	putU32(header, 2, fei);
	return pdu(pduType.h2cTermReq, header, data, form);
}

/** A PDU as it came, cut out by its PLEN alone. */
export class ReceivedPDU {
	readonly bytes: Buffer;

	constructor(bytes: Buffer) {
		this.bytes = bytes;
	}

	get type(): number {
		return this.bytes[0]!;
	}

	get flags(): number {
		return this.bytes[1]!;
	}

	u16(at: number): number {
		return u16(this.bytes, at);
	}

	u32(at: number): number {
		return u32(this.bytes, at);
	}

	/** The data of a data PDU or capsule, without its digest. */
	get data(): Buffer {
		if (this.bytes[3] === 0) return Buffer.alloc(0);
		return this.bytes.subarray(this.bytes[3], this.bytes.length - ((this.flags & pduFlag.ddgstf) !== 0 ? digestBytes : 0));
	}

	/** Of a CapsuleResp: Status Code Type × 100h + Status Code. */
	get status(): number {
		return (this.u16(22) >>> 1) & 0x7ff;
	}

	/** Of a CapsuleResp: the command's identifier. */
	get cid(): number {
		return this.u16(20);
	}

	/** Are both digests there that the flags promise, and right? */
	get intact(): boolean {
		const hlen = this.bytes[2]!;
		if ((this.flags & pduFlag.hdgstf) !== 0 && crc32c(this.bytes.subarray(0, hlen)) !== this.u32(hlen)) return false;
		return (this.flags & pduFlag.ddgstf) === 0 || crc32c(this.data) === this.u32(this.bytes.length - digestBytes);
	}
}

/** Cuts a byte stream at PLEN. What is shorter than a common header waits, whatever it says. */
export class PDUCutter {
	#bytes: Buffer = Buffer.alloc(0);

	push(chunk: Buffer): ReceivedPDU[] {
		this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
		const found: ReceivedPDU[] = [];
		while (this.#bytes.length >= commonHeaderBytes) {
			const plen = Math.max(commonHeaderBytes, u32(this.#bytes, 4));
			if (this.#bytes.length < plen) break;
			found.push(new ReceivedPDU(this.#bytes.subarray(0, plen)));
			this.#bytes = this.#bytes.subarray(plen);
		}
		return found;
	}
}

/** A connection that sends any bytes in any order and draws no conclusion from what comes back. */
export class RawConnection {
	readonly #socket: Socket;
	readonly #cutter = new PDUCutter();
	readonly #received: ReceivedPDU[] = [];
	#waiter: (() => void) | undefined = undefined;
	#isOver = false;
	/** Why the connection ended, if not orderly. */
	failure: Error | undefined = undefined;

	static async open(port: number, host = '127.0.0.1'): Promise<RawConnection> {
		const socket = connect({ host, port, noDelay: true });
		await new Promise<void>((resolve, reject) => {
			socket.once('connect', resolve).once('error', reject);
		});
		return new RawConnection(socket);
	}

	private constructor(socket: Socket) {
		this.#socket = socket;
		socket.on('data', (chunk) => {
			this.#received.push(...this.#cutter.push(chunk));
			this.#waiter?.();
		});
		socket.on('error', (error) => {
			this.failure = error;
		});
		socket.on('close', () => {
			this.#isOver = true;
			this.#waiter?.();
		});
	}

	/** Has the controller closed the connection? */
	get isOver(): boolean {
		return this.#isOver;
	}

	send(...bytes: Uint8Array[]): void {
		this.#socket.write(Buffer.concat(bytes));
	}

	/** In pieces of so many bytes, each in a turn of its own so that they arrive apart. */
	async sendCut(bytes: Buffer, pieceBytes: number): Promise<void> {
		for (let at = 0; at < bytes.length; at += pieceBytes) {
			this.#socket.write(bytes.subarray(at, at + pieceBytes));
			await new Promise((resolve) => setImmediate(resolve));
		}
	}

	/** The next PDU; undefined when the connection has ended. */
	async next(): Promise<ReceivedPDU | undefined> {
		while (this.#received.length === 0 && !this.#isOver) {
			await new Promise<void>((resolve) => {
				this.#waiter = resolve;
			});
		}
		return this.#received.shift();
	}

	/** The next PDU, which has to be there. */
	async expect(type: number): Promise<ReceivedPDU> {
		const next = await this.next();
		if (next?.type !== type)
			throw new Error(`a PDU of type ${type} was expected, ${next === undefined ? 'the end' : `type ${next.type}`} came`);
		return next;
	}

	/** Everything until the connection ends. */
	async rest(): Promise<ReceivedPDU[]> {
		const all: ReceivedPDU[] = [];
		for (;;) {
			const next = await this.next();
			if (next === undefined) return all;
			all.push(next);
		}
	}

	/** Reads no more: what the controller sends stays in the kernel's buffers. */
	pause(): void {
		this.#socket.pause();
	}

	resume(): void {
		this.#socket.resume();
	}

	/** Sends nothing any more; what comes is still received. */
	finish(): void {
		this.#socket.end();
	}

	destroy(): void {
		this.#socket.destroy();
	}
}
