/**
 * How many bytes reach the disk for each byte that a client writes, once the flusher has carried everything: `npm run bench:amplification -- [options]`.
 *
 *     --mib N            client bytes of a row (2048; small random writes a quarter)       --protocol P    iscsi or nvme (nvme)
 *     --rows REGEX       only these                                                        --append        adds the table to bench/results.md
 *     --folder DIR       where the data lies; without it root has a file system on a loop device, which nobody else writes to, and others the system's temporary folder
 *     --shared-disk      with --folder, when other programs write to that disk too: judge by what the server's process wrote
 *
 * The disk's own count is the measure. The kernel's count for the process is shown beside it; it is too high where small writes go to data that the page cache holds in large folios (ext4
 * since Linux 6.16), since it takes each for its whole folio.
 *
 * Each volume was written to and was quiet before it is measured, so that the files of its log are there: they are made once for a volume (README), and cost nothing
 * for each byte. Files that a burst needs beyond those count. Exit 1 when a target is missed.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { untilIdle } from './cell.ts';
import { difference, traffic, type Traffic } from './disk-traffic.ts';
import { loadProcess } from './load-process.ts';
import type { LoadShape } from './load-shape.ts';
import { loopDisk, mayMount } from './loop-disk.ts';
import { Progress } from './progress.ts';
import { appendResults } from './results-file.ts';
import { inRig, type Rig } from './rig.ts';
import { markdownTable } from './table.ts';

const { values } = parseArgs({
	options: {
		mib: { type: 'string', default: '2048' },
		protocol: { type: 'string', default: 'nvme' },
		folder: { type: 'string' },
		rows: { type: 'string', default: '.' },
		append: { type: 'boolean', default: false },
		'shared-disk': { type: 'boolean', default: false },
	},
});

const kib = 1024;
const mebibyte = 1024 * kib;
const sequentialMax = 1.1;
const smallRandomMax = 2.2;
/** Longer than the 2 s after which a quiet volume is flushed. */
const quietMs = 3000;
const carriedMaxMs = 180_000;
const hourSeconds = 3600;
/** Of a volume, during a burst (README). */
const logBytesMax = 2048 * mebibyte;
/** For the file system itself. */
const spareBytes = 1024 * mebibyte;

interface Row {
	name: string;
	volume: number;
	shape: LoadShape;
	clientBytes: number;
	ratioMax: number;
}

const bytes = Number(values.mib) * mebibyte;
/** A sequential row must not come around to where it began, and a part at the end is for making the log. */
const volumeBytes = Math.ceil((bytes * 1.25) / mebibyte) * mebibyte;
const rangeBytes = Math.floor(volumeBytes / 16 / mebibyte) * 15 * mebibyte;

function row(name: string, volume: number, sizeBytes: number, depth: number, ratioMax: number, clientBytes = bytes): Row {
	const pattern = sizeBytes === 4 * kib ? 'random' : 'sequential';
	return { name, volume, shape: { op: 'write', sizeBytes, depth, pattern, lanes: 1, flushEvery: 0 }, clientBytes, ratioMax };
}

/** In this order: what is fresh in the first ones is filled in the later ones. */
const all: readonly Row[] = [
	row('128 KiB sequential, fresh volume', 0, 128 * kib, 8, sequentialMax),
	row('4 MiB sequential, fresh volume', 1, 4 * mebibyte, 4, sequentialMax),
	row('4 KiB random, fresh volume', 2, 4 * kib, 32, smallRandomMax, bytes / 4),
	row('128 KiB sequential, filled volume', 0, 128 * kib, 8, sequentialMax),
	row('4 MiB sequential, filled volume', 1, 4 * mebibyte, 4, sequentialMax),
	row('4 KiB random, filled volume', 0, 4 * kib, 32, smallRandomMax, bytes / 4),
];
const chosen = all.filter(({ name }) => new RegExp(values.rows).test(name));
if (chosen.length === 0) throw new Error(`--rows ${values.rows}: there is no such row`);
const volumes = 3;

interface Measured extends Row {
	writtenBytes: number;
	disk: Traffic;
}

async function dirtyPages(rig: Rig): Promise<number> {
	return (await rig.volumes()).reduce((sum, { statistics }) => sum + statistics.dirtyPages!, 0);
}

/** Until nothing is left in the log that the layer does not have, and nothing in the kernel that the disk does not have. */
async function carried(rig: Rig): Promise<void> {
	const endMs = performance.now() + carriedMaxMs;
	for (;;) {
		await untilIdle(rig.server, quietMs);
		if ((await dirtyPages(rig)) === 0) return;
		if (performance.now() > endMs) throw new Error(`there are dirty pages after ${carriedMaxMs / 1000} s of quiet`);
		await pause(1000);
	}
}

async function write(
	rig: Rig,
	volume: number,
	shape: LoadShape,
	clientBytes: number,
	offsetBytes: number,
	lengthBytes: number,
): Promise<number> {
	const access = values.protocol === 'iscsi' ? rig.iscsi : rig.nvme;
	const { opsInAll } = await loadProcess(
		{
			protocol: access.protocol,
			port: access.port,
			target: access.target,
			unit: access.units[volume]!,
			shape,
			seconds: hourSeconds,
			warmUpSeconds: 0,
			rangeBytes: lengthBytes,
			offsetBytes,
			bytesMax: clientBytes,
		},
		undefined,
	);
	return opsInAll * shape.sizeBytes;
}

async function measure(rig: Rig): Promise<Measured[]> {
	const { pid } = rig.server.process;
	const progress = new Progress(chosen.length + 1);
	progress.step('making the logs of the volumes');
	const small = row('', 0, 4 * kib, 32, Infinity).shape;
	for (let volume = 0; volume < volumes; volume++) await write(rig, volume, small, 8 * mebibyte, rangeBytes, volumeBytes - rangeBytes);
	await carried(rig);
	progress.done(`${shown(traffic(pid, rig.server.folder).processBytes)} MiB written, once for ${volumes} volumes`);
	const measured: Measured[] = [];
	for (const one of chosen) {
		progress.step(one.name);
		const before = traffic(pid, rig.server.folder);
		const writtenBytes = await write(rig, one.volume, one.shape, one.clientBytes, 0, rangeBytes);
		await carried(rig);
		const disk = difference(traffic(pid, rig.server.folder), before);
		measured.push({ ...one, writtenBytes, disk });
		progress.done(`${((disk.deviceBytes ?? disk.processBytes) / writtenBytes).toFixed(2)}×`);
	}
	return measured;
}

function shown(someBytes: number | undefined): string {
	return someBytes === undefined ? '–' : (someBytes / mebibyte).toFixed(0);
}

function isMet({ writtenBytes, disk, ratioMax }: Measured): boolean {
	const judgedBytes = values['shared-disk'] ? disk.processBytes : (disk.deviceBytes ?? disk.processBytes);
	return judgedBytes <= writtenBytes * ratioMax;
}

const under =
	values.folder ??
	(mayMount() && !values['shared-disk'] ? await loopDisk(volumes * (volumeBytes + logBytesMax) + spareBytes, undefined) : undefined);
const measured = await inRig({ volumes, volumeBytes, under }, measure);
const ratio = (one: Measured, diskBytes: number | undefined): string =>
	diskBytes === undefined ? '–' : `${(diskBytes / one.writtenBytes).toFixed(3)}×`;
const table = markdownTable(
	['writes', 'client MiB', 'disk MiB', 'ratio', 'process MiB', 'ratio', 'at most', 'judged'],
	1,
	measured.map((one) => [
		one.name,
		shown(one.writtenBytes),
		shown(one.disk.deviceBytes),
		ratio(one, one.disk.deviceBytes),
		shown(one.disk.processBytes),
		ratio(one, one.disk.processBytes),
		`${one.ratioMax}×`,
		isMet(one) ? 'met' : 'MISSED',
	]),
);
console.log(`\n${table}`);
if (values.append)
	await appendResults(
		'bytes to the disk for each client byte',
		[
			`over ${values.protocol}`,
			`${values.mib} MiB a row, a quarter of it at random`,
			values.folder === undefined && under !== undefined ? 'counted by a loop device' : 'counted by the disk',
		],
		table,
	);
if (!measured.every(isMet)) process.exitCode = 1;
