import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pageBytes } from '../src/blockvol/limits.ts';
import { Volume } from '../src/blockvol/volume.ts';
import { FileDisk } from '../src/os/file-disk.ts';
import { silent } from '../src/os/logger.ts';
import type { LatencyHistogram } from './histogram.ts';
import { Progress } from './progress.ts';
import { appendResults } from './results-file.ts';
import { CopyOnWrite, median, prefill, Pulse, readFor, type ReadResult, writeFor } from './snapshot-load.ts';
import { markdownTable } from './table.ts';

/**
 * Snapshots of the engine, in process, over a real directory, without network and protocol: `npm run bench:snapshots -- [options]`.
 *
 *     --seconds N     counted time of a cell (3)        --size-mib N     of the volume (256)
 *     --counts LIST   snapshots for the reads (1,10,100,1000)
 *     --rounds N      pairs of before and after, of each kind (5)     --directory DIR  where (the current one)
 *     --in-a-row N    snapshots during which writes are timed (1000)
 *     --append        adds the tables to bench/results.md
 *
 * The time of one by what is unflushed; random 4 KiB reads under 1 to 1,000 of them; random 4 KiB writes before and right after one, also with the copy that a copy-on-write design
 * makes before the first write to a page, and with no snapshot between; latencies of writes while 1,000 are made in a row. Exit 1: reads or writes lose more than 10 %, or p99 rises by more than 20 %.
 */
const { values } = parseArgs({
	options: {
		directory: { type: 'string', default: '.' },
		'size-mib': { type: 'string', default: '256' },
		seconds: { type: 'string', default: '3' },
		rounds: { type: 'string', default: '5' },
		counts: { type: 'string', default: '1,10,100,1000' },
		'in-a-row': { type: 'string', default: '1000' },
		append: { type: 'boolean', default: false },
	},
});
const mib = 2 ** 20;
const sizeBytes = Number(values['size-mib']) * mib;
const pages = sizeBytes / pageBytes;
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const depth = 32;
const inARow = Number(values['in-a-row']);
const inARowPauseMs = 10;
const root = await mkdtemp(join(values.directory, 'bench-snapshots-'));
const disk = new FileDisk();
const progress = new Progress(3 + values.counts.split(',').length);
const faults: string[] = [];
const tables: string[] = [];

// The pauses of a merge keep no process alive.
const awake = setInterval(() => undefined, 1000);
try {
	tables.push(await creation(), await reads(), await writes(), await duringMany());
} finally {
	clearInterval(awake);
	await rm(root, { recursive: true, force: true });
}
const text = [...tables, ...faults.map((fault) => `Out of bounds: ${fault}.`)].join('\n\n');
console.log(text);
if (values.append) await appendResults('snapshots', [`a volume of ${values['size-mib']} MiB in process, ${seconds} s a cell`], text);
process.exitCode = faults.length === 0 ? 0 : 1;

async function fresh(tuning: NonNullable<Parameters<typeof Volume.open>[2]['tuning']> = {}): Promise<Volume> {
	const directory = join(root, crypto.randomUUID());
	await Volume.create(disk, directory, { uuid: crypto.randomUUID(), sizeBytes, blockSize: 4096 });
	return Volume.open(disk, directory, { log: silent, tuning });
}

/** How long one takes, by what lies in the log only. */
async function creation(): Promise<string> {
	progress.step('time of one');
	const lines: string[][] = [];
	for (const unflushed of [0, 16, 64, 256].filter((size) => size * mib <= sizeBytes)) {
		const times: number[] = [];
		for (let round = 0; round < rounds; round++) {
			const volume = await fresh({ flushIdleMs: 0, flushStartBytes: Infinity });
			await prefill(volume, unflushed * mib);
			const startedAt = performance.now();
			await volume.createSnapshot('one');
			times.push(performance.now() - startedAt);
			await volume.close();
		}
		lines.push([String(unflushed), median(times).toFixed(2), Math.max(...times).toFixed(2)]);
	}
	progress.done('made');
	return markdownTable(['unflushed MiB', 'ms, median', 'ms, longest'], 1, lines);
}

/** Under more and more snapshots, each with a few pages of its own, in turns with a volume that has one; all pages are in the kernel's memory. */
async function reads(): Promise<string> {
	const [one, many] = [await fresh(), await fresh()];
	for (const volume of [one, many]) await prefill(volume, sizeBytes);
	await one.createSnapshot('one');
	await one.flushToLayers();
	const lines: string[][] = [];
	let made = 0;
	for (const count of values.counts.split(',').map(Number)) {
		progress.step(`reads under ${count}`);
		for (; made < count; made++) {
			await writeFor(many, pages, 8, 1, 0);
			await many.createSnapshot(`s${made}`);
		}
		await many.flushToLayers();
		const pairs: { one: ReadResult; many: ReadResult }[] = [];
		for (const volume of [one, many]) await readFor(volume, pages, seconds / 2);
		for (let round = 0; round < rounds; round++) {
			pairs.push({ one: await readFor(one, pages, seconds / 2), many: await readFor(many, pages, seconds / 2) });
		}
		const ratios = pairs.map((pair) => pair.many.iops / pair.one.iops);
		const [ratio, iops, cpuUs] = [
			median(ratios),
			median(pairs.map((pair) => pair.many.iops)),
			median(pairs.map((pair) => pair.many.cpuUs)),
		];
		const waited = pairs.reduce((sum, pair) => sum + pair.many.waited, 0);
		const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
		lines.push([String(count), iops.toFixed(0), ratio.toFixed(2), spread, cpuUs.toFixed(2), String(waited)]);
		progress.done(`${iops.toFixed(0)} IOPS`);
		if (ratio < 0.9) faults.push(`reads under ${count} snapshots have ${(100 * ratio).toFixed(0)} % of those under one`);
	}
	for (const volume of [one, many]) await volume.close();
	const heads = [
		'snapshots',
		'4 KiB random read IOPS',
		'to one snapshot, median of pairs',
		'least–most',
		'µs of CPU each',
		'waited for the disk',
	];
	return markdownTable(heads, 1, lines);
}

/** Two spans of writes one behind the other, with a snapshot between them and without: what the first leaves to the flusher the second pays in both. */
async function writes(): Promise<string> {
	progress.step('writes before and after one');
	const volume = await fresh();
	const copying = await CopyOnWrite.open(disk, join(root, 'copies'), pages);
	await prefill(volume, sizeBytes);
	const write = async (before?: (page: number) => Promise<void> | undefined): Promise<number> =>
		(await writeFor(volume, pages, Infinity, depth, seconds, before)).iops;
	const kinds = ['nothing', 'a snapshot', 'a snapshot, and a copy of each page before its first write'] as const;
	const pairs = new Map(kinds.map((kind) => [kind, [] as { before: number; after: number }[]]));
	for (let round = 0; round < rounds; round++) {
		for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
			await volume.flushToLayers();
			await volume.merged();
			const before = await write();
			if (kind !== 'nothing') await volume.createSnapshot('between');
			copying.begin();
			const after = await write(kind === kinds[2] ? (page) => copying.beforeWrite(page) : undefined);
			pairs.get(kind)!.push({ before, after });
			if (kind !== 'nothing') await volume.deleteSnapshot('between');
		}
	}
	await copying.close();
	await volume.close();
	const ratios = (kind: (typeof kinds)[number]): number[] => pairs.get(kind)!.map(({ before, after }) => after / before);
	const kept = median(ratios('a snapshot')) / median(ratios('nothing'));
	progress.done(`${kept.toFixed(2)} of what there is without a snapshot`);
	if (kept < 0.9) faults.push(`writes right after a snapshot have ${(100 * kept).toFixed(0)} % of those without one`);
	const lines = kinds.map((kind) => {
		const all = ratios(kind);
		const [before, after] = (['before', 'after'] as const).map((which) => median(pairs.get(kind)!.map((pair) => pair[which])).toFixed(0));
		return [kind, before!, after!, median(all).toFixed(2), `${Math.min(...all).toFixed(2)}–${Math.max(...all).toFixed(2)}`];
	});
	const heads = [
		'4 KiB random writes at depth 32; between two spans',
		'IOPS before',
		'after',
		'after to before, median of pairs',
		'least–most',
	];
	return `${markdownTable(heads, 1, lines)}\n\nThe last line is measured, not computed: a copy-on-write design reads the page and writes it elsewhere first; the map that it keeps of that is left out.`;
}

/** With a pause between them, and without: then the log is being synced all the time, since each is durable before the next begins, and every write meets a sync. */
async function duringMany(): Promise<string> {
	progress.step(`latency during ${inARow} in a row`);
	const writes: string[][] = [];
	const made: string[][] = [];
	for (const pauseMs of [inARowPauseMs, 0]) {
		const { quiet, busy, times, inAll } = await burst(pauseMs);
		const rise = busy.quantileUs(0.99) / quiet.quantileUs(0.99);
		const how = `${inARow} in a row, ${pauseMs === 0 ? 'without a pause' : `${pauseMs} ms apart`}`;
		if (rise > 1.2) faults.push(`p99 of writes is ${rise.toFixed(2)} times that of before during ${how}`);
		const line = (what: string, histogram: LatencyHistogram, to: string): string[] => {
			const us = [0.5, 0.99, 0.999].map((share) => String(histogram.quantileUs(share)));
			return [what, String(histogram.total), ...us, String(histogram.maxUs), to];
		};
		writes.push(line('without snapshots', quiet, '1.00'), line(how, busy, rise.toFixed(2)));
		made.push([how, inAll.toFixed(1), median(times).toFixed(2), Math.max(...times).toFixed(1)]);
	}
	progress.done(made.map(([, , middle, longest]) => `${middle} ms, the longest ${longest}`).join('; '));
	const heads = ['4 KiB random writes at depth 8', 'writes', 'p50 µs', 'p99 µs', 'p99.9 µs', 'longest µs', 'p99 to before'];
	return `${markdownTable(heads, 1, writes)}\n\n${markdownTable(['snapshots meanwhile', 's in all', 'ms each, median', 'ms, longest'], 1, made)}`;
}

interface Burst {
	readonly quiet: LatencyHistogram;
	readonly busy: LatencyHistogram;
	/** Milliseconds of each snapshot. */
	readonly times: readonly number[];
	/** Seconds. */
	readonly inAll: number;
}

async function burst(pauseMs: number): Promise<Burst> {
	const volume = await fresh();
	await prefill(volume, sizeBytes);
	await volume.flushToLayers();
	await Pulse.over(volume, pages, () => pause(seconds * 500));
	const quiet = await Pulse.over(volume, pages, () => pause(seconds * 2000));
	const times: number[] = [];
	const startedAt = performance.now();
	const busy = await Pulse.over(volume, pages, async () => {
		for (let at = 0; at < inARow; at++) {
			const begunAt = performance.now();
			await volume.createSnapshot(`s${at}`);
			times.push(performance.now() - begunAt);
			if (pauseMs > 0) await pause(pauseMs);
		}
	});
	const inAll = (performance.now() - startedAt) / 1000;
	await volume.close();
	return { quiet, busy, times, inAll };
}

function pause(ms: number): Promise<void> {
	return new Promise((resolve) => {
		setTimeout(resolve, ms);
	});
}
