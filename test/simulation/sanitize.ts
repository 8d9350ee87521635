import { checkVolume } from '../../src/blockvol/check.ts';
import { beginSanitize, sanitize, SanitizeUnfinished } from '../../src/blockvol/sanitize.ts';
import type { SanitizeOrder } from '../../src/blockvol/sanitize-record.ts';
import { repeated } from '../../src/blockvol/sanitize-pattern.ts';
import { pageBytes } from '../../src/blockvol/limits.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { pageChecksum } from '../../src/blockvol/page-checksums.ts';
import { silent } from '../../src/os/logger.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { Random, seedOf } from './random.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';

export const directory = '/data/volume';
const geometry = {
	uuid: '6f1b0f4e-93c8-4d6c-8a2e-5b7f0c1d2e40',
	sizeBytes: 384 * 1024,
	blockSize: 512,
	segmentBytes: 64 * 1024,
	sliceBytes: 128 * 1024,
} as const;
const pages = geometry.sizeBytes / pageBytes;
/** In each sector that was written: nothing that sanitizing writes looks like it. */
const mark = Buffer.from('what nobody shall read again');

/** A volume with secrets, closed; which of its pages were written. */
export interface Secret {
	readonly disk: SimulatedDisk;
	readonly written: ReadonlySet<number>;
	/** Byte strings that tell of what was written: the data, and checksums of it. */
	readonly needles: readonly Buffer[];
}

/** Writes pages here and there over three slices, more than the log has room for, some twice, trims some, and closes. */
export async function keepSecret(seed: number): Promise<Secret> {
	const random = new Random(seedOf(seed, 77));
	const disk = new SimulatedDisk({ seed });
	await disk.makeDirectory('/data');
	await disk.syncDirectory('/');
	await Volume.create(disk, directory, geometry);
	const volume = await openSecret(disk);
	const written = new Set<number>();
	const checksums = new Map<number, number>();
	for (let count = 0; count < 30; count++) {
		const page = random.below(pages - 4);
		const length = 1 + random.below(4);
		const data = Buffer.alloc(length * pageBytes);
		for (let at = 0; at < data.length; at += 512) {
			mark.copy(data, at);
			data.writeUInt32LE(random.below(2 ** 31), at + 64);
		}
		await done((completion) => volume.write(page * pageBytes, data, false, completion));
		for (let at = 0; at < length; at++) {
			written.add(page + at);
			checksums.set(page + at, pageChecksum(data.subarray(at * pageBytes, (at + 1) * pageBytes)));
		}
		if (!random.chance(0.1)) continue;
		await done((completion) => volume.zero(page * pageBytes, pageBytes, false, completion));
		written.delete(page);
		checksums.delete(page);
	}
	await volume.close();
	const needles = [...checksums.values()].slice(0, 8).map((checksum) => {
		const needle = Buffer.alloc(4);
		needle.writeUInt32LE(checksum);
		return needle;
	});
	return { disk, written, needles: [mark, ...needles] };
}

export function openSecret(disk: SimulatedDisk): Promise<Volume> {
	return Volume.open(disk, directory, { log: silent, tuning: { flushIdleMs: 0 } });
}

/**
 * Sanitizes a volume and loses power, or kills, before each operation and after the last; and again during what goes on then. A volume whose order is durable is never opened before it is
 * sanitized; nothing of a volume that is gone or trimmed is anywhere on the disk; what is opened holds the pattern where something was written, or nothing. Returns how many survivors
 * were as before, unfinished and sanitized. `share` of the operations are looked at.
 */
export async function exploreSanitize(
	seed: number,
	order: SanitizeOrder,
	share = 1,
): Promise<{ before: number; unfinished: number; sanitized: number }> {
	const secret = await keepSecret(seed);
	const random = new Random(seedOf(seed, 78));
	const counts = { before: 0, unfinished: 0, sanitized: 0 };
	const crashes = await crashing(secret, random, share, async (disk) => {
		await beginSanitize(disk, directory, order);
		await sanitize(disk, directory);
	});
	for (const { left, at, isOver } of crashes) {
		try {
			const state = await withinTime(judge(secret, left, order, random), 'going on');
			if (isOver && state !== 'sanitized') throw new SimulationFailure('it had ended, and is not');
			counts[state]++;
		} catch (error) {
			throw new SimulationFailure(`${messageOf(error)}\n  seed ${seed}, ${order.method}, crash ${at}`, { cause: error });
		}
	}
	return counts;
}

interface Crash {
	readonly left: SimulatedDisk;
	readonly at: string;
	readonly isOver: boolean;
}

/** Disks as crashes before each operation of the work leave them, and one after its end. */
async function crashing(
	{ disk, needles }: Secret,
	random: Random,
	share: number,
	work: (disk: SimulatedDisk) => Promise<void>,
): Promise<Crash[]> {
	const crashes: Crash[] = [];
	const crash = (at: string, isOver: boolean): void => {
		crashes.push({ left: random.chance(0.2) ? disk.killed(random.next()) : disk.surviving(random.next()), at, isOver });
	};
	const trims: SimulatedDisk[] = [];
	disk.onOperation = (operation) => {
		if (!isChanging(operation)) return;
		if (random.chance(share)) crash(`before ${operation.kind} ${operation.path}`, false);
		// What is given back must have been overwritten before: nobody reaches it any more.
		if (operation.kind === 'remove' || (operation.kind === 'truncate' && operation.path.endsWith('.map')))
			trims.push(disk.surviving(random.next()));
	};
	await work(disk);
	disk.onOperation = undefined;
	crash('after it', true);
	if (trims.length === 0) throw new SimulationFailure('nothing was ever given back');
	for (const left of trims) await mustNotTell(left, needles, 'given back');
	return crashes;
}

async function judge(
	secret: Secret,
	left: SimulatedDisk,
	order: SanitizeOrder,
	random: Random,
): Promise<'before' | 'unfinished' | 'sanitized'> {
	let disk = left;
	let state: 'before' | 'unfinished' | 'sanitized' = 'sanitized';
	try {
		const volume = await openSecret(disk);
		const isBefore = await shows(volume, (page, at) => secret.written.has(page) === at.includes(mark));
		await volume.close();
		if (isBefore) return 'before';
	} catch (error) {
		if (!(error instanceof SanitizeUnfinished)) throw error;
		state = 'unfinished';
		// Once more cut short, one time in three.
		if (random.chance(0.3)) {
			void sanitize(disk, directory).catch(() => undefined);
			await disk.powerLossAt(disk.operations + 1 + random.below(20));
			disk = disk.surviving(random.next());
			if (await isSanitized(disk)) return state;
		}
		await sanitize(disk, directory);
		await mustNotTell(disk.surviving(random.next()), secret.needles, 'sanitized');
	}
	await mustNotTell(disk, secret.needles, 'sanitized');
	const findings = await checkVolume(disk, directory);
	if (findings.length > 0) throw new SimulationFailure(findings.map(({ message }) => message).join('; '));
	const volume = await openSecret(disk);
	const isTrimmed = order.method === 'blockErase' || order.pattern.every((byte) => byte === 0);
	const expected = isTrimmed ? Buffer.alloc(pageBytes) : repeated(order.pattern, geometry.blockSize, pageBytes);
	const isRight = await shows(volume, (page, at) => at.equals(expected) || (!secret.written.has(page) && at.every((byte) => byte === 0)));
	if (!isRight) throw new SimulationFailure('the volume shows something else than it was overwritten with');
	// It is a volume like any other.
	const data = Buffer.alloc(pageBytes, 0x5c);
	await done((completion) => volume.write(0, data, true, completion));
	await volume.close();
	const again = await openSecret(disk);
	if (!(await shows(again, (page, at) => page !== 0 || at.equals(data)))) throw new SimulationFailure('a write after it is lost');
	await again.close();
	return state;
}

async function isSanitized(disk: SimulatedDisk): Promise<boolean> {
	try {
		await (await openSecret(disk)).close();
		return true;
	} catch (error) {
		if (error instanceof SanitizeUnfinished) return false;
		throw error;
	}
}

/** None of the byte strings is in any file of the disk. */
export async function mustNotTell(disk: SimulatedDisk, needles: readonly Buffer[], when: string): Promise<void> {
	for (const path of disk.paths().filter((one) => one.startsWith(`${directory}/wal/`) || one.startsWith(`${directory}/layers/`))) {
		const file = await disk.open(path, 'readOnly');
		const bytes = Buffer.alloc(await file.sizeBytes());
		for (let at = 0; at < bytes.length;) at += await file.read(bytes.subarray(at), at);
		await file.close();
		const told = needles.find((needle) => bytes.includes(needle));
		if (told !== undefined) throw new SimulationFailure(`${path} still has ${told.toString('latin1')} when it is ${when}`);
	}
}

/** Whether each page of a volume is as it should be. */
export async function shows(volume: Volume, isRight: (page: number, bytes: Buffer) => boolean): Promise<boolean> {
	for (let page = 0; page < pages; page++) {
		const bytes = Buffer.alloc(pageBytes);
		await done((completion) => volume.read(page * pageBytes, bytes, completion));
		if (!isRight(page, bytes)) return false;
	}
	return true;
}

function done(start: (completion: { complete(outcome: string): void }) => void): Promise<void> {
	return new Promise((resolve, reject) =>
		start({ complete: (outcome) => (outcome === 'good' ? resolve() : reject(new SimulationFailure(`a command ended with ${outcome}`))) }),
	);
}
