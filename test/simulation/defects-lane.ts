import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Defect, defects } from './defects.ts';

/** `npm run test:defects`: puts each defect into a copy of the tree and has the simulation find it. Prints which test did. Arguments: words of titles, to run only those. */
const root = join(import.meta.dirname, '..', '..');
const timeoutMs = 300_000;
const atOnce = 2;

interface Verdict {
	defect: Defect;
	caughtBy: string;
	why: string;
	isCaught: boolean;
}

const wanted = process.argv.slice(2);
const chosen = defects.filter(({ title }) => wanted.length === 0 || wanted.some((word) => title.includes(word)));
const queue = [...chosen];
const verdicts: Verdict[] = [];

await Promise.all(
	Array.from({ length: atOnce }, async () => {
		for (let defect = queue.shift(); defect !== undefined; defect = queue.shift()) {
			const verdict = await judge(defect);
			verdicts.push(verdict);
			console.log(
				`${verdict.isCaught ? 'caught' : 'MISSED'}  ${defect.title}\n        ${verdict.caughtBy}: ${verdict.why.split('\n')[0] ?? ''}`,
			);
		}
	}),
);

// What fails without a defect would count every defect as caught.
const baseline = await hunt(root);
if (baseline.isCaught) console.log(`RED     without any defect\n        ${baseline.caughtBy}: ${baseline.why}`);

const missed = verdicts.filter(({ isCaught }) => !isCaught);
console.log(`${verdicts.length - missed.length} of ${verdicts.length} defects caught`);
process.exitCode = missed.length === 0 && !baseline.isCaught ? 0 : 1;

async function judge(defect: Defect): Promise<Verdict> {
	const copy = await mkdtemp(join(tmpdir(), 'blockport-defect-'));
	try {
		for (const part of ['src', 'test/simulation', 'test/archive']) await cp(join(root, part), join(copy, part), { recursive: true });
		await cp(join(root, 'package.json'), join(copy, 'package.json'));
		await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
		const file = join(copy, defect.file);
		const source = await readFile(file, 'utf8');
		const pieces = source.split(defect.search);
		if (pieces.length !== 2) {
			const why = `the text to change is there ${pieces.length - 1} times in ${defect.file}: put the defect into the code as it is now`;
			return { defect, caughtBy: 'nothing', why, isCaught: false };
		}
		await writeFile(file, pieces.join(defect.replace));
		return { defect, ...(await hunt(copy)) };
	} finally {
		await rm(copy, { recursive: true, force: true });
	}
}

function hunt(copy: string): Promise<Omit<Verdict, 'defect'>> {
	return new Promise((resolve) => {
		const child = spawn(process.execPath, [join(copy, 'test/simulation/hunt.ts')], { cwd: copy, stdio: ['ignore', 'pipe', 'pipe'] });
		const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
		let output = '';
		let errors = '';
		child.stdout.on('data', (chunk: Buffer) => {
			output += chunk.toString();
		});
		child.stderr.on('data', (chunk: Buffer) => {
			errors += chunk.toString();
		});
		child.on('close', (code, signal) => {
			clearTimeout(timer);
			resolve(verdictOf(code, signal, output, errors));
		});
	});
}

/** A simulation that fails says which; one that dies with the engine's own assertion has noticed as well. */
function verdictOf(code: number | null, signal: string | null, output: string, errors: string): Omit<Verdict, 'defect'> {
	if (signal !== null) return { caughtBy: 'nothing', why: `the hunt took longer than ${timeoutMs / 1000} s`, isCaught: false };
	const line = output.trim().split('\n').at(-1) ?? '';
	if (code === 0) return { caughtBy: 'nothing', why: line, isCaught: false };
	if (/SyntaxError|ERR_MODULE|ReferenceError/.test(errors))
		return { caughtBy: 'nothing', why: `the changed source does not run: ${errors.slice(0, 300)}`, isCaught: false };
	if (!line.startsWith('{'))
		return { caughtBy: 'the engine itself', why: /\w*Error.*/.exec(errors)?.[0] ?? errors.slice(0, 200), isCaught: true };
	const { test, why }: { test: string; why: string } = JSON.parse(line);
	return { caughtBy: test, why, isCaught: true };
}
