import { createHash } from 'node:crypto';
import { type Stats, createReadStream, fstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { DiskImage } from '../archive/stream/image-source.ts';
import { isQcow2 } from '../archive/stream/qcow2-header.ts';
import { Qcow2Disk } from '../archive/stream/qcow2-reader.ts';
import { PipedDisk, RawDisk, type SparseSource } from '../archive/stream/raw-reader.ts';
import { ImageError } from '../archive/stream/stream-error.ts';
import { UsageError } from '../config/usage-error.ts';
import { type DiskFile, errorCode } from '../os/disk.ts';
import { FileDisk } from '../os/file-disk.ts';
import { readFully } from '../os/transfer.ts';

export type SourceFormat = 'raw' | 'qcow2' | 'auto';

/** An image that is to be sent; close() it. */
export interface ImageInput {
	readonly image: DiskImage;
	readonly format: 'raw' | 'qcow2';
	/** Names the file as it is now, so that an attempt that broke off goes on with the same; undefined for a pipe, which cannot. */
	readonly identity: string | undefined;
	close(): Promise<void>;
}

const standardInput = '/dev/stdin';

/** Opens a file, or with `-` standard input, which is a file too where it was redirected. Rejects with UsageError for what is none or cannot be read, with ImageError for a bad image. */
export async function openImage(path: string, wanted: SourceFormat): Promise<ImageInput> {
	if (path === '-' && !fstatSync(0).isFile()) {
		if (process.stdin.isTTY) throw new UsageError('An image does not come from a terminal: name a file, or send one to standard input.');
		return await openPipe(process.stdin, wanted);
	}
	const named = path === '-' ? standardInput : path;
	if (await isFifo(named)) return await openPipe(createReadStream(named), wanted);
	const file = await openFile(named);
	try {
		const source = await fileSource(file);
		const start = source.sizeBytes < 4 ? Buffer.alloc(0) : await source.read(0, 4);
		const format = wanted === 'auto' ? (isQcow2(start) ? 'qcow2' : 'raw') : wanted;
		const image = format === 'qcow2' ? await Qcow2Disk.open(source) : new RawDisk(source);
		return { image, format, identity: identityOf(format, await stat(named)), close: () => file.close() };
	} catch (error) {
		await file.close();
		throw unreadable(named, error);
	}
}

/** As `<(command)` of a shell is one. */
async function isFifo(path: string): Promise<boolean> {
	try {
		return (await stat(path)).isFIFO();
	} catch (error) {
		throw unreadable(path, error);
	}
}

async function openPipe(pipe: Readable, wanted: SourceFormat): Promise<ImageInput> {
	const chunks = pipe as AsyncIterable<Buffer>;
	const [start, all] = await begun(chunks[Symbol.asyncIterator]());
	if (start.length === 0) throw new UsageError('Nothing came, which is no image.');
	if (wanted === 'qcow2' || (wanted === 'auto' && isQcow2(start)))
		throw new UsageError('A qcow2 image is read here and there, which a pipe does not allow: put it into a file first.');
	return { image: new PipedDisk(all), format: 'raw', identity: undefined, close: async () => void pipe.destroy() };
}

/** The first bytes, and all of them. */
async function begun(chunks: AsyncIterator<Buffer>): Promise<[Buffer, AsyncIterable<Buffer>]> {
	let start = Buffer.alloc(0);
	while (start.length < 4) {
		const next = await chunks.next();
		if (next.done === true) break;
		start = Buffer.concat([start, next.value]);
	}
	const all = async function* (): AsyncGenerator<Buffer> {
		if (start.length > 0) yield start;
		yield* { [Symbol.asyncIterator]: () => chunks };
	};
	return [start, all()];
}

async function openFile(path: string): Promise<DiskFile> {
	try {
		if (!(await stat(path)).isFile())
			throw new UsageError(`${path} is no file: an image comes from a file, or with - from standard input.`);
		return await new FileDisk().open(path, 'readOnly');
	} catch (error) {
		throw unreadable(path, error);
	}
}

async function fileSource(file: DiskFile): Promise<SparseSource> {
	const sizeBytes = await file.sizeBytes();
	if (sizeBytes === 0) throw new UsageError(`${file.path} is empty.`);
	return {
		sizeBytes,
		nextData: (positionBytes) => file.nextData(positionBytes),
		read: async (offsetBytes, lengthBytes) => {
			const target = Buffer.allocUnsafeSlow(lengthBytes);
			if ((await readFully(file, target, offsetBytes)) < lengthBytes) throw new ImageError('It became shorter while it was read.');
			return target;
		},
	};
}

/** What a change of the file changes. */
function identityOf(format: string, { dev, ino, size, mtimeMs }: Stats): string {
	return createHash('sha256').update([format, dev, ino, size, mtimeMs].join(' ')).digest('hex');
}

function unreadable(path: string, error: unknown): unknown {
	const code = errorCode(error);
	if (code === '' || error instanceof UsageError) return error;
	if (code === 'ENOENT') return new UsageError(`There is no file ${path}.`, 'notFound', { cause: error });
	return new UsageError(`${path} cannot be read (${code}).`, 'unavailable', { cause: error });
}
