/**
 * Archiving a snapshot against `qemu-img convert` and `restic backup` of the same bytes, and what a load of 4 KiB writes notices of it: `npm run bench:archive -- [options]`.
 *
 *     --size-mib N       of the image (2048)               --repetitions N    (3)
 *     --load-seconds N   of each load (8)                  --append           adds the tables to bench/results.md
 *     --folder DIR       where everything lies; the system's temporary folder without it
 *
 * A quarter of the image is zeros, one random, one text, and one of what was there before. Then 1 % of it changes, in places of 64 KiB, and each archives what is new.
 * CPU seconds are those of the whole process, at Blockport those of the server. What Debian does not have installed is left out, with a sentence.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { ArchiveJobView } from '../src/admin/archive-schemas.ts';
import { ApiClient } from '../src/cli/api-client.ts';
import { changeImage, makeImage } from './archive-image.ts';
import { loadProcess } from './load-process.ts';
import type { LoadResult } from './load-shape.ts';
import { Progress } from './progress.ts';
import { appendResults } from './results-file.ts';
import { openRig, temporaryFolder, type Rig } from './rig.ts';
import { markdownTable } from './table.ts';

const { values } = parseArgs({
	options: {
		'size-mib': { type: 'string', default: '2048' },
		repetitions: { type: 'string', default: '3' },
		'load-seconds': { type: 'string', default: '8' },
		folder: { type: 'string' },
		append: { type: 'boolean', default: false },
	},
});

interface Run {
	seconds: number;
	cpuSeconds: number;
	/** What the archive takes on the disk, or has more than before. */
	bytes: number;
}

interface Contender {
	readonly name: string;
	full(repetition: number): Promise<Run>;
	/** undefined: it has none. */
	increment?(repetition: number): Promise<Run>;
}

const mebibyte = 2 ** 20;
const volume = 'image';
const sizeBytes = Number(values['size-mib']) * mebibyte;
const repetitions = Number(values.repetitions);
const folder = await temporaryFolder(values.folder);
const image = join(folder, 'image.raw');
const password = join(folder, 'password');
/** For the exports beside a load: more than it meets, since one that has the chunks already would cost an export less. */
const repositoriesOfLoad = 8;
const pollMs = 100;

/** A command, with its time and its CPU seconds as bash tells them. */
function timed(command: string, ...args: string[]): { seconds: number; cpuSeconds: number } {
	const { status, stderr } = spawnSync('bash', ['-c', 'TIMEFORMAT="times %R %U %S"; time "$@"', '--', command, ...args], {
		encoding: 'utf8',
	});
	const times = /^times (?<real>[\d.]+) (?<user>[\d.]+) (?<system>[\d.]+)$/m.exec(stderr)?.groups;
	if (status !== 0 || times === undefined) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
	return { seconds: Number(times['real']), cpuSeconds: Number(times['user']) + Number(times['system']) };
}

function isInstalled(command: string): boolean {
	return spawnSync('which', [command]).status === 0;
}

async function bytesIn(path: string): Promise<number> {
	if (!(await stat(path)).isDirectory()) return (await stat(path)).blocks * 512;
	let bytes = 0;
	for (const name of await readdir(path, { recursive: true })) {
		const one = await stat(join(path, name));
		if (one.isFile()) bytes += one.size;
	}
	return bytes;
}

function repositoryFolder(name: string): string {
	return join(folder, name);
}

async function addRepository(rig: Rig, name: string): Promise<void> {
	await mkdir(repositoryFolder(name));
	await rig.server.cli('archive', 'repository', 'add', name, '--folder', repositoryFolder(name), '--create');
}

/** The server's part, from the command's begin to its end. */
async function exported(rig: Rig, snapshot: string, repository: string): Promise<Run> {
	const before = await bytesIn(repositoryFolder(repository));
	const [cpuBefore, startedAt] = [rig.server.process.cpuSeconds(), performance.now()];
	await rig.server.cli('archive', 'export', `${volume}@${snapshot}`, repository);
	const seconds = (performance.now() - startedAt) / 1000;
	return {
		seconds,
		cpuSeconds: rig.server.process.cpuSeconds() - cpuBefore,
		bytes: (await bytesIn(repositoryFolder(repository))) - before,
	};
}

function blockport(rig: Rig): Contender {
	return {
		name: 'blockport archive export',
		full: async (repetition) => {
			await addRepository(rig, `r${repetition}`);
			return exported(rig, `s${2 * repetition}`, `r${repetition}`);
		},
		increment: (repetition) => exported(rig, `s${2 * repetition + 1}`, `r${repetition}`),
	};
}

function qemu(name: string, options: readonly string[]): Contender {
	return {
		name,
		full: async (repetition) => {
			const target = join(folder, `${options.length}-${repetition}.qcow2`);
			const times = timed('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, image, target);
			return { ...times, bytes: await bytesIn(target) };
		},
	};
}

const restic: Contender = {
	name: 'restic backup',
	full: async (repetition) => {
		timed('restic', 'init', '-q', '-r', repositoryFolder(`restic${repetition}`), '--password-file', password);
		return resticBackup(repetition);
	},
	increment: (repetition) => resticBackup(repetition),
};

async function resticBackup(repetition: number): Promise<Run> {
	const repository = repositoryFolder(`restic${repetition}`);
	const before = await bytesIn(repository);
	const times = timed('restic', 'backup', '-q', '--no-cache', '-r', repository, '--password-file', password, image);
	return { ...times, bytes: (await bytesIn(repository)) - before };
}

async function fileWith(text: string, path: string): Promise<void> {
	const file: FileHandle = await open(path, 'w', 0o600);
	await file.writeFile(text);
	await file.close();
}

function median(numbers: readonly number[]): number {
	return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

function load(rig: Rig): Promise<LoadResult> {
	return loadProcess(
		{
			...rig.iscsi,
			unit: 0,
			shape: { op: 'write', sizeBytes: 4096, depth: 8, pattern: 'random', lanes: 1, flushEvery: 0, ratePerSecond: 4000 },
			seconds: Number(values['load-seconds']),
			warmUpSeconds: 1,
			rangeBytes: 0,
		},
		undefined,
	);
}

/**
 * The same load while one export after the other runs. By the admin API, as a schedule would begin them: a command is a process that starts, several hundred milliseconds of a CPU beside which whoever wakes up waits
 * for the next tick, and would be measured instead of the export.
 */
async function loadBesideExports(rig: Rig, repetition: number): Promise<LoadResult> {
	const client = new ApiClient({ dataDir: rig.server.folder });
	const names = Array.from({ length: repositoriesOfLoad }, (_none, number) => `p${repetition}-${number}`);
	for (const name of names) await addRepository(rig, name);
	const until = new AbortController();
	let exports = 0;
	const exporting = (async () => {
		for (; !until.signal.aborted; exports++) {
			const name = names[exports % names.length]!;
			let job = await client.post<ArchiveJobView>(`/v1/repositories/${name}/exports`, { volume, snapshot: 's0', full: true });
			while (job.state === 'waiting' || job.state === 'running') {
				await pause(pollMs);
				job = await client.get<ArchiveJobView>(`/v1/archive/jobs/${job.id}`);
			}
			if (job.state !== 'done') throw new Error(`the export beside the load ended as ${job.state}: ${job.fault}`);
		}
	})();
	const result = await load(rig);
	until.abort();
	await exporting;
	return result;
}

const rig = await openRig({ folder, volumes: 1, volumeBytes: sizeBytes });
try {
	const contenders = [blockport(rig)];
	if (isInstalled('qemu-img')) {
		contenders.push(qemu('qemu-img convert, qcow2', []), qemu('qemu-img convert -c, zstd', ['-c', '-o', 'compression_type=zstd']));
	} else console.error('qemu-img is not installed: left out');
	if (isInstalled('restic')) contenders.push(restic);
	else console.error('restic is not installed: left out');
	await fileWith('a password', password);
	const progress = new Progress(1 + repetitions * (2 * contenders.length + 2));
	progress.step('the image');
	await makeImage(image, sizeBytes);
	await rig.server.cli('volume', 'import', volume, image, '--format', 'raw');
	await rig.server.cli('target', 'unmap', rig.iscsi.target, 'volume0');
	await rig.server.cli('target', 'map', rig.iscsi.target, volume, '--lun', '0');
	progress.done(`${values['size-mib']} MiB`);
	const runs = new Map<string, { full: Run[]; increment: Run[] }>(contenders.map(({ name }) => [name, { full: [], increment: [] }]));
	for (let repetition = 0; repetition < repetitions; repetition++) {
		for (const kind of ['full', 'increment'] as const) {
			if (kind === 'increment') await changeImage(rig.iscsi, image, sizeBytes, repetition);
			await rig.server.cli('snapshot', 'create', volume, `s${2 * repetition + (kind === 'full' ? 0 : 1)}`);
			for (const contender of contenders.toSorted(() => (repetition % 2 === 0 ? 0 : -1))) {
				progress.step(`repetition ${repetition + 1}/${repetitions}, ${kind}, ${contender.name}`);
				const run = await contender[kind]?.(repetition);
				if (run !== undefined) runs.get(contender.name)![kind].push(run);
				progress.done(run === undefined ? 'has none' : `${run.seconds.toFixed(2)} s, CPU ${run.cpuSeconds.toFixed(2)} s`);
			}
		}
	}
	const [without, beside]: [LoadResult[], LoadResult[]] = [[], []];
	for (let repetition = 0; repetition < repetitions; repetition++) {
		progress.step('4 KiB writes, nothing beside them');
		without.push(await load(rig));
		progress.done(`p99 ${without.at(-1)!.p99Us} µs`);
		progress.step('4 KiB writes beside exports');
		beside.push(await loadBesideExports(rig, repetition));
		progress.done(`p99 ${beside.at(-1)!.p99Us} µs`);
	}
	const lines = contenders.flatMap(({ name }) =>
		(['full', 'increment'] as const).flatMap((kind) => {
			const measured = runs.get(name)![kind];
			if (measured.length === 0) return [];
			const [seconds, cpu] = [median(measured.map((run) => run.seconds)), median(measured.map((run) => run.cpuSeconds))];
			const rate = (per: number): string => (sizeBytes / 1e6 / per).toFixed(0);
			return [
				[
					kind,
					name,
					seconds.toFixed(2),
					cpu.toFixed(2),
					rate(seconds),
					rate(cpu),
					(median(measured.map((run) => run.bytes)) / 1e6).toFixed(0),
				],
			];
		}),
	);
	const heads = ['what', 'by', 's', 'CPU s', 'MB of the image a second', 'a CPU second', 'MB stored'];
	const loads = [without, beside].map((results, index) => [
		index === 0 ? 'alone' : 'beside exports',
		...(['p50Us', 'p99Us', 'maxUs'] as const).map((field) => median(results.map((result) => result[field])).toFixed(0)),
		median(results.map((result) => result.ops / result.seconds)).toFixed(0),
	]);
	const text = `${markdownTable(heads, 2, lines)}\n\n${markdownTable(['4 KiB random writes, 4,000 a second asked for', 'p50 µs', 'p99 µs', 'max µs', 'a second'], 1, loads)}`;
	console.log(text);
	const title = 'archiving (bench:archive)';
	if (values.append) await appendResults(title, [`${values['size-mib']} MiB`, `${repetitions} repetitions, medians`], text);
} finally {
	await rig.server.kill();
}
