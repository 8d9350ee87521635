import { createServer, type Socket } from 'node:net';
import { PDUReader, type PDUSink } from './pdu-reader.ts';
import { basicHeaderBytes, opcode, padded, putU24, putU32, u32 } from './wire.ts';

export interface ReceivedPDU {
	header: Buffer;
	data: Buffer;
}

export interface Answer {
	/** Fields of the answer's header by position; the opcode, StatSN, ExpCmdSN and MaxCmdSN are filled in. */
	opcode: number;
	flags?: number;
	tag?: number;
	at?: Readonly<Record<number, number>>;
	data?: Buffer;
	/** Does this PDU use up a StatSN? True by default. */
	countsStatus?: boolean;
}

/** A target that knows nothing: it logs in whoever comes, and for the rest does what a test tells it. It checks what a receiver must rely on. */
export class ScriptedTarget {
	readonly received: ReceivedPDU[] = [];
	port = 0;
	/** Commands beyond the next one that are admitted. */
	windowCommands = 64;
	loginKeys = 'InitialR2T=No\0ImmediateData=Yes\0MaxRecvDataSegmentLength=8192\0FirstBurstLength=16384\0MaxBurstLength=32768\0';
	onPDU: ((pdu: ReceivedPDU) => void) | undefined = undefined;
	/** Cuts what is sent into pieces of this size, each in a write of its own; 0: not. */
	pieceBytes = 0;
	readonly #server = createServer((socket) => this.#accept(socket));
	#socket: Socket | undefined = undefined;
	#statSN = 1000;
	#expCmdSN = 1;

	async listen(): Promise<void> {
		await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
		const address = this.#server.address();
		this.port = typeof address === 'object' && address !== null ? address.port : 0;
	}

	async close(): Promise<void> {
		this.#socket?.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	/** Cuts the connection. */
	cut(): void {
		this.#socket?.destroy();
	}

	send(...answers: readonly Answer[]): void {
		const bytes = Buffer.concat(answers.map((answer) => this.#encode(answer)));
		const step = this.pieceBytes === 0 ? bytes.length : this.pieceBytes;
		for (let at = 0; at < bytes.length; at += step) this.#socket?.write(bytes.subarray(at, at + step));
	}

	#encode({ opcode: code, flags = 0x80, tag = 0, at = {}, data = Buffer.alloc(0), countsStatus = true }: Answer): Buffer {
		const pdu = Buffer.alloc(basicHeaderBytes + padded(data.length));
		pdu[0] = code;
		pdu[1] = flags;
		putU24(pdu, 5, data.length);
		putU32(pdu, 16, tag);
		putU32(pdu, 24, countsStatus ? this.#statSN++ : this.#statSN);
		putU32(pdu, 28, this.#expCmdSN);
		putU32(pdu, 32, this.#expCmdSN + this.windowCommands - 1);
		for (const [position, value] of Object.entries(at)) putU32(pdu, Number(position), value);
		data.copy(pdu, basicHeaderBytes);
		return pdu;
	}

	#accept(socket: Socket): void {
		this.#socket = socket.setNoDelay().on('error', () => undefined);
		const sink: PDUSink = {
			dataTarget: (_header, _at, lengthBytes) => reader.collect(lengthBytes),
			pdu: (header, at, data) => this.#pdu({ header: Buffer.from(header.subarray(at, at + basicHeaderBytes)), data: Buffer.from(data) }),
		};
		const reader = new PDUReader(sink);
		socket.on('data', (chunk) => reader.push(chunk, chunk.length));
	}

	#pdu(pdu: ReceivedPDU): void {
		const code = pdu.header[0]! & 0x3f;
		const isImmediate = (pdu.header[0]! & 0x40) !== 0;
		if (code === opcode.login) {
			this.send({ opcode: opcode.loginResponse, flags: 0x87, tag: u32(pdu.header, 16), data: Buffer.from(this.loginKeys) });
			return;
		}
		if (!isImmediate && code !== opcode.dataOut) this.#expCmdSN = u32(pdu.header, 24) + 1;
		this.received.push(pdu);
		this.onPDU?.(pdu);
	}
}
