import { bytes, layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import { limits } from './limits.ts';
import { number64le } from './number-field.ts';
import type { Request } from './request.ts';
import { CommonSQE, RangeSQE } from './sqe.ts';

/** NVMe Base 2.0, Error Information Log Entry. */
export const ErrorEntry = layout('Error Information Log Entry', 64, {
	errorCount: number64le(0),
	sqid: u16le(8),
	commandID: u16le(10),
	/** As in the completion, phase bit included. */
	statusField: u16le(12),
	/** FFFFh: no one field of the command. */
	parameterErrorLocation: u16le(14),
	lba: number64le(16),
	nsid: u32le(24),
	vendorSpecificInformation: u8(28),
	/** 0: the error has nothing to do with the transport. */
	trtype: u8(29),
	reserved30: reserved(30, 2),
	commandSpecificInformation: bytes(32, 8),
	trtypeSpecificInformation: u16le(40),
	reserved42: reserved(42, 22),
});

const fabricsOpcode = 0x7f;
/** Write, Read, Compare, Write Zeroes, Verify: the I/O commands that name an LBA in their own fields. */
const rangeOpcodes: ReadonlySet<number> = new Set([0x01, 0x02, 0x05, 0x08, 0x0c]);

/** The last errors of a controller, and how many there ever were. */
export class ErrorLog {
	/** A ring; allocated with the first error. */
	#entries: Buffer | undefined;
	#count = 0;

	/** Errors since the controller was made. */
	get count(): number {
		return this.#count;
	}

	add(qid: number, request: Request): void {
		const { sqe } = request;
		const ring = (this.#entries ??= Buffer.alloc(limits.errorLogEntries * ErrorEntry.sizeBytes));
		const at = (this.#count % limits.errorLogEntries) * ErrorEntry.sizeBytes;
		this.#count++;
		ring.fill(0, at, at + ErrorEntry.sizeBytes);
		ErrorEntry.errorCount.set(ring, at, this.#count);
		ErrorEntry.sqid.set(ring, at, qid);
		ErrorEntry.commandID.set(ring, at, CommonSQE.commandIdentifier.get(sqe, 0));
		ErrorEntry.statusField.set(ring, at, (request.status << 1) | (request.dnr ? 0x8000 : 0));
		ErrorEntry.parameterErrorLocation.set(ring, at, 0xffff);
		// A Fabrics command has its type where others have their namespace.
		if (sqe[0] === fabricsOpcode) return;
		ErrorEntry.nsid.set(ring, at, CommonSQE.nsid.get(sqe, 0));
		if (qid !== 0 && rangeOpcodes.has(sqe[0]!)) ErrorEntry.lba.set(ring, at, Math.min(RangeSQE.slba.get(sqe, 0), Number.MAX_SAFE_INTEGER));
	}

	/** The newest entry first. */
	page(): Buffer {
		const page = Buffer.alloc(limits.errorLogEntries * ErrorEntry.sizeBytes);
		const kept = Math.min(this.#count, limits.errorLogEntries);
		for (let index = 0; index < kept; index++) {
			const from = ((this.#count - 1 - index) % limits.errorLogEntries) * ErrorEntry.sizeBytes;
			this.#entries!.copy(page, index * ErrorEntry.sizeBytes, from, from + ErrorEntry.sizeBytes);
		}
		return page;
	}
}
