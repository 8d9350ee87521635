import type { DiskFile } from './disk.ts';

/** Writes a whole span, however short the single writes are. A write of no bytes at all is an error, not a reason to spin. */
export async function writeFully(file: DiskFile, source: Uint8Array, positionBytes: number): Promise<void> {
	let written = 0;
	while (written < source.length) {
		const part = written === 0 ? source : source.subarray(written);
		written += advanced(await file.write(part, positionBytes + written), file);
	}
}

/** As writeFully, from the calling thread. */
export function writeFullySync(file: DiskFile, source: Uint8Array, positionBytes: number): void {
	let written = 0;
	while (written < source.length) {
		const part = written === 0 ? source : source.subarray(written);
		written += advanced(file.writeSync(part, positionBytes + written), file);
	}
}

/** The kernel takes 1,024 parts (IOV_MAX) in one call. */
const partsMax = 1024;

/** Gathers all sources, in order, to one contiguous range. */
export async function writevFully(file: DiskFile, sources: readonly Uint8Array[], positionBytes: number): Promise<void> {
	const [only] = sources;
	if (sources.length === 1 && only !== undefined) return writeFully(file, only, positionBytes);
	let rest = sources;
	let position = positionBytes;
	while (rest.length > 0) {
		const parts = rest.length > partsMax ? rest.slice(0, partsMax) : rest;
		const written = advanced(await file.writev(parts, position), file);
		position += written;
		rest = skip(rest, written);
	}
}

/** Writes each source whole to its own position: by one call where the disk can, else one by one. */
export function writeEachFully(file: DiskFile, sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
	return file.writeEach === undefined ? writeOneByOne(file, sources, positionsBytes) : file.writeEach(sources, positionsBytes);
}

export async function writeOneByOne(file: DiskFile, sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
	for (const [index, source] of sources.entries()) await writeFully(file, source, positionsBytes[index] as number);
}

/** Reads until the span is full or the file ends; what lies behind the end becomes zeros. Resolves to the bytes that the file had. */
export async function readFully(file: DiskFile, target: Uint8Array, positionBytes: number): Promise<number> {
	let read = 0;
	while (read < target.length) {
		const part = read === 0 ? target : target.subarray(read);
		const bytes = await file.read(part, positionBytes + read);
		if (bytes === 0) break;
		read += bytes;
	}
	if (read < target.length) target.fill(0, read);
	return read;
}

function advanced(bytes: number, file: DiskFile): number {
	if (bytes > 0) return bytes;
	throw Object.assign(new Error(`a write to ${file.path} made no progress`), { code: 'EIO' });
}

function skip(sources: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
	let left = bytes;
	for (let index = 0; index < sources.length; index++) {
		const source = sources[index] as Uint8Array;
		if (left < source.length) return left === 0 ? sources.slice(index) : [source.subarray(left), ...sources.slice(index + 1)];
		left -= source.length;
	}
	return [];
}
