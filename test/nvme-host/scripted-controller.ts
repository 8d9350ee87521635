import { createServer, type Socket } from 'node:net';
import { pdu, PDUCutter, type PDUForm, type ReceivedPDU } from './raw-connection.ts';
import { commonHeaderBytes, icBytes, pduFlag, pduType, putU16, putU32, shortHeaderBytes } from './wire.ts';

export interface Completion {
	cid: number;
	/** Status Code Type × 100h + Status Code. */
	status?: number;
	dnr?: boolean;
	result0?: number;
	result1?: number;
	sqhd?: number;
}

export interface DataToHost {
	cid: number;
	offset?: number;
	last?: boolean;
	success?: boolean;
	/** DATAL, when it is to be wrong. */
	datal?: number;
}

/** One connection of the scripted controller. */
export class ScriptedQueue {
	readonly received: ReceivedPDU[] = [];
	/** QID of the Connect that came, if the script looks at it. */
	qid = -1;
	readonly #controller: ScriptedController;
	readonly #socket: Socket;
	readonly #cutter = new PDUCutter();

	constructor(controller: ScriptedController, socket: Socket) {
		this.#controller = controller;
		this.#socket = socket;
		socket.on('error', () => undefined);
		socket.on('data', (chunk) => {
			for (const received of this.#cutter.push(chunk)) this.#pdu(received);
		});
	}

	/** In pieces of the controller's pieceBytes, each in a write of its own. */
	send(...parts: Buffer[]): void {
		const bytes = Buffer.concat(parts);
		const step = this.#controller.pieceBytes === 0 ? bytes.length : this.#controller.pieceBytes;
		for (let at = 0; at < bytes.length; at += step) this.#socket.write(bytes.subarray(at, at + step));
	}

	cut(): void {
		this.#socket.destroy();
	}

	completion({ cid, status = 0, dnr = false, result0 = 0, result1 = 0, sqhd = 0 }: Completion, form: PDUForm = {}): Buffer {
		const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
		putU32(header, 0, result0);
		putU32(header, 4, result1);
		putU16(header, 8, sqhd);
		putU16(header, 12, cid);
		putU16(header, 14, (status << 1) | (dnr ? 0x8000 : 0));
		return pdu(pduType.capsuleResp, header, undefined, { ...this.#digests, ...form });
	}

	data({ cid, offset = 0, last = true, success = false, datal }: DataToHost, data: Buffer, form: PDUForm = {}): Buffer {
		const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
		putU16(header, 0, cid);
		putU32(header, 4, offset);
		putU32(header, 8, datal ?? data.length);
		const { headerDigest, dataDigest } = this.#digests;
		const flags =
			(last ? pduFlag.lastPDU : 0) |
			(success ? pduFlag.success : 0) |
			(headerDigest ? pduFlag.hdgstf : 0) |
			(dataDigest ? pduFlag.ddgstf : 0);
		return pdu(pduType.c2hData, header, data, { flags, alignment: this.#controller.hpda, ...this.#digests, ...form });
	}

	r2t(cid: number, ttag: number, offset: number, length: number, form: PDUForm = {}): Buffer {
		const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
		putU16(header, 0, cid);
		putU16(header, 2, ttag);
		putU32(header, 4, offset);
		putU32(header, 8, length);
		return pdu(pduType.r2t, header, undefined, { ...this.#digests, ...form });
	}

	termReq(fes: number, fei: number, data: Buffer): Buffer {
		const header = Buffer.alloc(shortHeaderBytes - commonHeaderBytes);
		putU16(header, 0, fes);
		putU32(header, 2, fei);
		const bytes = pdu(pduType.c2hTermReq, header, undefined, { plen: shortHeaderBytes + data.length });
		return Buffer.concat([bytes, data]);
	}

	get #digests(): { headerDigest: boolean; dataDigest: boolean } {
		return { headerDigest: (this.#controller.dgst & 1) !== 0, dataDigest: (this.#controller.dgst & 2) !== 0 };
	}

	#pdu(received: ReceivedPDU): void {
		const controller = this.#controller;
		if (received.type !== pduType.icReq) {
			this.received.push(received);
			controller.onPDU?.(received, this);
			return;
		}
		controller.hpda = received.bytes[10]!;
		controller.dgst = received.bytes[11]!;
		const header = Buffer.alloc(icBytes - commonHeaderBytes);
		header[2] = controller.cpda;
		header[3] = controller.answeredDgst ?? controller.dgst;
		putU32(header, 4, controller.maxH2CData);
		this.send(pdu(pduType.icResp, header, undefined, controller.icRespForm));
	}
}

/** A controller that knows nothing: it initialises each connection, and for the rest does what a test tells it. */
export class ScriptedController {
	readonly queues: ScriptedQueue[] = [];
	port = 0;
	cpda = 0;
	maxH2CData = 4096;
	/** What ICReq asked for. */
	hpda = 0;
	dgst = 0;
	/** DGST of the ICResp; what was asked for when undefined. */
	answeredDgst: number | undefined = undefined;
	icRespForm: PDUForm = {};
	/** Cuts what is sent into pieces of this size; 0: not. */
	pieceBytes = 0;
	onPDU: ((pdu: ReceivedPDU, queue: ScriptedQueue) => void) | undefined = undefined;
	readonly #sockets = new Set<Socket>();
	readonly #server = createServer((socket) => {
		this.#sockets.add(socket.setNoDelay());
		socket.on('close', () => this.#sockets.delete(socket));
		this.queues.push(new ScriptedQueue(this, socket));
	});

	async listen(): Promise<void> {
		await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
		const address = this.#server.address();
		this.port = typeof address === 'object' && address !== null ? address.port : 0;
	}

	async close(): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}
}
