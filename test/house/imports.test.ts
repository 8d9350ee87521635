import { dirname, join, normalize } from 'node:path';
import test from 'ava';
import { type SourceFile, files } from './tree.ts';

/**
 * Which part of the house may import which: down only, and never a sibling. A part is a folder of src/, bin, or src/appliance.ts with src/appliance/.
 * `os` and `wire` are the ground floor; wire takes its buffers' bound from os.
 */
const ground = ['os', 'wire'];
const engine = [...ground, 'blockvol'];
const shared = [...engine, 'reservation'];
const may: Record<string, readonly string[]> = {
	os: [],
	wire: ['os'],
	// Pure: clock, snapshots and policy in, actions out.
	schedule: [],
	blockvol: ground,
	reservation: engine,
	scsi: shared,
	config: [...shared, 'schedule'],
	archive: shared,
	iscsi: [...shared, 'scsi'],
	nvmeof: shared,
	admin: [...shared, 'archive', 'config'],
	cli: [...shared, 'admin', 'archive', 'config'],
	appliance: [...shared, 'scsi', 'iscsi', 'nvmeof', 'admin', 'archive', 'config', 'schedule'],
	bin: ['cli', 'appliance'],
};

function part(path: string): string {
	const [top, name] = path.split('/');
	return top === 'src' ? (name ?? '').replace(/\.ts$/, '') : (top ?? '');
}

interface Import {
	readonly from: string;
	readonly to: string;
}

/** Static, dynamic, type-only and re-exporting imports alike: a type is knowledge too. */
function imports(file: SourceFile): Import[] {
	return [...file.text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*)['"](?<to>[^'"]+)['"]/g)].map((match) => {
		const to = match.groups?.['to'] ?? '';
		return { from: file.path, to: to.startsWith('.') ? normalize(join(dirname(file.path), to)) : to };
	});
}

function wrong({ from, to }: Import): boolean {
	if (!to.startsWith('src/') && !to.startsWith('bin/') && !to.startsWith('test/') && !to.startsWith('bench/')) return false;
	const [here, there] = [part(from), part(to)];
	return here !== there && !(may[here] ?? []).includes(there);
}

const sources = [...files('src', ['.ts']), ...files('bin', ['.ts'])];

test('imports go down only, and iscsi and nvmeof never import each other', (t) => {
	t.true(sources.length > 50);
	t.deepEqual(sources.flatMap(imports).filter(wrong), []);
});

test('every part of src/ has its place in the house', (t) => {
	t.deepEqual(
		sources.map(({ path }) => part(path)).filter((name) => may[name] === undefined),
		[],
	);
});

test('the rule itself: what the house forbids is found, in every form of import', (t) => {
	for (const text of [
		"import { a } from '../nvmeof/a.ts';",
		"import type { A } from '../nvmeof/a.ts';",
		"export * from '../nvmeof/a.ts';",
		"import '../nvmeof/a.ts';",
		"const a = await import('../nvmeof/a.ts');",
		"import {\n\ta,\n} from '../appliance.ts';",
		"import { a } from '../cli/main.ts';",
		"import { a } from '../../test/temporary.ts';",
	]) {
		t.is(imports({ path: 'src/iscsi/x.ts', text }).filter(wrong).length, 1, text);
	}
	for (const text of [
		"import { a } from '../scsi/a.ts';",
		"import { a } from './a.ts';",
		"import { a } from 'node:fs';",
		"import type { B } from '../os/b.ts';",
	]) {
		t.deepEqual(imports({ path: 'src/iscsi/x.ts', text }).filter(wrong), [], text);
	}
});

test('relative imports name the .ts file', (t) => {
	const bad = sources.flatMap(imports).filter(({ to }) => to.startsWith('src/') && !to.endsWith('.ts'));
	t.deepEqual(bad, []);
});

test('SQL is in src/config only', (t) => {
	const outside = sources.filter(({ path }) => !path.startsWith('src/config/'));
	t.deepEqual(
		outside
			.filter(({ text }) => /better-sqlite3|\b(?:SELECT\s.+\sFROM|INSERT\s+INTO|CREATE\s+TABLE|DELETE\s+FROM)\b/.test(text))
			.map(({ path }) => path),
		[],
	);
});
