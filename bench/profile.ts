/**
 * Where Blockport's main thread spends its time on one row: `node bench/profile.ts ROW [--server blockport-nvme] [--seconds 5] [--keep FILE]`.
 *
 * Runs the server with --cpu-prof, loads it, stops it, and prints the functions and the files with the most self time. --keep copies the profile
 * (for Chrome's developer tools).
 */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { measure } from './cell.ts';
import { contender, isContender } from './contender.ts';
import { goOver } from './prefill.ts';
import { rows } from './rows.ts';

interface Profile {
	nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
	samples: number[];
	timeDeltas: number[];
}

const linesShown = 40;

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		server: { type: 'string', default: 'blockport' },
		seconds: { type: 'string', default: '5' },
		'size-mib': { type: 'string', default: '1024' },
		keep: { type: 'string' },
	},
});
const row = rows.find((one) => one.name === positionals[0]);
if (row === undefined) {
	console.error(`which row? One of: ${rows.map((one) => one.name).join(' ')}`);
	process.exit(2);
}
const sizeBytes = Number(values['size-mib']) * 1024 * 1024;

if (!isContender(values.server) || !values.server.startsWith('blockport')) {
	console.error('--server: blockport or blockport-nvme');
	process.exit(2);
}

const folder = await mkdtemp(join(tmpdir(), 'blockport-profile-'));
const settings = { folder: join(folder, 'data'), sizeBytes, cpu: 0 };
const profiles = join(folder, 'profiles');
await mkdir(settings.folder);
const plain = await contender(values.server, settings);
const profiled = await contender(values.server, {
	...settings,
	nodeOptions: `--cpu-prof --cpu-prof-dir=${profiles} --cpu-prof-interval=200`,
	isConfigured: true,
});
const { protocol, target, unit } = plain;
try {
	await plain.start();
	await goOver('write', { protocol, port: plain.port(), target, unit }, sizeBytes);
	await plain.server.stop();
	await profiled.start();
	await goOver('read', { protocol, port: profiled.port(), target, unit }, sizeBytes);
	const cell = await measure(profiled, row, { seconds: Number(values.seconds), warmUpSeconds: 1, clientCPU: 1 });
	console.log(
		`${row.name} while profiled: ${Math.round(cell.iops)} IOPS, p50 ${cell.p50Us} µs, p99 ${cell.p99Us} µs, server CPU ${cell.serverCPUSeconds.toFixed(2)} s (main thread and others)`,
	);
	await profiled.server.stop();
	const names = (await readdir(profiles)).filter((name) => name.endsWith('.cpuprofile'));
	const sizes = await Promise.all(names.map(async (name) => [name, (await readFile(join(profiles, name))).length] as const));
	const [largest] = sizes.toSorted((a, b) => b[1] - a[1]);
	if (largest === undefined) throw new Error('the server left no profile');
	const path = join(profiles, largest[0]);
	if (values.keep !== undefined) await copyFile(path, values.keep);
	report(JSON.parse(await readFile(path, 'utf8')));
} finally {
	for (const { server } of [plain, profiled]) await server.kill().catch(() => undefined);
	await rm(folder, { recursive: true, force: true });
}

function report({ nodes, samples, timeDeltas }: Profile): void {
	const selfUs = new Map<number, number>();
	samples.forEach((id, index) => selfUs.set(id, (selfUs.get(id) ?? 0) + timeDeltas[index]!));
	const byFunction = new Map<string, number>();
	const byFile = new Map<string, number>();
	let busyUs = 0;
	for (const { id, callFrame } of nodes) {
		const us = selfUs.get(id) ?? 0;
		if (callFrame.functionName === '(idle)' || callFrame.functionName === '(program)') continue;
		busyUs += us;
		const file = callFrame.url === '' ? '(native)' : basename(callFrame.url);
		const name = `${callFrame.functionName || '(anonymous)'} ${file}:${callFrame.lineNumber + 1}`;
		byFunction.set(name, (byFunction.get(name) ?? 0) + us);
		byFile.set(file, (byFile.get(file) ?? 0) + us);
	}
	for (const [title, sums] of [
		['functions', byFunction],
		['files', byFile],
	] as const) {
		console.log(`\n${title} by self time, % of the main thread's busy time`);
		const sorted = [...sums].toSorted((a, b) => b[1] - a[1]).slice(0, linesShown);
		for (const [name, us] of sorted) console.log(`${((100 * us) / busyUs).toFixed(1).padStart(6)} %  ${name}`);
	}
}
