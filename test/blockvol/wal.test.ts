import test from 'ava';
import type { AppendBatch, RecordOwner } from '../../src/blockvol/append-batch.ts';
import { defaultTuning, pageBytes, type Tuning } from '../../src/blockvol/limits.ts';
import { LogReader } from '../../src/blockvol/log-reader.ts';
import { Wal } from '../../src/blockvol/wal.ts';
import { pageChecksum } from '../../src/blockvol/page-checksums.ts';
import { recordBytes, recordType } from '../../src/blockvol/wal-record.ts';
import { createZeroFilled, segmentName } from '../../src/blockvol/wal-segment.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { settlesSoon } from './volume-fixture.ts';
import { WatchedDisk } from './watched-disk.ts';

const segmentBytes = 64 * 1024;
const units = segmentBytes / 64;
const stamp = { walGeneration: 77, epoch: 3 };
const recordUnits = recordBytes(recordType.write, 1) / 64;

class Log {
	readonly disk: WatchedDisk;
	readonly wal: Wal;
	readonly events: string[] = [];
	before: (() => Promise<void>) | undefined;

	private constructor(disk: WatchedDisk, tuning: Tuning) {
		this.disk = disk;
		const start = { stamp, tailLSN: 0, checkpointLSN: 0, holds: [] };
		this.wal = new Wal(disk, '/wal', segmentBytes, tuning, start, {
			batchWritten: (batch) => this.#installed(batch),
			walFailed: (reason) => this.events.push(`failed: ${reason}`),
			walOutOfSpace: () => this.events.push('outOfSpace'),
			walHasRoom: () => this.events.push('room'),
			beforeSync: () => this.before?.(),
			needsSync: () => this.before !== undefined,
			holdBroken: () => this.events.push('holdBroken'),
		});
	}

	static async open(tuning: Partial<Tuning> = {}): Promise<Log> {
		const disk = new WatchedDisk(new SimulatedDisk({ seed: 1, wouldBlockChance: 0, shortChance: 0 }));
		await disk.makeDirectory('/wal');
		for (const sequence of [0, 1]) await (await createZeroFilled(disk, `/wal/${segmentName(sequence * units)}`, segmentBytes)).close();
		const log = new Log(disk, { ...defaultTuning, walSegmentsMax: 3, inlineAppendBytesMax: 0, inlineStallMs: Infinity, ...tuning });
		await log.wal.segments.adopt(0, false);
		log.wal.begun();
		await log.synced();
		disk.forget();
		return log;
	}

	/** A write record with its pages in the staging buffer, or lent. */
	append(name: string, pages = 1, options: { lent?: boolean; keepUnits?: number; fill?: number } = {}): boolean {
		const owner: RecordOwner = {
			recordInstalled: () => this.events.push(`${name} installed`),
			recordFailed: () => this.events.push(`${name} failed`),
		};
		const lent = options.lent === true;
		const record = this.wal.begin(recordType.write, 5, pages, !lent, options.keepUnits ?? 0, owner);
		if (record === undefined) return false;
		const data = Buffer.alloc(pages * pageBytes, options.fill ?? 9);
		for (let page = 0; page < pages; page++) {
			this.wal.staging.writeUInt32LE(pageChecksum(data.subarray(0, pageBytes)), record.tableAt + page * 4);
		}
		const tableEnd = record.tableAt + Math.ceil((pages * 4) / 64) * 64;
		this.wal.staging.fill(0, record.tableAt + pages * 4, tableEnd);
		if (!lent) data.copy(this.wal.staging, tableEnd);
		this.wal.commit(record, lent ? data : undefined);
		return true;
	}

	zero(keepUnits = 0): boolean {
		const owner = { recordInstalled: () => this.events.push('zero installed'), recordFailed: () => this.events.push('zero failed') };
		const record = this.wal.begin(recordType.zero, 0, 9, false, keepUnits, owner);
		if (record === undefined) return false;
		this.wal.commit(record, undefined);
		return true;
	}

	async settled(): Promise<void> {
		await settlesSoon(new Promise(() => undefined), 40);
	}

	/** Waits until the records that were appended are installed, and a spare is ready. */
	async synced(): Promise<void> {
		await this.settled();
		await this.wal.synced();
	}

	/** What a reader finds from the start: type and LSN of each record. */
	async read(): Promise<string[]> {
		const reader = new LogReader(this.disk, '/wal', segmentBytes, stamp.walGeneration, 'readOnly');
		await reader.open(0, await this.disk.list('/wal'));
		const found: string[] = [];
		for (let lsn = 0; ;) {
			const record = await reader.record(lsn);
			if (record === undefined) break;
			found.push(`${record.type}@${lsn}`);
			lsn += record.lengthUnits;
		}
		await reader.close();
		return found;
	}

	#installed(batch: AppendBatch): void {
		this.events.push(`batch of ${batch.records}`);
		for (let index = 0; index < batch.records; index++) batch.record(index).owner?.recordInstalled();
	}
}

test('the records of one turn go in one write, and become visible in the order of their LSNs, before the log says that there is room', async (t) => {
	const log = await Log.open();
	for (const name of ['a', 'b', 'c']) t.true(log.append(name));
	t.is(log.disk.calls.length, 0, 'nothing is written in the turn itself');
	await log.settled();
	t.is(log.disk.of('write').length + log.disk.of('writev').length, 1);
	t.deepEqual(log.events.filter((event) => event !== 'room').slice(-4), ['batch of 3', 'a installed', 'b installed', 'c installed']);
	t.is(log.events.at(-1), 'room');
	t.is(log.wal.installedLSN, 3 * recordUnits);
	t.deepEqual(await log.read(), [`1@0`, `1@${recordUnits}`, `1@${2 * recordUnits}`]);
});

test('what comes while a write is under way goes as the next one; nothing overtakes', async (t) => {
	const log = await Log.open();
	const gate = log.disk.gate((call) => call.kind === 'write');
	log.append('a');
	await gate.reached;
	log.append('b');
	log.append('c');
	await log.settled();
	t.false(log.events.includes('b installed'));
	t.true(log.wal.hasPending(5, 6));
	t.false(log.wal.hasPending(6, 100));
	t.false(log.wal.isIdle);
	gate.release();
	await log.settled();
	t.deepEqual(
		log.events.filter((event) => event.startsWith('batch')),
		['batch of 1', 'batch of 2'],
	);
	t.true(log.wal.isIdle);
	t.false(log.wal.hasPending(0, 100));
});

test('lent data, staged data and headers stand in the log as they were appended', async (t) => {
	const log = await Log.open();
	log.append('a', 3, { lent: true, fill: 1 });
	log.append('b', 1, { fill: 2 });
	log.zero();
	log.append('c', 2, { lent: true, fill: 3 });
	await log.settled();
	log.append('d', 1, { fill: 4 });
	await log.settled();
	t.deepEqual(
		(await log.read()).map((one) => one.split('@')[0]),
		['1', '1', '2', '1', '1'],
	);
});

test('a small batch is written by the calling thread when no datasync runs, by the pool while one does', async (t) => {
	const log = await Log.open({ inlineAppendBytesMax: 1 << 20 });
	log.append('a');
	await log.settled();
	t.is(log.disk.of('writeSync').length, 1);
	const sync = log.disk.gate((call) => call.kind === 'datasync');
	const synced = log.wal.synced();
	await sync.reached;
	log.append('b');
	await log.settled();
	t.is(log.disk.of('writeSync').length, 1);
	t.true(log.events.includes('b installed'));
	sync.release();
	await synced;
});

test('a record that does not fit goes to the next segment behind a pad, and a reader passes over it', async (t) => {
	const log = await Log.open();
	let count = 0;
	for (let attempt = 0; attempt < 50 && log.wal.tailLSN < units; attempt++) {
		if (log.append(`record ${count}`, 2)) count++;
		else await log.settled();
	}
	await log.settled();
	t.is(log.wal.tailLSN, units + recordBytes(recordType.write, 2) / 64);
	const found = await log.read();
	t.is(found.at(-2)?.split('@')[0], '7');
	t.is(found.at(-1), `1@${units}`);
	t.is(found.length, count + 1);
});

test('keepUnits: the last segment keeps room for those that ask for less', async (t) => {
	const log = await Log.open();
	const keepUnits = units / 16;
	let refused = 0;
	for (let attempt = 0; attempt < 200 && refused < 3; attempt++) {
		if (!log.append('w', 1, { keepUnits })) refused++;
		await log.settled();
	}
	t.is(refused, 3);
	const left = 3 * units - log.wal.tailLSN;
	t.true(left >= keepUnits, `${left} units left`);
	t.true(log.zero());
	await log.settled();
	t.is(
		log.events.findLast((event) => event !== 'room'),
		'zero installed',
	);
});

test('a full log takes nothing, and goes on when the checkpoint has freed a segment', async (t) => {
	const log = await Log.open();
	for (let attempt = 0; attempt < 200; attempt++) {
		if (!log.append('w')) await log.settled();
		if (log.wal.tailLSN > 3 * units - recordUnits) break;
	}
	await log.settled();
	t.false(log.append('no room'));
	await log.wal.synced();
	log.events.length = 0;
	log.wal.segments.setCheckpoint(units);
	await log.settled();
	t.true(log.events.includes('room'));
	t.true(log.append('again'));
	await log.settled();
	t.true(log.events.includes('again installed'));
});

test('requests that arrive while a datasync runs share the next one, and none ends with the one that had begun before it', async (t) => {
	const log = await Log.open();
	log.append('a');
	await log.settled();
	log.disk.forget();
	const first = log.disk.gate((call) => call.kind === 'datasync');
	const early = log.wal.synced();
	await first.reached;
	log.append('b');
	await log.settled();
	const second = log.disk.gate((call) => call.kind === 'datasync');
	const late = Promise.all([log.wal.synced(), log.wal.synced(), log.wal.synced()]);
	first.release();
	await early;
	t.is(log.wal.durableLSN, recordUnits);
	t.false(await settlesSoon(late, 20));
	second.release();
	await late;
	t.is(log.disk.of('datasync').length, 2);
	t.is(log.wal.durableLSN, 2 * recordUnits);
});

test('what is durable already costs no datasync', async (t) => {
	const log = await Log.open();
	log.append('a');
	await log.synced();
	log.disk.forget();
	await log.wal.synced();
	t.is(log.disk.of('datasync').length, 0);
});

test('a record that is not installed when a sync begins is not called durable by it', async (t) => {
	const log = await Log.open();
	log.append('a');
	await log.settled();
	const write = log.disk.gate((call) => call.kind === 'write');
	log.append('b');
	await write.reached;
	await log.wal.synced();
	t.is(log.wal.durableLSN, recordUnits);
	write.release();
	await log.settled();
	t.is(log.wal.installedLSN, 2 * recordUnits);
	t.is(log.wal.durableLSN, recordUnits);
});

test('the data of direct records is synced before the log that tells of it, and its failure fails the log', async (t) => {
	const log = await Log.open();
	log.append('a');
	await log.settled();
	log.disk.forget();
	log.before = () => {
		log.events.push('before');
		t.is(log.disk.of('datasync').length, 0);
		return Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
	};
	await t.throwsAsync(log.wal.synced());
	t.is(log.disk.of('datasync').length, 0);
	t.true(log.events.some((event) => event.startsWith('failed')));
	await t.throwsAsync(log.wal.synced());
});

for (const inline of [0, 1 << 20]) {
	test(`a write that fails ${inline === 0 ? 'on the pool' : 'on the calling thread'} fails its records and those behind it, once each, and the log takes no more`, async (t) => {
		const log = await Log.open({ inlineAppendBytesMax: inline });
		log.append('before');
		await log.settled();
		log.events.length = 0;
		log.disk.fail((call) => call.kind.startsWith('write'), 'EIO');
		log.append('a');
		log.append('b');
		const sync = log.wal.synced();
		await t.throwsAsync(sync.then(() => log.settled()).then(() => log.wal.synced()));
		await log.settled();
		t.deepEqual(log.events.filter((event) => event !== 'room').toSorted(), [
			'a failed',
			'b failed',
			'failed: a write to the write-ahead log failed',
		]);
		t.false(log.append('c'));
		log.disk.heal();
		await t.throwsAsync(log.wal.synced(), undefined, 'a failure is for good');
		await log.wal.close();
		t.deepEqual(log.disk.late, []);
	});
}

test('a failed datasync fails all who wait for it, and is never tried again', async (t) => {
	const log = await Log.open();
	log.append('a');
	await log.settled();
	log.disk.fail((call) => call.kind === 'datasync', 'EIO', 1);
	const all = await Promise.allSettled([log.wal.synced(), log.wal.synced()]);
	t.deepEqual(
		all.map(({ status }) => status),
		['rejected', 'rejected'],
	);
	const syncs = log.disk.of('datasync').length;
	await t.throwsAsync(log.wal.synced());
	t.is(log.disk.of('datasync').length, syncs);
	t.is(log.wal.durableLSN, 0);
});

test('a log that failed elsewhere refuses its records, and those on their way only when their bytes are free', async (t) => {
	const log = await Log.open();
	const gate = log.disk.gate((call) => call.kind === 'write');
	log.append('on its way');
	await gate.reached;
	log.append('waiting');
	log.wal.fail();
	t.true(log.events.includes('waiting failed'));
	t.false(log.events.includes('on its way failed'));
	gate.release();
	await log.settled();
	t.true(log.events.includes('on its way failed'));
	t.false(log.events.some((event) => event.endsWith('installed')));
});

test('however many records are offered in a turn, each that was taken is installed and in the log', async (t) => {
	const log = await Log.open({ walSegmentsMax: 100 });
	let count = 0;
	for (let attempt = 0; attempt < 400; attempt++) {
		if (log.append(`${count}`)) count++;
		else await log.settled();
	}
	await log.settled();
	t.is(log.events.filter((event) => event.endsWith('installed')).length, count);
	t.is((await log.read()).filter((one) => one.startsWith('1@')).length, count);
});
