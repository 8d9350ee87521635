import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Catchers, catchersOf } from './defect-catchers.ts';
import { type Defect, defects } from './defects.ts';

/**
 * `npm run test:defects`: puts each defect into a copy of the tree and has it found: by the tests that docs/defects.md names for it, or else by the simulations, of which those that it names
 * go first. Prints what did. Arguments: words of titles, to run only those. BLOCKPORT_DEFECTS_SECONDS: how long each part may take, for a machine that is busy.
 */
const root = join(import.meta.dirname, '..', '..');
const timeoutMs = Number(process.env['BLOCKPORT_DEFECTS_SECONDS'] ?? 300) * 1000;
const atOnce = 2;
const late = `it took longer than ${timeoutMs / 1000} s`;
/** A copy that does not even load has shown nothing. */
const doesNotRun = /SyntaxError|ERR_MODULE|ReferenceError/;
/** A test may read documents, and fixtures of other parts. */
const parts = ['src', 'test', 'docs', 'package.json'];

interface Finding {
	readonly caughtBy: string;
	readonly why: string;
	readonly isCaught: boolean;
}

interface Ended {
	readonly code: number | null;
	readonly output: string;
	readonly errors: string;
}

const document = await readFile(join(root, 'docs/defects.md'), 'utf8');
const wanted = process.argv.slice(2);
const chosen = defects.filter(({ title }) => wanted.length === 0 || wanted.some((word) => title.includes(word)));
const queue = [...chosen];
let caught = 0;

await Promise.all(
	Array.from({ length: atOnce }, async () => {
		for (let defect = queue.shift(); defect !== undefined; defect = queue.shift()) {
			const { isCaught, caughtBy, why } = await judge(defect);
			if (isCaught) caught++;
			console.log(`${isCaught ? 'caught' : 'MISSED'}  ${defect.title}\n        ${caughtBy}: ${why.split('\n')[0] ?? ''}`);
		}
	}),
);

// What fails without a defect would count every defect as caught.
const files = new Set(chosen.flatMap(({ title }) => catchersOf(document, title, root)?.files ?? []));
const baseline = await find(root, { simulations: [], files: [...files] });
if (baseline.isCaught) console.log(`RED     without any defect\n        ${baseline.caughtBy}: ${baseline.why}`);

console.log(`${caught} of ${chosen.length} defects caught`);
process.exitCode = caught === chosen.length && !baseline.isCaught ? 0 : 1;

async function judge(defect: Defect): Promise<Finding> {
	const copy = await mkdtemp(join(tmpdir(), 'blockport-defect-'));
	try {
		for (const part of parts) await cp(join(root, part), join(copy, part), { recursive: true });
		await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
		const file = join(copy, defect.file);
		const source = await readFile(file, 'utf8');
		const pieces = source.split(defect.search);
		if (pieces.length !== 2) {
			const why = `the text to change is there ${pieces.length - 1} times in ${defect.file}: put the defect into the code as it is now`;
			return { caughtBy: 'nothing', why, isCaught: false };
		}
		await writeFile(file, pieces.join(defect.replace));
		return await find(copy, catchersOf(document, defect.title, root) ?? { simulations: [], files: [] });
	} finally {
		await rm(copy, { recursive: true, force: true });
	}
}

async function find(tree: string, { simulations, files }: Catchers): Promise<Finding> {
	if (files.length > 0) {
		const found = ofTests(await run(tree, join(root, 'node_modules/ava/entrypoints/cli.js'), ['--tap', '--serial', ...files]));
		if (found.isCaught) return found;
	}
	return ofHunt(await run(tree, join(tree, 'test/simulation/hunt.ts'), simulations));
}

function run(cwd: string, script: string, args: readonly string[]): Promise<Ended> {
	return new Promise((resolve) => {
		const child = spawn(process.execPath, [script, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
		const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
		let output = '';
		let errors = '';
		child.stdout.on('data', (chunk: Buffer) => {
			output += chunk.toString();
		});
		child.stderr.on('data', (chunk: Buffer) => {
			errors += chunk.toString();
		});
		child.on('close', (code) => {
			clearTimeout(timer);
			resolve({ code, output, errors });
		});
	});
}

function ofTests({ code, output, errors }: Ended): Finding {
	if (code === 0) return { caughtBy: 'nothing', why: 'the tests that are named are green', isCaught: false };
	const failed = /^not ok \d+ - (?<title>.*)/m.exec(output)?.groups?.['title'];
	if (failed === undefined || doesNotRun.test(output))
		return { caughtBy: 'nothing', why: code === null ? late : `no test failed: ${`${output}${errors}`.slice(-300)}`, isCaught: false };
	return { caughtBy: 'test', why: failed, isCaught: true };
}

/** A simulation that fails says which; one that dies with the engine's own assertion has noticed as well. */
function ofHunt({ code, output, errors }: Ended): Finding {
	if (code === null) return { caughtBy: 'nothing', why: late, isCaught: false };
	const line = output.trim().split('\n').at(-1) ?? '';
	if (code === 0) return { caughtBy: 'nothing', why: line, isCaught: false };
	if (doesNotRun.test(errors))
		return { caughtBy: 'nothing', why: `the changed source does not run: ${errors.slice(0, 300)}`, isCaught: false };
	if (!line.startsWith('{'))
		return { caughtBy: 'the engine itself', why: /\w*Error.*/.exec(errors)?.[0] ?? errors.slice(0, 200), isCaught: true };
	const { test, why }: { test: string; why: string } = JSON.parse(line);
	return { caughtBy: test, why, isCaught: true };
}
