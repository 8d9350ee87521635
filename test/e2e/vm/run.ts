/**
 * Linux's own initiators, in an emulated machine, against this tree's `blockport serve`: `npm run test:e2e -- [options] [SCENARIO…]`.
 *
 *     --list               what there is
 *     --program PATH       another blockport than this tree's bin/blockport
 *     --mutation NAME      break a copy of the tree in that way, and demand that a scenario turns red ('all': each in turn)
 *     --append             scenarios that measure append their table to bench/results.md
 *
 * Without names: every scenario but those on demand. Ends with `N passed, N failed`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { check, finish } from '../../conformance/checks.ts';
import { imageFolder } from './image/cache.ts';
import { mutated, mutations } from './mutations.ts';
import { isInside, runInside } from './namespace.ts';
import { makeNetwork } from './network.ts';
import { missingRequirements } from './requirements.ts';
import { mebibyte, type Scenario } from './scenario.ts';
import { scenarios } from './scenarios/all.ts';
import { Stage } from './stage.ts';

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: {
		list: { type: 'boolean', default: false },
		program: { type: 'string', default: resolve(import.meta.dirname, '../../../bin/blockport') },
		mutation: { type: 'string' },
		append: { type: 'boolean', default: false },
	},
});

// ip, mke2fs and their like are there for everyone, but not in everyone's path.
process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin'].filter((part) => part !== undefined).join(delimiter);

/** What the outer process tells the inner one. */
const variables = { image: 'BLOCKPORT_E2E_IMAGE', folder: 'BLOCKPORT_E2E_FOLDER' } as const;

function named(names: readonly string[]): Scenario[] {
	const wanted = names.flatMap((name) => {
		const scenario = scenarios.find((one) => one.name === name);
		if (scenario === undefined) throw new Error(`there is no scenario ${name}; --list shows what there is`);
		return scenario.after === undefined ? [scenario] : [scenario.after, scenario];
	});
	return scenarios.filter((scenario) => wanted.includes(scenario));
}

const chosenMutations = mutations.filter(({ name }) => values.mutation === 'all' || values.mutation === name);
const chosen =
	positionals.length > 0
		? named(positionals)
		: values.mutation === undefined
			? scenarios.filter(({ isOnDemand }) => isOnDemand !== true)
			: named(chosenMutations.flatMap((mutation) => mutation.scenarios));

function list(): void {
	for (const { name, claim, isOnDemand } of scenarios)
		console.log(`${name.padEnd(20)} ${claim}${isOnDemand === true ? ' (on demand)' : ''}`);
	console.log('');
	for (const { name, title } of mutations) console.log(`--mutation ${name.padEnd(16)} ${title}`);
}

/** Outside of the namespaces: what needs the machine's own network, and the removal of everything. */
async function outside(): Promise<number> {
	if (values.list) {
		list();
		return 0;
	}
	if (values.mutation !== undefined && chosenMutations.length === 0)
		throw new Error(`there is no mutation ${values.mutation}; --list shows what there is`);
	const missing = missingRequirements(Object.assign({}, ...chosen.map(({ programs }) => programs)) as Record<string, string>);
	if (missing.length > 0) {
		for (const sentence of missing) console.log(`not ok - ${sentence}`);
		console.log(`0 passed, ${missing.length} failed`);
		return 1;
	}
	process.env[variables.image] = await imageFolder(console.log);
	process.env[variables.folder] = await mkdtemp(join(tmpdir(), 'blockport-e2e-'));
	try {
		return await runInside();
	} finally {
		await rm(process.env[variables.folder]!, { recursive: true, force: true });
	}
}

async function inside(): Promise<never> {
	await makeNetwork();
	const folder = process.env[variables.folder]!;
	const stage = new Stage({ image: process.env[variables.image]!, folder, log: console.log, isAppending: values.append });
	const memory: string[] = [];
	for (const scenario of chosen) {
		console.log(`\n# ${scenario.name}`);
		await check(`${scenario.name}: ${scenario.claim}`, async () => {
			const played = await stage.play(scenario, values.program);
			const { idleBytes, peakBytes } = played.memory;
			memory.push(`  ${scenario.name.padEnd(20)} ${inMiB(idleBytes)}  ${inMiB(peakBytes)}`);
			return played.figures;
		});
	}
	// Above is the other half of the proof: without the breakage the same scenarios are green.
	for (const mutation of chosenMutations) {
		console.log(`\n# mutation ${mutation.name}`);
		await check(`${mutation.title}: ${mutation.scenarios.join(' and ')} turns red`, async () => {
			const launcher = await mutated(mutation, dirname(dirname(values.program)), folder);
			return await redOnes(stage, mutation.scenarios, launcher);
		});
	}
	await stage.close();
	console.log(`\n# the target's resident memory, MiB\n  ${'scenario'.padEnd(20)} idle  most\n${memory.join('\n')}\n`);
	finish();
}

/** Plays all of these against a broken target; resolves to why each failed, rejects when one did not. */
async function redOnes(stage: Stage, names: readonly string[], launcher: string): Promise<string> {
	const reasons: string[] = [];
	for (const scenario of named(names)) {
		try {
			await stage.play(scenario, launcher);
		} catch (error) {
			reasons.push(`${scenario.name}: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}`);
			continue;
		}
		throw new Error(`${scenario.name} stayed green`);
	}
	return reasons.join('; ');
}

function inMiB(bytes: number): string {
	return String(Math.round(bytes / mebibyte)).padStart(4);
}

if (isInside) await inside();
process.exit(await outside());
