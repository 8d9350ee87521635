/**
 * tgtd and Blockport, over iSCSI and over NVMe/TCP, in turn under the same client: `npm run bench -- [options]`.
 *
 *     --seconds N        counted time of a cell (4)          --repetitions N    of everything (3); servers take turns: A B, B A, A B
 *     --rows REGEX       only these rows                     --quick            1 s, once, not appended
 *     --servers A,B      tgtd, blockport, blockport-nvme     --size-mib N       of the unit, filled with random data first (1024)
 *     --unpinned         no taskset                          --no-append        leave bench/results.md alone
 *     --tgtd-defaults    tgtd's own small PDUs and InitialR2T=Yes instead of the large bursts that Blockport offers too
 *
 * Pinned (the default), the whole server, thread pool included, has CPU 0 and the client CPU 1. Data is in the page cache; both servers keep it
 * on the same file system. Only one server runs at a time, and after each cell the harness waits until the server is idle and the disk has caught up.
 */
import { appendFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measure, type Cell } from './cell.ts';
import { contender, contenderNames, isContender, type Contender } from './contender.ts';
import { goOver } from './prefill.ts';
import { rows, type Row } from './rows.ts';
import { machine, markdown } from './table.ts';

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
		'tgtd-defaults': { type: 'boolean', default: false },
	},
});
const seconds = Number(values.seconds ?? (values.quick ? 1 : 4));
const repetitions = Number(values.repetitions ?? (values.quick ? 1 : 3));
const chosen = rows.filter((row) => new RegExp(values.rows).test(row.name));
const isPinned = !values.unpinned && availableParallelism() > 1;
const sizeBytes = Number(values['size-mib']) * 1024 * 1024;
const folder = await mkdtemp(join(tmpdir(), 'blockport-bench-'));

const isTerminal = process.stderr.isTTY;
function progress(text: string): void {
	process.stderr.write(isTerminal ? `\r\x1b[K${text}` : `${text}\n`);
}

async function makeContender(name: string): Promise<Contender> {
	if (!isContender(name)) throw new Error(`--servers: there is no ${name}; ${contenderNames.join(', ')}`);
	const own = join(folder, name);
	await mkdir(own);
	return await contender(name, { folder: own, sizeBytes, cpu: isPinned ? 0 : undefined, isTgtdUntuned: values['tgtd-defaults'] });
}

const cells = new Map<string, Map<string, Cell[]>>();
const contenders: Contender[] = [];
/** The one server that runs now, if any. */
const running: Contender[] = [];

/** Those who can run a row: iscsi-perf speaks one protocol only. */
function ableTo(row: Row): Contender[] {
	return contenders.filter(({ protocol }) => row.shape !== undefined || protocol === 'iscsi');
}

async function runAll(): Promise<void> {
	for (const name of values.servers.split(',')) contenders.push(await makeContender(name));
	for (const row of chosen) cells.set(row.name, new Map(ableTo(row).map(({ name }) => [name, []])));
	const isFilled = new Set<string>();
	for (let repetition = 1; repetition <= repetitions; repetition++) {
		for (const one of repetition % 2 === 1 ? contenders : contenders.toReversed()) {
			running.push(one);
			await one.start();
			const op = isFilled.has(one.name) ? 'read' : 'write';
			isFilled.add(one.name);
			const unit = { protocol: one.protocol, port: one.port(), target: one.target, unit: one.unit };
			await goOver(op, unit, sizeBytes, (share) => {
				if (isTerminal) progress(`${one.name}: ${op === 'write' ? 'filling' : 'reading'} ${Math.round(share * 100)} %`);
			});
			if (op === 'write') await goOver('read', unit, sizeBytes);
			for (const row of chosen.filter((row) => ableTo(row).includes(one))) {
				progress(`repetition ${repetition}/${repetitions}: ${one.name}, ${row.name}`);
				const cell = await measure(one, row, { seconds, warmUpSeconds: Math.min(1, seconds / 2), clientCPU: isPinned ? 1 : undefined });
				cells.get(row.name)?.get(one.name)?.push(cell);
				progress(
					`  ${Math.round(cell.iops)} IOPS, ${Math.round(cell.megabytesPerSecond)} MB/s, server CPU ${cell.serverCPUSeconds.toFixed(2)} s\n`,
				);
			}
			await one.server.stop();
			running.pop();
		}
	}
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
	await runAll();
} catch (error) {
	await running[0]?.server.kill().catch(() => undefined);
	throw error;
} finally {
	await rm(folder, { recursive: true, force: true });
}

const table = markdown(cells);
console.log(`\n${table}`);
if (!values['no-append'] && !values.quick) {
	const conditions = [
		machine(),
		isPinned ? 'server on CPU 0 (all threads), client on CPU 1' : 'not pinned',
		`medians of ${repetitions} repetitions of ${seconds} s`,
		`unit of ${values['size-mib']} MiB, filled, page-cached`,
		values['tgtd-defaults'] ? 'tgtd with its default keys' : 'tgtd with the large bursts that Blockport offers',
	];
	await appendFile(
		join(import.meta.dirname, 'results.md'),
		`\n## ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC\n\n${conditions.join('; ')}.\n\n${table}\n`,
	);
}
