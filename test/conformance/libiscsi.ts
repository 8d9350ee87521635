/**
 * libiscsi's test suite (iscsi-test-cu) against a thin volume of 512-byte blocks and one of 4096: each test passes, or it is in libiscsi-exceptions.ts with the reason why
 * it skips itself or contradicts its standard. Each suite is a process of its own, since one crash would end the rest, after a reset of the target; with two paths to the unit. The same
 * counts for tgtd where it is installed, to compare with.
 *
 *     node test/conformance/libiscsi.ts [--suite NAME] [--mutation all|NAME] [--output] [--alone]
 *
 * A mutation is a textual change in a copy of the tree; with it the program succeeds when the suite that it names turns red.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mutated } from '../e2e/vm/mutations.ts';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { taskFunction } from '../initiator/wire.ts';
import { check, expect, finish } from './checks.ts';
import { parseCunit, parseCunitList, type CunitResult } from './cunit.ts';
import { exceptions } from './libiscsi-exceptions.ts';
import { mutations } from './libiscsi-mutations.ts';
import { Blockport } from './servers/blockport.ts';
import { inFolder } from './servers/choose.ts';
import { run } from './servers/server-process.ts';
import type { OfferedUnit, TargetServer } from './servers/target-server.ts';
import { Tgtd } from './servers/tgtd.ts';

const { values } = parseArgs({
	options: {
		suite: { type: 'string' },
		mutation: { type: 'string' },
		output: { type: 'boolean', default: false },
		alone: { type: 'boolean', default: false },
	},
});
const initiators = ['iqn.2026-11.dev.blockport.test:suite-1', 'iqn.2026-11.dev.blockport.test:suite-2'] as const;
const family = 'ALL';
const suiteSecondsMax = 60;
/** It looks at the operation again a minute after it was begun. */
const resetSecondsMax = 240;
/** Fewer than that are not the suite. */
const testsMin = values.suite === undefined ? 200 : 1;
const mebibyte = 1024 * 1024;
/** Gets a write-protected unit. */
const readOnlySuite = 'ReadOnly';

interface Unit extends OfferedUnit {
	blockSize: 512 | 4096;
}

const units: readonly Unit[] = [
	{ target: 'iqn.2026-11.dev.blockport.test:thin-512', lun: 0, sizeBytes: 256 * mebibyte, blockSize: 512, isSanitizable: true },
	// Below 65,536 blocks, which the suite would write by one command, whatever MAXIMUM TRANSFER LENGTH says.
	{ target: 'iqn.2026-11.dev.blockport.test:thin-4096', lun: 0, sizeBytes: 128 * mebibyte, blockSize: 4096, isSanitizable: true },
];

/** Sanitize.Reset wants the operation to be under way three seconds after it was begun: what these keep takes longer to overwrite, all the more as both are overwritten at once. */
const filledUnits: readonly Unit[] = units.map(({ blockSize }) => ({
	target: `iqn.2026-11.dev.blockport.test:filled-${blockSize}`,
	lun: 0,
	sizeBytes: 8 * 1024 * mebibyte,
	blockSize,
	isSanitizable: true,
}));

/** Two of them, and a log each. With less they are left out, and the exceptions say why the test fails on a small unit. */
const filledFreeBytesMin = 20 * 1024 * mebibyte;

const suites = parseCunitList(await run('iscsi-test-cu', ['-l']), family);
if (values.suite !== undefined) for (const name of suites.keys()) if (name !== values.suite) suites.delete(name);

await inFolder('libiscsi', async (folder, started) => {
	if (values.mutation === undefined) await compare(folder, started);
	else await mutate(folder, started, values.mutation);
});
finish();

async function compare(folder: string, started: TargetServer[]): Promise<void> {
	const server = new Blockport({ folder: await subfolder(folder, 'blockport'), initiators, units });
	started.push(server);
	await server.start();
	const all = new Map<Unit, CunitResult[]>();
	for (const unit of units) all.set(unit, await runSuites(server, unit));
	await server.stop();
	if (suites.has('Sanitize') && (await freeBytes(folder)) > filledFreeBytesMin) {
		const long = await longSanitizes(folder, started);
		for (const [index, results] of [...all.values()].entries())
			results.splice(
				results.findIndex(({ suite, test }) => suite === 'Sanitize' && test === 'Reset'),
				1,
				long[index]!,
			);
	}
	for (const [unit, results] of all) await judge(unit.blockSize, results);
	if (values.alone) return;
	if (!existsSync('/usr/sbin/tgtd')) {
		console.log('# tgtd is not installed: nothing to compare with');
		return;
	}
	// Its figures judge nothing here, so a tgtd that does not run fails nothing.
	try {
		const other = new Tgtd({ folder: await subfolder(folder, 'tgtd'), initiators, units: [units[0]!] });
		started.push(other);
		await other.start();
		const results = await runSuites(other, { ...units[0]!, lun: other.units[0]!.lun });
		console.log(`# for comparison, tgtd with ${units[0]!.blockSize}-byte blocks, thin: ${counts(results)}`);
	} catch (error) {
		console.log(`# no comparison with tgtd: ${String(error)}`);
	}
}

/** Compares with the tables; prints every test that is not simply right. */
async function judge(blockSize: 512 | 4096, results: readonly CunitResult[]): Promise<void> {
	const { skipped, partly, fast, contradicting } = exceptions[blockSize];
	const title = `iscsi-test-cu --dataloss, thin volume of ${blockSize}-byte blocks`;
	const reasons = new Map<string, string[]>();
	/** That cannot pass here, or did not, with the reason. */
	let excepted = 0;
	const wrong: string[] = [];
	for (const result of results) {
		const name = `${result.suite}.${result.test}`;
		const reason = skipped[name] ?? skipped[result.suite];
		const clause = contradicting[name];
		const part = partly[name];
		if (result.outcome === 'skipped' && part !== undefined && result.words.join() === part)
			console.log(`# ${name} skips a part of itself: ${part}`);
		else if (fast[name] !== undefined) {
			if (result.outcome !== 'passed') console.log(`# ${name} ${result.outcome}: ${fast[name]}`);
			if (result.outcome === 'failed') excepted++;
		} else if (result.outcome === 'skipped' && reason !== undefined) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
		else if (result.outcome === 'failed' && clause !== undefined) {
			excepted++;
			console.log(`# ${name} fails: ${clause}`);
		} else if (result.outcome === 'passed' ? clause !== undefined : true)
			wrong.push(
				result.outcome === 'passed'
					? `${name} passes now: take it out of the exceptions`
					: `${name} ${result.outcome}: ${result.words.join('; ')}`,
			);
	}
	for (const [reason, names] of reasons) console.log(`# skipped: ${names.join(', ')}: ${reason}`);
	await check(title, async () => {
		expect(wrong.length === 0, wrong.join('\n'));
		expect(results.length >= testsMin, `only ${results.length} tests`);
		return `${counts(results)}${excepted > 0 ? `, all ${excepted} with a reason` : ''}`;
	});
}

function counts(results: readonly CunitResult[]): string {
	const count = (outcome: CunitResult['outcome']): number => results.filter((result) => result.outcome === outcome).length;
	return `${results.length} tests: ${count('passed')} passed, ${count('skipped')} skipped, ${count('failed')} failed`;
}

async function runSuites(server: TargetServer, unit: OfferedUnit, wanted: Iterable<string> = suites.keys()): Promise<CunitResult[]> {
	const all: CunitResult[] = [];
	for (const suite of wanted) {
		await resetTarget(server, unit, suite === readOnlySuite);
		const { output, how } = await runSuite(server, unit, suite);
		if (values.output) console.log(output);
		if (server.process.isGone) throw new Error(`${server.name} did not survive ${suite}:\n${server.process.output}`);
		const results = parseCunit(output);
		const missing = suites.get(suite)!.filter((name) => !results.some((result) => result.test === name));
		all.push(...results, ...missing.map((test): CunitResult => ({ suite, test, outcome: 'failed', words: [`not run (${how})`] })));
	}
	return all;
}

/** Sanitize.Reset on each of filledUnits, all at once. */
async function longSanitizes(folder: string, started: TargetServer[]): Promise<CunitResult[]> {
	const path = await subfolder(folder, 'filled');
	const server = new Blockport({ folder: path, initiators, units: filledUnits });
	started.push(server);
	await server.start();
	for (const unit of filledUnits) {
		await fill(server, unit);
	}
	const results = await Promise.all(
		filledUnits.map(async (unit): Promise<CunitResult> => {
			const { output, how } = await runSuite(server, unit, 'Sanitize.Reset', resetSecondsMax);
			if (values.output) console.log(output);
			return parseCunit(output)[0] ?? { suite: 'Sanitize', test: 'Reset', outcome: 'failed', words: [`not run (${how})`] };
		}),
	);
	await server.stop();
	await rm(path, { recursive: true });
	return results;
}

async function freeBytes(folder: string): Promise<number> {
	const { bavail, bsize } = await statfs(folder);
	return bavail * bsize;
}

/** Writes every block of a unit. */
async function fill(server: TargetServer, unit: Unit): Promise<void> {
	const session = await Session.open({ port: server.port, targetName: unit.target });
	const disk = new InitiatorDisk(session, unit.lun);
	await disk.becomeReady();
	const piece = Buffer.alloc(4 * mebibyte, 0x5a);
	const pieces = unit.sizeBytes / piece.length;
	let next = 0;
	const lane = async (): Promise<void> => {
		while (next < pieces) {
			const at = next++;
			await disk.write(at * (piece.length / unit.blockSize), piece, unit.blockSize);
		}
	};
	await Promise.all(Array.from({ length: 4 }, lane));
	await session.logout();
}

/** Ends what an earlier suite left: registrations, reservations, mode pages. The suite for write-protected units gets one (SWP of the Control mode page). */
async function resetTarget(server: TargetServer, unit: OfferedUnit, writeProtected: boolean): Promise<void> {
	const session = await Session.open({ port: server.port, targetName: unit.target });
	const disk = new InitiatorDisk(session, unit.lun);
	const send = async (cdb: readonly number[], dataOut?: Buffer): Promise<number> => {
		const { status } = await disk.execute((buffer) => buffer.set(cdb), dataOut === undefined ? {} : { dataOut });
		return status;
	};
	await session.manageTask(taskFunction.targetWarmReset, unit.lun);
	await disk.becomeReady();
	const key = Buffer.alloc(24);
	key.write('reset it', 8, 'latin1');
	const clear = Buffer.alloc(24);
	clear.write('reset it', 0, 'latin1');
	await send([0x5f, 0x06, 0, 0, 0, 0, 0, 0, key.length, 0], key);
	await send([0x5f, 0x03, 0, 0, 0, 0, 0, 0, clear.length, 0], clear);
	if (writeProtected) {
		const pages = await disk.expectGood((buffer) => buffer.set([0x1a, 0x08, 0x0a, 0, 255, 0]), { dataInBytes: 255 });
		pages[0] = 0;
		pages[2] = 0;
		pages[4 + 4]! |= 0x08;
		await send([0x15, 0x10, 0, 0, pages.length, 0], Buffer.from(pages));
	}
	await session.logout();
}

async function runSuite(
	server: TargetServer,
	unit: OfferedUnit,
	suite: string,
	secondsMax = suiteSecondsMax,
): Promise<{ output: string; how: string }> {
	const url = `iscsi://127.0.0.1:${server.port}/${unit.target}/${unit.lun}`;
	const child = spawn('iscsi-test-cu', ['-d', '-S', '-v', '-i', initiators[0], '-I', initiators[1], '-t', `${family}.${suite}`, url, url], {
		stdio: ['ignore', 'pipe', 'pipe'],
	});
	let output = '';
	child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
	child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
	let how = '';
	const timer = setTimeout(() => {
		how = `ended after ${secondsMax} s`;
		child.kill('SIGKILL');
	}, secondsMax * 1000);
	await new Promise<void>((resolve, reject) => {
		child.on('error', reject);
		child.on('close', (code, signal) => {
			if (how === '') how = signal === null ? `exit code ${code}` : `signal ${signal}`;
			resolve();
		});
	});
	clearTimeout(timer);
	return { output, how };
}

async function mutate(folder: string, started: TargetServer[], wanted: string): Promise<void> {
	const chosen = mutations.filter(({ name }) => wanted === 'all' || name === wanted);
	expect(chosen.length > 0, `there is no mutation ${wanted}`);
	for (const mutation of chosen) {
		const launcher = await mutated({ ...mutation, scenarios: [] }, join(import.meta.dirname, '../..'), folder);
		const unit = units[0]!;
		const server = new Blockport({ folder: await subfolder(folder, mutation.name), initiators, units: [unit], launcher });
		started.push(server);
		await server.start();
		await check(`${mutation.name}, ${mutation.title}: ${mutation.test} turns red`, async () => {
			const results = await runSuites(server, unit, [mutation.test.split('.')[0]!]);
			const result = results.find((one) => `${one.suite}.${one.test}` === mutation.test);
			// A test that skips itself where it did not is red too.
			expect(result !== undefined && result.outcome !== 'passed', `it is ${result?.outcome ?? 'not there'}`);
			return `${result!.outcome}: ${result!.words[0]!}`;
		});
		await server.kill();
	}
}

async function subfolder(folder: string, name: string): Promise<string> {
	const path = join(folder, name);
	await mkdir(path);
	return path;
}
