/**
 * iSCSI and NVMe/TCP on one server and one volume, in turn every tenth of a second: `npm run bench:pair -- [options]`.
 *
 *     --rows REGEX        only these rows                     --repetitions N     of each row (7)
 *     --slice-ms N        one turn (100)                      --slices N          turns of a side in a repetition (10)
 *     --size-mib N        of the volume, filled first (1024)  --folder DIR        where it lies (the temporary folder)
 *     --bare              bare-server.c too, on rows of reads --against LAUNCHER  another build's bin/blockport beside it, with a volume of its own
 *     --unpinned          no taskset                          --append            adds the tables to bench/results.md
 *
 * compare.ts has a server and a volume for each column, and they meet the disk and the machine at different moments; what differs by 5 % shows only here. Clients stay connected, one process for each side, and only one
 * has something to do at a time. CPU time is that of all threads of the server, by the scheduler's own count.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { TargetServer } from '../test/conformance/servers/target-server.ts';
import { untilIdle } from './cell.ts';
import { contender } from './contender.ts';
import type { LoadOptions } from './load-shape.ts';
import { goOver } from './prefill.ts';
import { Progress } from './progress.ts';
import { appendResults } from './results-file.ts';
import { cpusFor, openRig, temporaryFolder } from './rig.ts';
import { rows, type Row } from './rows.ts';
import { SlicedLoad } from './sliced-load.ts';
import { order, together, turnRatios, turnsTable, type MeasuredRow, type Turn } from './turns.ts';

const { values } = parseArgs({
	options: {
		rows: { type: 'string', default: '.' },
		repetitions: { type: 'string', default: '7' },
		'slice-ms': { type: 'string', default: '100' },
		slices: { type: 'string', default: '10' },
		'size-mib': { type: 'string', default: '1024' },
		folder: { type: 'string' },
		bare: { type: 'boolean', default: false },
		against: { type: 'string' },
		unpinned: { type: 'boolean', default: false },
		append: { type: 'boolean', default: false },
	},
});
const repetitions = Number(values.repetitions);
const sliceMs = Number(values['slice-ms']);
const slices = Number(values.slices);
const warmUpMs = 500;
const sizeBytes = Number(values['size-mib']) * 1024 * 1024;
/** After writes the flusher has work for a while, which is the next row's no more. */
const quietMs = { read: 250, write: 2750 };
const cpus = cpusFor(!values.unpinned);
const chosen = rows.filter((row): row is Row & { shape: object } => row.shape !== undefined && new RegExp(values.rows).test(row.name));
if (chosen.length === 0) throw new Error(`--rows ${values.rows}: there is no such row with a load of our own`);

/** A server by one protocol. */
interface Side extends Pick<LoadOptions, 'protocol' | 'port' | 'target' | 'unit'> {
	name: string;
	server: TargetServer;
}

async function openSides(folder: string): Promise<Side[]> {
	const sides: Side[] = [];
	const builds = [
		{ suffix: '', launcher: undefined },
		...(values.against === undefined ? [] : [{ suffix: ', other build', launcher: values.against }]),
	];
	for (const { suffix, launcher } of builds) {
		const { server, iscsi, nvme } = await openRig({
			folder: join(folder, `build${sides.length}`),
			volumes: 1,
			volumeBytes: sizeBytes,
			cpu: cpus.server,
			...(launcher === undefined ? {} : { launcher }),
		});
		sides.push(
			{ name: `iSCSI${suffix}`, server, ...iscsi, unit: iscsi.units[0]! },
			{ name: `NVMe${suffix}`, server, ...nvme, unit: nvme.units[0]! },
		);
	}
	if (!values.bare) return sides;
	const own = join(folder, 'bare');
	await mkdir(own);
	const bare = await contender('bare-c', { folder: own, sizeBytes, cpu: cpus.server });
	await bare.start();
	return [...sides, { ...plain({ ...bare, port: bare.port() }), name: 'bare C', server: bare.server }];
}

async function fill(sides: readonly Side[], progress: Progress): Promise<void> {
	for (const side of sides) {
		if (side.protocol === 'nvme') continue;
		progress.step(`filling and reading ${values['size-mib']} MiB`);
		// Twice: what overwrites is another case than what fills (docs/decisions/007).
		for (let pass = 0; pass < 2 && side.protocol === 'iscsi'; pass++)
			await goOver('write', side, sizeBytes, (share) => progress.share((pass + share) / 3));
		await goOver('read', side, sizeBytes, (share) => progress.share((2 + share) / 3));
		await untilIdle(side.server, quietMs.write);
		progress.done('ready');
	}
}

async function measureRow({ name, shape }: Row & { shape: object }, sides: readonly Side[], progress: Progress): Promise<MeasuredRow> {
	const able = sides.filter(({ protocol }) => protocol !== 'bare' || shape.op === 'read');
	const clients = new Map<Side, SlicedLoad>();
	const turns = new Map<string, Turn[]>(able.map((side) => [side.name, []]));
	const slice = async (side: Side, ms: number): Promise<Turn> => {
		const before = side.server.process.cpuSecondsByScheduler();
		const done = await clients.get(side)!.slice(ms);
		return { ...done, serverCPUSeconds: side.server.process.cpuSecondsByScheduler() - before };
	};
	progress.step(name);
	for (const side of able) clients.set(side, await SlicedLoad.open({ ...plain(side), shape, rangeBytes: sizeBytes }, cpus.client));
	// Compilers and caches, on both ends.
	for (const side of order(able, 2, 0)) await slice(side, warmUpMs);
	for (let repetition = 0; repetition < repetitions; repetition++) {
		const measured = new Map<Side, Turn[]>(able.map((side) => [side, []]));
		for (const side of order(able, slices, repetition)) measured.get(side)!.push(await slice(side, sliceMs));
		for (const [side, own] of measured) turns.get(side.name)!.push(together(own));
		progress.share((repetition + 1) / repetitions);
	}
	for (const client of clients.values()) await client.close();
	for (const server of new Set(able.map((side) => side.server))) await untilIdle(server, quietMs[shape.op]);
	progress.done([...turns].map(([side, own]) => `${side} ${summary(together(own))}`).join(', '));
	return { row: name, turns };
}

/** What a client is told, over IPC: nothing but data. */
function plain({ protocol, port, target, unit }: Side): Pick<Side, 'protocol' | 'port' | 'target' | 'unit'> {
	return { protocol, port, target, unit };
}

function summary({ ops, seconds, serverCPUSeconds }: Turn): string {
	return `${(ops / seconds).toFixed(0)} IOPS at ${((serverCPUSeconds * 1e6) / ops).toFixed(2)} µs`;
}

const sides = await openSides(await temporaryFolder(values.folder));
const measured: MeasuredRow[] = [];
try {
	const progress = new Progress(sides.filter(({ protocol }) => protocol !== 'nvme').length + chosen.length);
	await fill(sides, progress);
	for (const row of chosen) measured.push(await measureRow(row, sides, progress));
} finally {
	await Promise.all([...new Set(sides.map(({ server }) => server))].map(async (server) => await server.kill()));
}

const others = ['iSCSI', 'NVMe'].map((side) => [side, `${side}, other build`] as const);
const tables = [turnRatios(measured, [['NVMe', 'iSCSI'], ['NVMe', 'bare C'], ...others]), turnsTable(measured)].join('\n\n');
console.log(`\n${tables}`);
if (values.append) {
	const conditions = [
		cpus.client === undefined ? 'not pinned' : 'server on CPU 0 (all threads), clients on CPU 1',
		`one server, one volume of ${values['size-mib']} MiB, filled, page-cached; turns of ${sliceMs} ms, ${slices} for each side in a repetition; medians of ${repetitions} repetitions (smallest–largest)`,
	];
	await appendResults('both protocols in turn (bench:pair)', conditions, tables);
}
