/**
 * Many sessions or hosts, many volumes, and a volume whose disk stalls: `npm run bench:fairness -- [options]`.
 *
 *     --seconds N       counted time of a round (1)         --size-mib N    of each volume (256)
 *     --rounds N        of each number of sessions (5)      --depth N       outstanding on each session (32)
 *     --rows REGEX      only these
 *     --no-stall        leave the stalled volume out        --unpinned      no taskset
 *     --append          adds the tables to bench/results.md
 *
 * The numbers of sessions of one load take turns in each round, and what is judged is the median of the rounds' ratios: a disk that is slow for some seconds is slow for all. The sum must not
 * fall as sessions grow, no session may have less than half of its share, and a stalled volume must leave p99 and pace of another one as they are. Exit 1 otherwise.
 */
import { parseArgs } from 'node:util';
import { untilIdle } from './cell.ts';
import { loadProcess } from './load-process.ts';
import type { LoadShape } from './load-shape.ts';
import { goOver } from './prefill.ts';
import { Progress } from './progress.ts';
import { appendResults } from './results-file.ts';
import { cpusFor, inRig, type Rig } from './rig.ts';
import { sharesInAll, sumFaults, sumRatio } from './shares.ts';
import { besideStalled, neighbourShapes, type NeighbourFigures } from './stalled.ts';
import { markdownTable, median } from './table.ts';

const { values } = parseArgs({
	options: {
		seconds: { type: 'string', default: '1' },
		rounds: { type: 'string', default: '5' },
		'size-mib': { type: 'string', default: '256' },
		depth: { type: 'string', default: '32' },
		rows: { type: 'string', default: '.' },
		'no-stall': { type: 'boolean', default: false },
		append: { type: 'boolean', default: false },
		unpinned: { type: 'boolean', default: false },
	},
});

const sessionCounts = [1, 4, 16];
const volumeCounts = [1, 8];
const volumesMax = Math.max(...volumeCounts);
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
/** A load beside a stalled volume is not measured in rounds, but so much longer. */
const stalledShare = 3;
const volumeBytes = Number(values['size-mib']) * 1024 * 1024;
const cpus = cpusFor(!values.unpinned);

interface Row {
	/** What the rows of different session counts have in common. */
	group: string;
	protocol: 'iscsi' | 'nvme';
	op: LoadShape['op'];
	volumes: number;
	sessions: number;
}

const all: readonly Row[] = (['iscsi', 'nvme'] as const).flatMap((protocol) =>
	(['read', 'write'] as const).flatMap((op) =>
		volumeCounts.flatMap((volumes) =>
			sessionCounts.map((sessions) => ({
				group: `${protocol} 4 KiB random ${op}, ${volumes} volume${volumes === 1 ? '' : 's'}`,
				protocol,
				op,
				volumes,
				sessions,
			})),
		),
	),
);
const chosen = all.filter(({ group, sessions }) => new RegExp(values.rows).test(`${group}, ${sessions} sessions`));
if (chosen.length === 0 && values['no-stall']) throw new Error(`--rows ${values.rows}: there is no such row`);

interface Measured extends Row {
	rounds: { iops: number; laneOps: readonly number[]; p99Us: number }[];
}

async function measureAll(rig: Rig, progress: Progress): Promise<Measured[]> {
	progress.step(`filling ${volumesMax} volumes of ${values['size-mib']} MiB`);
	for (const unit of rig.nvme.units) {
		await goOver('write', { ...rig.nvme, unit }, volumeBytes, (share) => progress.share((unit - 1 + share) / volumesMax));
		await goOver('read', { ...rig.nvme, unit }, volumeBytes);
	}
	await untilIdle(rig.server, 3000);
	progress.done('ready');
	const measured: Measured[] = chosen.map((row) => ({ ...row, rounds: [] }));
	for (const row of order(measured)) {
		progress.step(`round ${row.rounds.length + 1}/${rounds}, ${row.group}, ${row.sessions} sessions`);
		const access = rig[row.protocol];
		const [unit, ...otherUnits] = access.units.slice(0, row.volumes);
		const load = await loadProcess(
			{
				protocol: row.protocol,
				port: access.port,
				target: access.target,
				unit: unit!,
				otherUnits,
				separateHosts: true,
				shape: { op: row.op, sizeBytes: 4096, depth: Number(values.depth), lanes: row.sessions, pattern: 'random', flushEvery: 0 },
				seconds,
				warmUpSeconds: Math.min(1, seconds / 2),
				rangeBytes: 0,
			},
			cpus.client,
		);
		row.rounds.push({ iops: load.ops / load.seconds, laneOps: load.laneOps, p99Us: load.p99Us });
		progress.done(`${Math.round(load.ops / load.seconds)} IOPS`);
		if (row.op === 'write') await untilIdle(rig.server, 3000);
	}
	return measured;
}

/** Group by group, the rows of a group in turn, another one first in each round. */
function* order(measured: readonly Measured[]): Generator<Measured> {
	for (const group of new Set(measured.map((one) => one.group))) {
		const own = measured.filter((one) => one.group === group);
		for (let round = 0; round < rounds; round++) for (let turn = 0; turn < own.length; turn++) yield own[(round + turn) % own.length]!;
	}
}

function sessionsTable(measured: readonly Measured[]): string {
	return markdownTable(
		['load', 'sessions', 'IOPS in all (min–max)', 'of those of the fewest', 'smallest share', 'largest share', 'p99 µs (slowest session)'],
		1,
		measured.map((one) => {
			const sums = one.rounds.map(({ iops }) => iops);
			const fewest = measured.find(({ group }) => group === one.group)!;
			const { min, max } = sharesInAll(one);
			return [
				one.group,
				String(one.sessions),
				`${median(sums).toFixed(0)} (${Math.min(...sums).toFixed(0)}–${Math.max(...sums).toFixed(0)})`,
				`${sumRatio(one, fewest).toFixed(2)}×`,
				min.toFixed(2),
				max.toFixed(2),
				String(median(one.rounds.map(({ p99Us }) => p99Us))),
			];
		}),
	);
}

function stalledTable(figures: readonly NeighbourFigures[]): string {
	return markdownTable(
		[
			'load of the other volume',
			'over',
			'IOPS alone',
			'IOPS beside',
			'p50 µs alone',
			'p50 µs beside',
			'p99 µs alone',
			'p99 µs beside',
			'stalled reads/s',
		],
		2,
		figures.map(({ name, protocol, alone, beside, stalledIOPS }) => [
			name,
			protocol,
			...[alone, beside].map(({ ops, seconds }) => (ops / seconds).toFixed(0)),
			...[alone.p50Us, beside.p50Us, alone.p99Us, beside.p99Us].map(String),
			stalledIOPS.toFixed(0),
		]),
	);
}

const faults: string[] = [];
const tables: string[] = [];
const progress = new Progress(
	(chosen.length > 0 ? 1 + rounds * chosen.length : 0) + (values['no-stall'] ? 0 : 1 + 2 * neighbourShapes.length),
);
if (chosen.length > 0) {
	const settings = { volumes: volumesMax, volumeBytes, hosts: Math.max(...sessionCounts), cpu: cpus.server };
	const measured = await inRig(settings, async (rig) => await measureAll(rig, progress));
	tables.push(sessionsTable(measured));
	for (const group of new Set(measured.map((one) => one.group))) {
		const runs = measured.filter((one) => one.group === group);
		faults.push(...sumFaults(group, runs));
	}
}
if (!values['no-stall']) {
	const figures = await besideStalled({ seconds: stalledShare * seconds, volumeBytes, cpus }, progress);
	tables.push(`Beside a volume whose disk takes 100 ms for each read:\n\n${stalledTable(figures)}`);
	faults.push(...figures.filter(({ isMet }) => !isMet).map(stalledFault));
}
tables.push(faults.length === 0 ? 'All targets met.' : faults.map((fault) => `- MISSED: ${fault}`).join('\n'));
console.log(`\n${tables.join('\n\n')}`);
if (values.append) {
	const conditions = [
		cpus.client === undefined ? 'not pinned' : 'server on CPU 0 (all threads), client on CPU 1',
		`medians of ${rounds} rounds of ${seconds} s, depth ${values.depth} on each session`,
	];
	await appendResults('sessions, hosts and volumes', conditions, tables.join('\n\n'));
}
if (faults.length > 0) process.exitCode = 1;

function stalledFault({ protocol, name, alone, beside }: NeighbourFigures): string {
	const [before, after] = [alone, beside].map(({ ops, seconds, p99Us }) => `${(ops / seconds).toFixed(0)} IOPS and p99 ${p99Us} µs`);
	return `${protocol}, ${name}: ${before} alone, ${after} beside a stalled volume`;
}
