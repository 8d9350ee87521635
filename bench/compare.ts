/**
 * tgtd, Blockport over iSCSI and over NVMe/TCP, and a bare server in C, in turn under the same client: `npm run bench -- [options]`.
 *
 *     --seconds N        counted time of a cell (4)          --repetitions N    of everything (3)
 *     --rows REGEX       only these rows                     --quick            1 s, once, not appended
 *     --servers A,B      tgtd, tgtd-defaults, blockport, blockport-nvme, bare-c
 *     --size-mib N       of the unit, filled with random data first (1024)
 *     --unpinned         no taskset                          --no-append        leave bench/results.md alone
 *     --judge            exit 1 when a target is missed
 *
 * All servers run from the beginning, on one file system, and take turns at each row; who begins changes with the row and the repetition, so that a machine whose pace drifts treats all
 * alike. Pinned (the default), servers have CPU 0, thread pools included, and the client CPU 1. Data is in the page cache. After each cell the harness waits until its
 * server is idle and the disk has caught up.
 */
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NoCompiler } from './bare-server.ts';
import { measure, type Cell } from './cell.ts';
import { contender, contenderNames, isAble, isContender, isWritable, type Contender } from './contender.ts';
import { goOver } from './prefill.ts';
import { Progress } from './progress.ts';
import { ratioTable, verdicts } from './ratios.ts';
import { appendResults } from './results-file.ts';
import { temporaryFolder } from './rig.ts';
import { rows } from './rows.ts';
import { markdown } from './table.ts';

const { values } = parseArgs({
	options: {
		seconds: { type: 'string' },
		repetitions: { type: 'string' },
		rows: { type: 'string', default: '.' },
		servers: { type: 'string', default: contenderNames.join(',') },
		'size-mib': { type: 'string', default: '1024' },
		quick: { type: 'boolean', default: false },
		unpinned: { type: 'boolean', default: false },
		'no-append': { type: 'boolean', default: false },
		judge: { type: 'boolean', default: false },
	},
});
const seconds = Number(values.seconds ?? (values.quick ? 1 : 4));
const repetitions = Number(values.repetitions ?? (values.quick ? 1 : 3));
const chosen = rows.filter((row) => new RegExp(values.rows).test(row.name));
if (chosen.length === 0) throw new Error(`--rows ${values.rows}: one of ${rows.map(({ name }) => name).join(' ')}`);
const isPinned = !values.unpinned && availableParallelism() > 1;
const sizeBytes = Number(values['size-mib']) * 1024 * 1024;
const folder = await temporaryFolder();
const cells = new Map<string, Map<string, Cell[]>>();
/** Those that run. */
const contenders: Contender[] = [];

/** Undefined, with a sentence, where this machine cannot run it. */
async function startContender(name: string): Promise<Contender | undefined> {
	if (!isContender(name)) throw new Error(`--servers: there is no ${name}; ${contenderNames.join(', ')}`);
	const own = join(folder, name);
	await mkdir(own);
	const made = await contender(name, { folder: own, sizeBytes, cpu: isPinned ? 0 : undefined });
	try {
		await made.start();
	} catch (error) {
		if (!(error instanceof NoCompiler)) throw error;
		console.error(error.message);
		return undefined;
	}
	return made;
}

/** The first server of a turn is another one for each row and repetition. */
function turns<Item>(items: readonly Item[], first: number): Item[] {
	const at = first % Math.max(1, items.length);
	return [...items.slice(at), ...items.slice(0, at)];
}

async function fill(progress: Progress): Promise<void> {
	for (const one of contenders) {
		const unit = { protocol: one.protocol, port: one.port(), target: one.target, unit: one.unit };
		progress.step(`${one.name}: filling and reading ${values['size-mib']} MiB`);
		if (isWritable(one)) await goOver('write', unit, sizeBytes, (share) => progress.share(share / 2));
		await goOver('read', unit, sizeBytes, (share) => progress.share((1 + share) / 2));
		progress.done('ready');
	}
}

async function runAll(): Promise<void> {
	for (const name of values.servers.split(',')) {
		const started = await startContender(name);
		if (started !== undefined) contenders.push(started);
	}
	for (const row of chosen) cells.set(row.name, new Map(contenders.filter((one) => isAble(one, row)).map(({ name }) => [name, []])));
	const cellCount = repetitions * chosen.reduce((sum, row) => sum + contenders.filter((one) => isAble(one, row)).length, 0);
	const progress = new Progress(contenders.length + cellCount);
	await fill(progress);
	for (let repetition = 0; repetition < repetitions; repetition++) {
		for (const [index, row] of chosen.entries()) {
			for (const one of turns(
				contenders.filter((one) => isAble(one, row)),
				index + repetition,
			)) {
				progress.step(`repetition ${repetition + 1}/${repetitions}, ${row.name}, ${one.name}`);
				const cell = await measure(one, row, { seconds, warmUpSeconds: Math.min(1, seconds / 2), clientCPU: isPinned ? 1 : undefined });
				cells.get(row.name)?.get(one.name)?.push(cell);
				progress.done(
					`${Math.round(cell.iops)} IOPS, ${Math.round(cell.megabytesPerSecond)} MB/s, server CPU ${cell.serverCPUSeconds.toFixed(2)} s`,
				);
			}
		}
	}
	for (const one of contenders.splice(0)) await one.server.stop();
}

try {
	await runAll();
} finally {
	for (const one of contenders) await one.server.kill();
}

const judged = verdicts(cells);
const table = [markdown(cells), ratioTable(cells), judged.map(({ text }) => text).join('\n')].filter((text) => text !== '').join('\n\n');
console.log(`\n${table}`);
if (!values['no-append'] && !values.quick) {
	const conditions = [
		isPinned ? 'servers on CPU 0 (all threads), client on CPU 1' : 'not pinned',
		`medians of ${repetitions} repetitions of ${seconds} s, servers in turn at each row`,
		`unit of ${values['size-mib']} MiB, filled, page-cached`,
		'tgtd with the large bursts that Blockport offers, and with its default keys',
	];
	await appendResults(undefined, conditions, table);
}
if (values.judge && judged.some(({ isMet }) => !isMet)) process.exitCode = 1;
