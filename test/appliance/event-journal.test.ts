import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { EventView } from '../../src/admin/event-schemas.ts';
import { EventJournal } from '../../src/appliance/event-journal.ts';
import { EventLog, eventsMax, messageLengthMax } from '../../src/appliance/event-log.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { type Logger, silent } from '../../src/os/logger.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { temporaryDirectory } from '../temporary.ts';

function event(sequence: number, message = `Event ${sequence}.`): EventView {
	return { sequence, at: new Date(sequence * 1000).toISOString(), severity: 'info', kind: 'test', message, volume: 'data' };
}

function events(from: number, to: number): EventView[] {
	return Array.from({ length: to - from + 1 }, (_, index) => event(from + index));
}

const numbers = (all: readonly EventView[]): number[] => all.map(({ sequence }) => sequence);

test('events are there after a restart, whole and with their times, and numbers go on', async (t) => {
	const directory = await temporaryDirectory(t);
	const disk = new FileDisk();
	const first = await EventJournal.open(disk, directory, silent);
	t.deepEqual(first.remembered, []);
	const before = new EventLog(silent, () => 1000, first);
	before.add({
		severity: 'warning',
		kind: 'volume-restored',
		message: 'Volume data is what it was: “früher”.',
		volume: 'data',
		snapshot: 's',
	});
	before.add({ severity: 'error', kind: 'schedule-failed', message: 'It failed.', schedule: 'hourly' });
	await first.close();
	const second = await EventJournal.open(disk, directory, silent);
	const after = new EventLog(silent, () => 2000, second);
	t.deepEqual(after.after(0, 10), before.after(0, 10));
	t.is(after.after(0, 1)[0]?.at, '1970-01-01T00:00:01.000Z');
	t.deepEqual(after.counts, { info: 0, warning: 0, error: 0 }, 'counts are since the start');
	after.add({ severity: 'info', kind: 'three', message: 'Three.' });
	await second.close();
	t.deepEqual(numbers((await EventJournal.open(disk, directory, silent)).remembered), [1, 2, 3]);
	t.is((await stat(join(directory, 'events'))).mode & 0o777, 0o600);
});

test('at the bound the oldest go, in memory and in the files, however many come and however long they are', async (t) => {
	const directory = await temporaryDirectory(t);
	const disk = new FileDisk();
	let journal = await EventJournal.open(disk, directory, silent);
	for (const one of events(1, eventsMax)) journal.add(one);
	await journal.close();
	t.deepEqual(numbers(await lines(directory, 'events')), numbers(events(1, eventsMax)));
	await t.throwsAsync(stat(join(directory, 'events.old')), { code: 'ENOENT' });
	journal = await EventJournal.open(disk, directory, silent);
	const log = new EventLog(silent, () => 0, journal);
	log.add({ severity: 'info', kind: 'one-more', message: '\u0001'.repeat(messageLengthMax + 1), volume: 'v'.repeat(63) });
	await journal.close();
	t.is((await lines(directory, 'events.old')).length, eventsMax);
	t.deepEqual(numbers(await lines(directory, 'events')), [eventsMax + 1]);
	journal = await EventJournal.open(disk, directory, silent);
	t.deepEqual(numbers(journal.remembered), numbers(events(2, eventsMax + 1)));
	const last = journal.remembered.at(-1);
	t.is(last?.message.length, messageLengthMax);
	t.true(last?.message.endsWith('…'));
	for (const one of events(eventsMax + 2, 3 * eventsMax + 2)) journal.add(one);
	await journal.close();
	t.deepEqual(
		numbers((await EventJournal.open(disk, directory, silent)).remembered),
		numbers(events(2 * eventsMax + 3, 3 * eventsMax + 2)),
	);
});

test('power loss at every disk operation: what was written before is there, and nothing that was not an event', async (t) => {
	let outcomes = 0;
	for (let seed = 0; seed < 4; seed++) {
		const whole = new SimulatedDisk({ seed });
		await live(whole, () => undefined);
		for (let k = 0; k < whole.operations; k++) {
			const disk = new SimulatedDisk({ seed });
			let written = 0;
			const lost = disk.powerLossAt(k);
			const living = live(disk, (sequence) => (written = sequence)).catch(() => undefined);
			await Promise.race([lost, living]);
			const survivor = disk.surviving(seed);
			const { remembered } = await EventJournal.open(survivor, 'data', silent);
			const last = remembered.at(-1)?.sequence ?? 0;
			t.true(last >= written, `seed ${seed}, operation ${k}: ${last} of ${written}`);
			t.deepEqual(remembered, events(Math.max(1, last - eventsMax + 1), last), `seed ${seed}, operation ${k}`);
			// And it goes on from there.
			await survivor.makeDirectory('data');
			const journal = await EventJournal.open(survivor, 'data', silent);
			journal.add(event(last + 1));
			await journal.close();
			t.is((await EventJournal.open(survivor, 'data', silent)).remembered.at(-1)?.sequence, last + 1, `seed ${seed}, operation ${k}`);
			outcomes++;
		}
	}
	t.true(outcomes > 60, String(outcomes));
});

/** Three lives of the process; in the last one the file is full. */
async function live(disk: SimulatedDisk, written: (sequence: number) => void): Promise<void> {
	await disk.makeDirectory('data');
	await disk.syncDirectory('.');
	let last = 0;
	for (const more of [1, eventsMax - 2, 1, 2]) {
		const journal = await EventJournal.open(disk, 'data', silent);
		for (const one of events(last + 1, last + more)) journal.add(one);
		await journal.close();
		last += more;
		written(last);
	}
}

test('a directory without space stops nothing: the log says so once, and what is in memory is written when there is space again', async (t) => {
	const disk = new SimulatedDisk({ seed: 5 });
	await disk.makeDirectory('data');
	const said: string[] = [];
	const log: Logger = { ...silent, warn: (_fields, message) => void said.push(message) };
	let journal = await EventJournal.open(disk, 'data', log);
	journal.add(event(1));
	await journal.close();
	for (const kind of ['open', 'write', 'datasync', 'syncDirectory'] as const) {
		disk.faultRule = (operation) => (operation.kind === kind ? { kind: 'error', code: 'ENOSPC' } : undefined);
		journal = await EventJournal.open(disk, 'data', log);
		journal.add(event(2));
		await disk.syncDirectory('.').catch(() => undefined);
		journal.add(event(3));
		if (kind === 'open') t.deepEqual(journal.remembered, [], 'what cannot be read does not stop a start');
		await t.notThrowsAsync(journal.close());
	}
	t.is(said.filter((message) => message.startsWith('events cannot be written (ENOSPC)')).length, 4, said.join('\n'));
	disk.faultRule = (operation) => (operation.kind === 'write' ? { kind: 'error', code: 'ENOSPC' } : undefined);
	journal = await EventJournal.open(disk, 'data', log);
	// More than are kept: the oldest give way, nothing grows.
	for (const one of events(4, eventsMax + 10)) journal.add(one);
	await new Promise((resolve) => setTimeout(resolve, 20));
	disk.faultRule = undefined;
	journal.add(event(eventsMax + 11));
	await journal.close();
	t.deepEqual(numbers((await EventJournal.open(disk, 'data', log)).remembered), numbers(events(12, eventsMax + 11)));
});

test('bytes that are no event are skipped: a torn end, flipped bits, zeros, text of others', async (t) => {
	const directory = await temporaryDirectory(t);
	const path = join(directory, 'events');
	const disk = new FileDisk();
	let journal = await EventJournal.open(disk, directory, silent);
	for (const one of events(1, 4)) journal.add(one);
	await journal.close();
	const good = await readFile(path);
	const second = good.indexOf('\n') + 1;
	const flipped = Buffer.from(good);
	flipped[second + 30]! ^= 1;
	for (const [bytes, expected] of [
		[flipped, [1, 3, 4]],
		[good.subarray(0, -1), [1, 2, 3, 4]],
		[good.subarray(0, -9), [1, 2, 3]],
		[Buffer.concat([good.subarray(0, -9), Buffer.alloc(4096)]), [1, 2, 3]],
		[Buffer.concat([Buffer.from('hello\n\n00000000 \n00000000 {}\n'), good]), [1, 2, 3, 4]],
		[Buffer.alloc(0), []],
	] as const) {
		await writeFile(path, bytes);
		journal = await EventJournal.open(disk, directory, silent);
		t.deepEqual(numbers(journal.remembered), [...expected]);
		journal.add(event(9));
		await journal.close();
		t.deepEqual(numbers((await EventJournal.open(disk, directory, silent)).remembered), [...expected, 9]);
	}
});

async function lines(directory: string, name: string): Promise<EventView[]> {
	const text = await readFile(join(directory, name), 'utf8');
	return text
		.trimEnd()
		.split('\n')
		.map((line) => JSON.parse(line.slice(9)) as EventView);
}
