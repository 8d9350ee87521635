/**
 * Linux's own initiators, in an emulated machine, against this tree's `blockport serve`: `npm run test:e2e -- [options] [SCENARIO…]`.
 *
 *     --list               what there is
 *     --mutation NAME      break a copy of the tree in that way, and demand that a scenario turns red ('all': each in turn)
 *     --append             scenarios that measure append their table to bench/results.md
 *
 * Without names: every scenario but those on demand. Ends with `N passed, N failed`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { check, finish } from '../../conformance/checks.ts';
import { imageFolder } from './image/cache.ts';
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
		mutation: { type: 'string' },
		append: { type: 'boolean', default: false },
	},
});

const imageVariable = 'BLOCKPORT_E2E_IMAGE';

function chosen(): Scenario[] {
	if (positionals.length === 0) return scenarios.filter(({ isOnDemand }) => isOnDemand !== true);
	return positionals.map((name) => {
		const scenario = scenarios.find((one) => one.name === name);
		if (scenario === undefined) throw new Error(`there is no scenario ${name}; --list shows what there is`);
		return scenario;
	});
}

/** Outside of the namespaces: what needs the machine's own network, and its removal. */
async function outside(): Promise<number> {
	if (values.list) {
		for (const { name, claim, isOnDemand } of scenarios)
			console.log(`${name.padEnd(20)} ${claim}${isOnDemand === true ? ' (on demand)' : ''}`);
		return 0;
	}
	const wanted = chosen();
	const missing = missingRequirements(Object.assign({}, ...wanted.map(({ programs }) => programs ?? {})) as Record<string, string>);
	if (missing.length > 0) {
		for (const sentence of missing) console.log(`not ok - ${sentence}`);
		console.log(`0 passed, ${missing.length} failed`);
		return 1;
	}
	process.env[imageVariable] = await imageFolder(console.log);
	const folder = await mkdtemp(join(tmpdir(), 'blockport-e2e-'));
	process.env['BLOCKPORT_E2E_FOLDER'] = folder;
	try {
		return await runInside();
	} finally {
		await rm(folder, { recursive: true, force: true });
	}
}

async function inside(): Promise<never> {
	await makeNetwork();
	const stage = new Stage({
		image: process.env[imageVariable]!,
		folder: process.env['BLOCKPORT_E2E_FOLDER']!,
		launcher: undefined,
		log: console.log,
	});
	const memory: string[] = [];
	for (const scenario of chosen()) {
		console.log(`\n# ${scenario.name}`);
		// oxlint-disable-next-line no-await-in-loop -- one after the other, on one stage
		await check(`${scenario.name}: ${scenario.claim}`, async () => {
			const played = await stage.play(scenario);
			const { idleBytes, peakBytes } = played.memory;
			memory.push(`  ${scenario.name.padEnd(20)} ${inMiB(idleBytes)}  ${inMiB(peakBytes)}`);
			return played.figures;
		});
	}
	await stage.close();
	console.log(`\n# the target's resident memory, MiB\n  ${'scenario'.padEnd(20)} idle  most\n${memory.join('\n')}\n`);
	finish();
}

function inMiB(bytes: number): string {
	return String(Math.round(bytes / mebibyte)).padStart(4);
}

if (isInside) await inside();
process.exit(await outside());
