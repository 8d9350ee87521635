import { type Disk, type DiskFile, errorCode } from '../os/disk.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { crc32c } from '../wire/crc32c.ts';
import { limits } from './limits.ts';
import { rowBytes } from './manifest.ts';
import { entryBytes } from './merkle-tree.ts';

/** What an export was of: a journal of another one is thrown away. */
export interface JournalHeader {
	readonly repository: string;
	readonly volume: string;
	readonly snapshot: number;
	readonly lsn: number;
	readonly timeMs: number;
	readonly sizeBytes: number;
	readonly chunkBytes: number;
	/** Manifest whose unchanged chunks are taken over, '' for none. */
	readonly base: string;
}

/** What the first attempt knew before it learned of any object, and when. */
export interface JournalStart {
	readonly collected: readonly string[];
	readonly startedMs: number;
}

/**
 * What an export has uploaded, in a local file: a line of JSON with its length and checksum before it, then records of equal length, each with its checksum. It is not synced: after a crash of the process all
 * of it is there, after one of the machine a part, and what is missing is read again. A chunk's record is written when its object is stored; a list's replaces those of its chunks, so
 * only the lists that were open are held in memory.
 *
 * Record: u32 1 chunk or 2 list, u32 index, 76 bytes (a chunk's entry, padded; a list's row), u32 CRC32C of that.
 */
export class ExportJournal {
	readonly header: JournalHeader;
	readonly start: JournalStart;
	readonly #disk: Disk;
	readonly #file: DiskFile;
	readonly #rows = new Map<number, Buffer>();
	readonly #chunks = new Map<number, Map<number, Buffer>>();
	#position: number;
	#writing: Promise<void> = Promise.resolve();

	private constructor(disk: Disk, file: DiskFile, header: JournalHeader, start: JournalStart, position: number) {
		this.#disk = disk;
		this.#file = file;
		this.header = header;
		this.start = start;
		this.#position = position;
	}

	/** The journal that is at a path, if it is one of such an export. */
	static async resume(disk: Disk, path: string, matches: (header: JournalHeader) => boolean): Promise<ExportJournal | undefined> {
		let file: DiskFile;
		try {
			file = await disk.open(path, 'existing');
		} catch (error) {
			if (errorCode(error) === 'ENOENT') return undefined;
			throw error;
		}
		try {
			const head = await readHead(file);
			if (head === undefined || !matches(head.header)) {
				await file.close();
				return undefined;
			}
			const journal = new ExportJournal(disk, file, head.header, head.start, head.endBytes);
			await journal.#load();
			return journal;
		} catch (error) {
			await file.close();
			throw error;
		}
	}

	/** A new one in place of what was there. */
	static async create(disk: Disk, path: string, header: JournalHeader, start: JournalStart): Promise<ExportJournal> {
		await removeIfThere(disk, path);
		const file = await disk.open(path, 'create');
		const json = Buffer.from(JSON.stringify({ header, start }));
		const head = Buffer.alloc(prefixBytes);
		head.writeUInt32LE(magic, 0);
		head.writeUInt32LE(json.length, 4);
		head.writeUInt32LE(crc32c(json), 8);
		await writeFully(file, Buffer.concat([head, json]), 0);
		return new ExportJournal(disk, file, header, start, prefixBytes + json.length);
	}

	/** Row of a list that is done. */
	row(list: number): Buffer | undefined {
		return this.#rows.get(list);
	}

	/** Entry of a chunk that is stored. */
	entry(chunk: number): Buffer | undefined {
		return this.#chunks.get(Math.floor(chunk / limits.entriesPerList))?.get(chunk);
	}

	/** Forgets what an earlier attempt said of a list: something of it is gone. */
	forget(list: number): void {
		this.#rows.delete(list);
		this.#chunks.delete(list);
	}

	addChunk(chunk: number, entry: Uint8Array): Promise<void> {
		return this.#append(typeChunk, chunk, entry);
	}

	addList(list: number, row: Uint8Array): Promise<void> {
		return this.#append(typeList, list, row);
	}

	async close(): Promise<void> {
		await this.#writing;
		await this.#file.close();
	}

	async remove(): Promise<void> {
		await this.close();
		await removeIfThere(this.#disk, this.#file.path);
	}

	#append(type: number, index: number, bytes: Uint8Array): Promise<void> {
		const record = Buffer.alloc(recordBytes);
		record.writeUInt32LE(type, 0);
		record.writeUInt32LE(index, 4);
		record.set(bytes, 8);
		record.writeUInt32LE(crc32c(record.subarray(0, recordBytes - 4)), recordBytes - 4);
		const position = this.#position;
		this.#position += recordBytes;
		const before = this.#writing;
		// In order, so that a torn end is an end.
		this.#writing = (async () => {
			await before;
			await writeFully(this.#file, record, position);
		})();
		return this.#writing;
	}

	async #load(): Promise<void> {
		const sizeBytes = await this.#file.sizeBytes();
		const block = Buffer.alloc(recordBytes * recordsPerRead);
		for (;;) {
			const bytes = await readFully(this.#file, block, this.#position);
			for (let at = 0; at + recordBytes <= bytes; at += recordBytes) {
				const record = block.subarray(at, at + recordBytes);
				if (record.readUInt32LE(recordBytes - 4) !== crc32c(record.subarray(0, recordBytes - 4))) return;
				this.#take(record);
				this.#position += recordBytes;
			}
			if (bytes < block.length || this.#position >= sizeBytes) return;
		}
	}

	#take(record: Buffer): void {
		const index = record.readUInt32LE(4);
		if (record.readUInt32LE(0) === typeList) {
			this.#rows.set(index, Buffer.from(record.subarray(8, 8 + rowBytes)));
			this.#chunks.delete(index);
			return;
		}
		const list = Math.floor(index / limits.entriesPerList);
		// A chunk after its list: the list is being made anew.
		this.#rows.delete(list);
		const chunks = this.#chunks.get(list) ?? new Map<number, Buffer>();
		chunks.set(index, Buffer.from(record.subarray(8, 8 + entryBytes)));
		this.#chunks.set(list, chunks);
	}
}

const magic = 0x314a5042;
const prefixBytes = 12;
const headBytesMax = 4 * 1024 * 1024;
const typeChunk = 1;
const typeList = 2;
const recordBytes = 8 + rowBytes + 4;
const recordsPerRead = 4096;

async function readHead(file: DiskFile): Promise<{ header: JournalHeader; start: JournalStart; endBytes: number } | undefined> {
	const head = Buffer.alloc(prefixBytes);
	if ((await readFully(file, head, 0)) < prefixBytes || head.readUInt32LE(0) !== magic) return undefined;
	const length = head.readUInt32LE(4);
	if (length > headBytesMax) return undefined;
	const json = Buffer.alloc(length);
	// A head that the crash has torn is no journal: nothing was remembered yet.
	if ((await readFully(file, json, prefixBytes)) < length || crc32c(json) !== head.readUInt32LE(8)) return undefined;
	const { header, start } = JSON.parse(json.toString('utf8')) as { header: JournalHeader; start: JournalStart };
	return { header, start, endBytes: prefixBytes + length };
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
	try {
		await disk.remove(path);
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
	}
}
