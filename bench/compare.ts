/**
 * tgtd and Blockport in turn under the same client: `npm run bench -- [options]`.
 *
 *     --seconds N        counted time of a cell (4)          --repetitions N    of everything (3); servers take turns: A B, B A, A B
 *     --rows REGEX       only these rows                     --quick            1 s, once, not appended
 *     --servers A,B      tgtd, blockport                     --size-mib N       of the LUN, filled with random data first (1024)
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
import { Blockport } from '../test/conformance/servers/blockport.ts';
import { foreignInitiatorName, type TargetServer } from '../test/conformance/servers/target-server.ts';
import { Tgtd } from '../test/conformance/servers/tgtd.ts';
import { measure, type Cell } from './cell.ts';
import { goOver } from './prefill.ts';
import { rows } from './rows.ts';
import { machine, markdown } from './table.ts';

const { values } = parseArgs({
	options: {
		seconds: { type: 'string' },
		repetitions: { type: 'string' },
		rows: { type: 'string', default: '.' },
		servers: { type: 'string', default: 'tgtd,blockport' },
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

async function makeServer(name: string): Promise<TargetServer> {
	const settings = {
		folder: join(folder, name),
		units: [{ target: 'iqn.2026-11.dev.blockport.test:bench', lun: 0, sizeBytes }],
		initiators: [foreignInitiatorName],
		cpu: isPinned ? 0 : undefined,
	};
	await mkdir(settings.folder);
	if (name === 'tgtd') return new Tgtd(settings, !values['tgtd-defaults']);
	if (name === 'blockport') return new Blockport(settings);
	throw new Error(`--servers: there is no ${name}; tgtd or blockport`);
}

const cells = new Map<string, Map<string, Cell[]>>();
const servers: TargetServer[] = [];
/** The one server that runs now, if any. */
const running: TargetServer[] = [];

async function runAll(): Promise<void> {
	for (const name of values.servers.split(',')) servers.push(await makeServer(name));
	for (const row of chosen) cells.set(row.name, new Map(servers.map((server) => [server.name, []])));
	const isFilled = new Set<string>();
	for (let repetition = 1; repetition <= repetitions; repetition++) {
		for (const server of repetition % 2 === 1 ? servers : servers.toReversed()) {
			running.push(server);
			await server.start();
			const unit = server.units[0]!;
			const op = isFilled.has(server.name) ? 'read' : 'write';
			isFilled.add(server.name);
			await goOver(op, server.port, unit.target, unit.lun, sizeBytes, (share) => {
				if (isTerminal) progress(`${server.name}: ${op === 'write' ? 'filling' : 'reading'} ${Math.round(share * 100)} %`);
			});
			if (op === 'write') await goOver('read', server.port, unit.target, unit.lun, sizeBytes);
			for (const row of chosen) {
				progress(`repetition ${repetition}/${repetitions}: ${server.name}, ${row.name}`);
				const cell = await measure(server, row, { seconds, warmUpSeconds: Math.min(1, seconds / 2), clientCPU: isPinned ? 1 : undefined });
				cells.get(row.name)?.get(server.name)?.push(cell);
				progress(
					`  ${Math.round(cell.iops)} IOPS, ${Math.round(cell.megabytesPerSecond)} MB/s, server CPU ${cell.serverCPUSeconds.toFixed(2)} s\n`,
				);
			}
			await server.stop();
			running.pop();
		}
	}
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
	await runAll();
} catch (error) {
	await running[0]?.kill().catch(() => undefined);
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
		`LUN of ${values['size-mib']} MiB, filled, page-cached`,
		values['tgtd-defaults'] ? 'tgtd with its default keys' : 'tgtd with the large bursts that Blockport offers',
	];
	await appendFile(
		join(import.meta.dirname, 'results.md'),
		`\n## ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC\n\n${conditions.join('; ')}.\n\n${table}\n`,
	);
}
