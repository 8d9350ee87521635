import { errorCode, type Disk } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { crc32c } from '../wire/crc32c.ts';
import { limits, pageBytes } from './limits.ts';
import { entriesPerBlock } from './page-map-block.ts';
import type { RemoteIdentity, RemoteSource } from './remote-pages.ts';
import { readU64, writeU64 } from './u64.ts';
import { VolumeFault } from './volume-fault.ts';

/** docs/format.md, "remote": the file beside the superblock. */
export const remoteName = 'remote';
const magic = 0x4d525642; // 'BVRM'
const version = 1;
const fixedBytes = 64;

/** Which chunks of an archived snapshot hold something, and which pages they are. A page of one of them that the remote layer's map calls absent has to be fetched. */
export class RemoteChunks {
	readonly identity: RemoteIdentity;
	readonly layer: number;
	readonly sizeBytes: number;
	readonly chunkBytes: number;
	readonly chunkPages: number;
	/** Chunks from 0 on, those of zeros included. */
	readonly count: number;
	readonly #held: Uint8Array;

	/** `held`: a bit for each chunk, the lowest of the first byte first. */
	constructor(identity: RemoteIdentity, layer: number, sizeBytes: number, chunkBytes: number, held: Uint8Array) {
		this.identity = identity;
		this.layer = layer;
		this.sizeBytes = sizeBytes;
		this.chunkBytes = chunkBytes;
		this.chunkPages = chunkBytes / pageBytes;
		this.count = Math.ceil(sizeBytes / chunkBytes);
		this.#held = held;
	}

	static of(source: RemoteSource, layer: number): RemoteChunks {
		const { identity, sizeBytes, chunkBytes } = source;
		const count = Math.ceil(sizeBytes / chunkBytes);
		const held = new Uint8Array(Math.ceil(count / 8));
		for (let chunk = 0; chunk < count; chunk++)
			if (!source.chunkIsZero(chunk)) held[chunk >>> 3] = (held[chunk >>> 3] as number) | (1 << (chunk & 7));
		return new RemoteChunks(identity, layer, sizeBytes, chunkBytes, held);
	}

	/** Chunks that hold something. */
	get heldCount(): number {
		let sum = 0;
		for (let chunk = this.next(0); chunk < this.count; chunk = this.next(chunk + 1)) sum++;
		return sum;
	}

	get held(): Uint8Array {
		return this.#held;
	}

	/** True if the archive holds something for a page. */
	holdsPage(page: number): boolean {
		return this.holds(Math.floor(page / this.chunkPages)) && page * pageBytes < this.sizeBytes;
	}

	holds(chunk: number): boolean {
		return chunk < this.count && ((this.#held[chunk >>> 3] as number) & (1 << (chunk & 7))) !== 0;
	}

	/** The first chunk at or after one that holds something; `count` if there is none. */
	next(from: number): number {
		for (let chunk = from; chunk < this.count; chunk++) {
			if ((chunk & 7) === 0 && this.#held[chunk >>> 3] === 0) chunk += 7;
			else if (this.holds(chunk)) return chunk;
		}
		return this.count;
	}

	/** The first block of a page map at or after one of which the archive holds a page; Infinity if there is none. */
	nextBlock(from: number): number {
		const chunk = this.next(Math.floor((from * entriesPerBlock) / this.chunkPages));
		return chunk === this.count ? Infinity : Math.max(from, Math.floor((chunk * this.chunkPages) / entriesPerBlock));
	}

	pagesOf(chunk: number): number {
		return this.bytesOf(chunk) / pageBytes;
	}

	/** The last chunk is as long as the archived snapshot reaches. */
	bytesOf(chunk: number): number {
		return Math.min(this.chunkBytes, this.sizeBytes - chunk * this.chunkBytes);
	}
}

/** Why a source cannot be, or undefined. */
export function remoteFault({ identity, sizeBytes, chunkBytes }: Omit<RemoteSource, 'chunkIsZero'>): string | undefined {
	for (const [what, text] of [
		['repository', identity.repository],
		['manifest', identity.manifest],
	] as const) {
		const length = Buffer.byteLength(text);
		if (length === 0 || length > limits.remoteNameBytes || !text.isWellFormed())
			return `the name of a ${what} has 1 to ${limits.remoteNameBytes} bytes of Unicode text, not ${length}`;
	}
	if (!Number.isInteger(Math.log2(chunkBytes)) || chunkBytes < limits.remoteChunkBytesMin || chunkBytes > limits.remoteChunkBytesMax)
		return `chunks of ${chunkBytes} bytes: not a power of two from ${limits.remoteChunkBytesMin} to ${limits.remoteChunkBytesMax}`;
	if (!Number.isSafeInteger(sizeBytes) || sizeBytes < pageBytes || sizeBytes > limits.sizeBytesMax || sizeBytes % pageBytes !== 0)
		return `an archived snapshot of ${sizeBytes} bytes is not a multiple of ${pageBytes} up to ${limits.sizeBytesMax}`;
	const count = Math.ceil(sizeBytes / chunkBytes);
	return count > limits.remoteChunksMax ? `${count} chunks are more than ${limits.remoteChunksMax}: larger ones are needed` : undefined;
}

export function encodeRemote({ identity, layer, sizeBytes, chunkBytes, held }: RemoteChunks, uuid: string): Buffer {
	const names = Buffer.from(identity.repository + identity.manifest, 'utf8');
	const bytes = Buffer.alloc(fixedBytes + names.length + held.length);
	bytes.writeUInt32LE(magic, 4);
	bytes.writeUInt32LE(version, 8);
	bytes.writeUInt32LE(bytes.length, 12);
	writeU64(bytes, layer, 16);
	Buffer.from(uuid.replaceAll('-', ''), 'hex').copy(bytes, 24);
	writeU64(bytes, sizeBytes, 40);
	bytes.writeUInt32LE(chunkBytes, 48);
	bytes.writeUInt32LE(Buffer.byteLength(identity.repository), 52);
	bytes.writeUInt32LE(Buffer.byteLength(identity.manifest), 56);
	names.copy(bytes, fixedBytes);
	bytes.set(held, fixedBytes + names.length);
	bytes.writeUInt32LE(crc32c(bytes.subarray(4)), 0);
	return bytes;
}

/** The chunks that a file's bytes tell of, or what is wrong with them. */
export function decodeRemote(bytes: Buffer, uuid: string, layer: number): RemoteChunks | string {
	if (bytes.length < fixedBytes || bytes.readUInt32LE(4) !== magic) return 'no magic';
	if (bytes.readUInt32LE(12) !== bytes.length) return 'the length does not match';
	if (crc32c(bytes.subarray(4)) !== bytes.readUInt32LE(0)) return 'the checksum does not match';
	if (bytes.readUInt32LE(8) !== version) return `version ${bytes.readUInt32LE(8)}`;
	if (bytes.toString('hex', 24, 40) !== uuid.replaceAll('-', '')) return 'it belongs to another volume';
	if (readU64(bytes, 16) !== layer) return `it belongs to layer ${readU64(bytes, 16)}`;
	const manifestAt = fixedBytes + bytes.readUInt32LE(52);
	const heldAt = manifestAt + bytes.readUInt32LE(56);
	const identity = { repository: bytes.toString('utf8', fixedBytes, manifestAt), manifest: bytes.toString('utf8', manifestAt, heldAt) };
	const [sizeBytes, chunkBytes] = [readU64(bytes, 40), bytes.readUInt32LE(48)];
	const fault = remoteFault({ identity, sizeBytes, chunkBytes });
	if (fault !== undefined) return fault;
	if (bytes.length !== heldAt + Math.ceil(sizeBytes / chunkBytes / 8)) return 'the length does not fit its counts';
	return new RemoteChunks(identity, layer, sizeBytes, chunkBytes, new Uint8Array(bytes.subarray(heldAt)));
}

/** Writes the file of a volume that has none yet; durable once the directory is synced. */
export async function writeRemote(disk: Disk, directory: string, chunks: RemoteChunks, uuid: string): Promise<void> {
	const file = await disk.open(`${directory}/${remoteName}`, 'create');
	try {
		await writeFully(file, encodeRemote(chunks, uuid), 0);
		await file.datasync();
	} finally {
		await file.close();
	}
}

/** Reads the file of a volume that has a remote layer. Rejects with VolumeFault for one that cannot be believed. */
export async function readRemote(disk: Disk, directory: string, uuid: string, layer: number): Promise<RemoteChunks> {
	const file = await disk.open(`${directory}/${remoteName}`, 'readOnly').catch((error: unknown) => {
		if (errorCode(error) === 'ENOENT') return undefined;
		throw error;
	});
	const mend = 'delete the volume and restore it from its archive again';
	if (file === undefined) throw new VolumeFault(`the file that tells where missing pages come from is gone (${remoteName}): ${mend}`);
	let why = '';
	try {
		// What fails is read twice: one misread must not make a volume unreadable.
		for (let attempt = 0; attempt < 2; attempt++) {
			const bytes = Buffer.alloc(Math.min(await file.sizeBytes(), remoteBytesMax));
			await readFully(file, bytes, 0);
			const found = decodeRemote(bytes, uuid, layer);
			if (typeof found !== 'string') return found;
			why = found;
		}
	} finally {
		await file.close();
	}
	throw new VolumeFault(`the file that tells where missing pages come from is corrupt (${remoteName}: ${why}): ${mend}`);
}

const remoteBytesMax = fixedBytes + 2 * limits.remoteNameBytes + limits.remoteChunksMax / 8;
