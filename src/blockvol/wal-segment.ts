import type { Disk, DiskFile } from '../os/disk.ts';
import { writeFully } from '../os/transfer.ts';

/** One file of the log: LSNs from firstLSN on, `<firstLSN>.wal`. */
export class WalSegment {
	readonly sequence: number;
	readonly path: string;
	readonly file: DiskFile;
	/** Something was written since the last datasync began. */
	unsynced = false;
	/** Asynchronous reads that are under way in it: it is not recycled meanwhile. */
	pins = 0;

	constructor(sequence: number, path: string, file: DiskFile) {
		this.sequence = sequence;
		this.path = path;
		this.file = file;
	}
}

const zeros = Buffer.alloc(1024 * 1024);

/** A new file of zeros, durable but for its name: appends into it change no metadata, so fdatasync is cheap. */
export async function createZeroFilled(disk: Disk, path: string, lengthBytes: number): Promise<DiskFile> {
	const file = await disk.open(path, 'create');
	try {
		await fillWithZeros(file, 0, lengthBytes);
	} catch (error) {
		await file.close();
		await disk.remove(path);
		throw error;
	}
	return file;
}

/** Writes zeros from a position to the end, durably. */
export async function fillWithZeros(file: DiskFile, fromBytes: number, endBytes: number): Promise<void> {
	for (let position = fromBytes; position < endBytes; position += zeros.length) {
		await writeFully(file, zeros.subarray(0, Math.min(zeros.length, endBytes - position)), position);
	}
	await file.datasync();
}

/** 16 digits sort as text. */
export function segmentName(firstLSN: number): string {
	return `${String(firstLSN).padStart(16, '0')}.wal`;
}

/** The first LSN that a file name says, or -1. */
export function firstLSNOf(name: string): number {
	const match = /^(\d{16})\.wal$/.exec(name);
	return match === null ? -1 : Number(match[1]);
}
