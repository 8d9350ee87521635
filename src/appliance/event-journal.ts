import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { EventView } from '../admin/event-schemas.ts';
import { crc32c } from '../wire/crc32c.ts';
import { type Disk, type DiskFile, errorCode } from '../os/disk.ts';
import type { Logger } from '../os/logger.ts';
import { readFully, writeFully } from '../os/transfer.ts';
import { eventsMax, severities } from './event-log.ts';
import { kernelCode } from './kernel-code.ts';

/** Of one event in the file. Its message and names are far shorter, escaped as they may be. */
const lineBytesMax = 8192;
/** What a start reads of a file, from its end. */
const fileBytesMax = eventsMax * lineBytesMax;
/** After a failure it is tried again with the next event, and at the latest after so long. */
export const retryMs = 30_000;

const lineEnd = 0x0a;

/**
 * The last events in two files of the data directory, so that they outlive the process: lines are appended to `events`, and with eventsMax of them it becomes `events.old`.
 * docs/format.md has the lines. Nothing waits for it, and nothing fails because of it: what cannot be written is kept in memory, eventsMax events at most, and tried again.
 *
 * A line is durable a moment after its event. Whatever is no line of ours (the end that a power loss tore, flipped bits) is skipped when the files are read.
 */
export class EventJournal {
	/** What was kept, the oldest first, at most eventsMax. */
	readonly remembered: readonly EventView[];
	readonly #disk: Disk;
	readonly #directory: string;
	readonly #log: Logger;
	#unwritten: EventView[] = [];
	/** What is appended to; undefined until something is written. */
	#tail: Tail | undefined;
	/** Events in that file. */
	#fileEvents: number;
	#running: Promise<void> | undefined;
	#retry: NodeJS.Timeout | undefined;
	/** The log has said so. */
	#hasFailed = false;
	#isClosed = false;

	private constructor(disk: Disk, directory: string, log: Logger, old: readonly EventView[], current: readonly EventView[]) {
		this.#disk = disk;
		this.#directory = directory;
		this.#log = log;
		this.#fileEvents = current.length;
		const bySequence = new Map([...old, ...current].map((event) => [event.sequence, event]));
		this.remembered = [...bySequence.values()].toSorted((a, b) => a.sequence - b.sequence).slice(-eventsMax);
	}

	/** Reads what earlier processes left. Never rejects for what the kernel or the files say. */
	static async open(disk: Disk, directory: string, log: Logger): Promise<EventJournal> {
		const old = await readEvents(disk, oldPath(directory), log);
		return new EventJournal(disk, directory, log, old, await readEvents(disk, currentPath(directory), log));
	}

	add(event: EventView): void {
		if (this.#isClosed) return;
		if (this.#unwritten.push(event) > eventsMax) this.#unwritten.shift();
		this.#kick();
	}

	/** Writes what is not written yet, if it can be. */
	async close(): Promise<void> {
		this.#isClosed = true;
		await this.#running;
		if (this.#unwritten.length > 0) await this.#write();
		clearTimeout(this.#retry);
		await this.#letGo();
	}

	#kick(): void {
		this.#running ??= this.#write().finally(() => {
			this.#running = undefined;
		});
	}

	async #write(): Promise<void> {
		clearTimeout(this.#retry);
		try {
			while (this.#unwritten.length > 0) await this.#append();
			this.#hasFailed = false;
		} catch (error) {
			const code = kernelCode(error);
			if (code === '') throw error;
			const what = `events cannot be written (${code}): the last ones are in memory only until the data directory takes them`;
			if (!this.#hasFailed) this.#log.warn({ err: error }, what);
			this.#hasFailed = true;
			if (!this.#isClosed) this.#retry = setTimeout(() => this.#kick(), retryMs).unref();
		}
	}

	/** As many as the file may still have. Where it fails, the next attempt writes the same place. */
	async #append(): Promise<void> {
		if (this.#fileEvents >= eventsMax) await this.#turnOver();
		const batch = this.#unwritten.slice(0, eventsMax - this.#fileEvents);
		const tail = (this.#tail ??= await openTail(this.#disk, this.#directory));
		const bytes = Buffer.concat([...(tail.isTorn ? [Buffer.of(lineEnd)] : []), ...batch.map(encode)]);
		await writeFully(tail.file, bytes, tail.endBytes);
		await tail.file.datasync();
		tail.endBytes += bytes.length;
		tail.isTorn = false;
		this.#fileEvents += batch.length;
		const last = batch.at(-1)?.sequence ?? 0;
		// Those that came meanwhile may have pushed out some of these.
		this.#unwritten = this.#unwritten.filter(({ sequence }) => sequence > last);
	}

	async #turnOver(): Promise<void> {
		await this.#letGo();
		try {
			await this.#disk.rename(currentPath(this.#directory), oldPath(this.#directory));
			// Before its name is given to a new file: else neither might be there.
			await this.#disk.syncDirectory(this.#directory);
		} catch (error) {
			// Somebody has removed it.
			if (errorCode(error) !== 'ENOENT') throw error;
		}
		this.#fileEvents = 0;
	}

	async #letGo(): Promise<void> {
		const tail = this.#tail;
		this.#tail = undefined;
		await tail?.file.close();
	}
}

interface Tail {
	readonly file: DiskFile;
	/** Where the next line goes. */
	endBytes: number;
	/** What is before it is no whole line. */
	isTorn: boolean;
}

/** The file that is appended to, made and durable with its name if it is not there. */
async function openTail(disk: Disk, directory: string): Promise<Tail> {
	const path = currentPath(directory);
	let file: DiskFile;
	try {
		file = await disk.open(path, 'existing');
	} catch (error) {
		if (errorCode(error) !== 'ENOENT') throw error;
		file = await disk.open(path, 'create');
	}
	try {
		await disk.syncDirectory(directory);
		const endBytes = await file.sizeBytes();
		const last = Buffer.of(lineEnd);
		if (endBytes > 0) await readFully(file, last, endBytes - 1);
		return { file, endBytes, isTorn: last[0] !== lineEnd };
	} catch (error) {
		await file.close();
		throw error;
	}
}

async function readEvents(disk: Disk, path: string, log: Logger): Promise<EventView[]> {
	try {
		const file = await disk.open(path, 'readOnly');
		try {
			const sizeBytes = await file.sizeBytes();
			const bytes = Buffer.alloc(Math.min(sizeBytes, fileBytesMax));
			await readFully(file, bytes, sizeBytes - bytes.length);
			return [...decoded(bytes)];
		} finally {
			await file.close();
		}
	} catch (error) {
		const code = kernelCode(error);
		if (code === '') throw error;
		if (code !== 'ENOENT') log.warn({ err: error }, `events of before cannot be read (${code}): ${path}`);
		return [];
	}
}

function encode(event: EventView): Buffer {
	const json = Buffer.from(JSON.stringify(event));
	const line = Buffer.concat([Buffer.from(`${checksum(json)} `), json, Buffer.of(lineEnd)]);
	assert(line.length <= lineBytesMax, 'an event is longer than an event can be');
	return line;
}

function* decoded(bytes: Buffer): Generator<EventView> {
	for (let start = 0; start < bytes.length;) {
		const found = bytes.indexOf(lineEnd, start);
		const end = found < 0 ? bytes.length : found;
		const event = decode(bytes.subarray(start, end));
		if (event !== undefined) yield event;
		start = end + 1;
	}
}

/** Undefined for what is no line of ours. */
function decode(line: Buffer): EventView | undefined {
	const json = line.subarray(checksumLength + 1);
	if (json.length === 0 || line.toString('latin1', 0, checksumLength) !== checksum(json)) return undefined;
	try {
		const event: unknown = JSON.parse(json.toString());
		return isEvent(event) ? event : undefined;
	} catch (error) {
		if (!(error instanceof SyntaxError)) throw error;
		return undefined;
	}
}

/** A later version may have written fields of its own. */
function isEvent(event: unknown): event is EventView {
	if (typeof event !== 'object' || event === null) return false;
	const { sequence, at, severity, kind, message } = event as Partial<EventView>;
	const texts = [at, kind, message];
	return Number.isSafeInteger(sequence) && severities.some((one) => one === severity) && texts.every((text) => typeof text === 'string');
}

const checksumLength = 8;

function checksum(json: Buffer): string {
	return crc32c(json).toString(16).padStart(checksumLength, '0');
}

function currentPath(directory: string): string {
	return join(directory, 'events');
}

function oldPath(directory: string): string {
	return join(directory, 'events.old');
}
