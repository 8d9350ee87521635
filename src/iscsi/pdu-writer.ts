import { crc32cOfRange } from '../wire/crc32c.ts';
import type { Transmitter } from '../wire/transmitter.ts';
import { BHS, bhsBytes, digestBytes, finalBit, LoginResponse, padded, SCSIResponse } from './pdu.ts';
import type { CommandWindow } from './command-window.ts';

/**
 * Puts PDUs of one connection into its transmitter: common fields, StatSN, padding and digests.
 * Use: reserve(), header(), fill in the rest, commit(). Nothing else may touch the transmitter in between.
 */
export class PDUWriter {
	readonly #transmitter: Transmitter;
	window: CommandWindow;
	/** The next status's StatSN. */
	statSN = 1;
	headerDigest = false;
	dataDigest = false;

	constructor(transmitter: Transmitter, window: CommandWindow) {
		this.#transmitter = transmitter;
		this.window = window;
	}

	/** From a PDU's first byte to its data. */
	get headerBytes(): number {
		return this.headerDigest ? bhsBytes + digestBytes : bhsBytes;
	}

	sizeOf(dataBytes: number): number {
		return this.headerBytes + padded(dataBytes) + (this.dataDigest && dataBytes > 0 ? digestBytes : 0);
	}

	get buffer(): Buffer {
		return this.#transmitter.buffer;
	}

	get at(): number {
		return this.#transmitter.at;
	}

	get dataAt(): number {
		return this.#transmitter.at + this.headerBytes;
	}

	reserve(dataBytes: number): boolean {
		return this.#transmitter.reserve(this.sizeOf(dataBytes));
	}

	/** Writes what all our PDUs have in common, everything else zero. `status`: it carries StatSN and advances it. */
	header(buffer: Buffer, at: number, opcode: number, flags: number, initiatorTaskTag: number, dataBytes: number, status: boolean): void {
		buffer.fill(0, at, at + bhsBytes);
		buffer[at] = opcode;
		buffer[at + 1] = finalBit | flags;
		BHS.dataSegmentLength.set(buffer, at, dataBytes);
		BHS.initiatorTaskTag.set(buffer, at, initiatorTaskTag);
		if (status) {
			SCSIResponse.statSN.set(buffer, at, this.statSN);
			this.statSN = (this.statSN + 1) >>> 0;
		}
		SCSIResponse.expCmdSN.set(buffer, at, this.window.expCmdSN);
		SCSIResponse.maxCmdSN.set(buffer, at, this.window.maxCmdSN);
	}

	commit(dataBytes: number): void {
		this.#transmitter.commit(this.seal(this.#transmitter.buffer, this.#transmitter.at, dataBytes));
	}

	/** Pads and digests a PDU whose header begins at `at` and whose data stands behind it; returns its size. */
	seal(buffer: Buffer, at: number, dataBytes: number): number {
		let end = at + bhsBytes;
		if (this.headerDigest) {
			buffer.writeUInt32LE(crc32cOfRange(buffer, at, end), end);
			end += digestBytes;
		}
		if (dataBytes === 0) return end - at;
		const dataAt = end;
		end += dataBytes;
		while (((end - dataAt) & 3) !== 0) buffer[end++] = 0;
		if (this.dataDigest) {
			buffer.writeUInt32LE(crc32cOfRange(buffer, dataAt, end), end);
			end += digestBytes;
		}
		return end - at;
	}

	/** A PDU of the control kind: always finds room, in a buffer of its own if the slabs are full. Returns buffer and place; end with sendControl(). */
	control(opcode: number, flags: number, initiatorTaskTag: number, data: Uint8Array, status: boolean): { buffer: Buffer; at: number } {
		const roomy = data.length <= controlDataMax && this.reserve(data.length);
		const buffer = roomy ? this.buffer : Buffer.allocUnsafe(this.sizeOf(data.length));
		const at = roomy ? this.at : 0;
		this.header(buffer, at, opcode, flags, initiatorTaskTag, data.length, status);
		buffer.set(data, at + this.headerBytes);
		return { buffer, at };
	}

	sendControl(pdu: { buffer: Buffer; at: number }): void {
		const dataBytes = LoginResponse.dataSegmentLength.get(pdu.buffer, pdu.at);
		const size = this.seal(pdu.buffer, pdu.at, dataBytes);
		if (pdu.buffer === this.#transmitter.buffer) this.#transmitter.commit(size);
		else this.#transmitter.send(pdu.buffer, 0, size, undefined);
	}
}

const controlDataMax = 64 * 1024;
