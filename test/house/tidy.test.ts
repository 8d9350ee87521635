import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { files, root } from './tree.ts';

const code = ['.ts', '.mjs', '.js', '.sh', '.json', '.service', '.socket'];
const folders = ['src', 'bin', 'test', 'bench', 'scripts', 'docs'];
const self = 'test/house/tidy.test.ts';
const everything = folders.flatMap((folder) => files(folder, [...code, '.md', 'blockport'])).filter(({ path }) => path !== self);

function holding(pattern: RegExp): string[] {
	return everything.flatMap(({ path, text }) =>
		text
			.split('\n')
			.map((line, index) => ({ line, number: index + 1 }))
			.filter(({ line }) => pattern.test(line))
			.map(({ line, number }) => `${path}:${number}: ${line.trim().slice(0, 120)}`),
	);
}

test('nothing is left to be done later', (t) => {
	t.deepEqual(holding(/\b(?:TODO|FIXME|XXX|HACK)\b/), []);
});

test('no file knows the machine it was written on', (t) => {
	t.deepEqual(holding(/\/(?:home|Users|work)\/|\/root\b|\bregistry\.(?!npmjs\.)[\w-]+\.(?:com|dev|internal|io|local|net|org)\b/), []);
});

test('a source file has fewer than 500 lines', (t) => {
	const long = files('src', ['.ts'])
		.map(({ path, text }) => ({ path, lines: text.split('\n').length }))
		.filter(({ lines }) => lines > 500);
	t.deepEqual(long, []);
});

test('files are nouns in kebab-case, and nobody is called helper', (t) => {
	const bad = files('src', ['.ts']).filter(({ path }) => {
		const name = path.split('/').at(-1) ?? '';
		return !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.d)?\.ts$/.test(name) || /util|helper|manager/.test(name);
	});
	t.deepEqual(
		bad.map(({ path }) => path),
		[],
	);
});

interface Lock {
	packages: Record<string, { license?: string; dev?: boolean; resolved?: string; integrity?: string; link?: boolean }>;
}

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
const permissive =
	/^\(?(?:MIT|MIT-0|ISC|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|0BSD|BlueOak-1\.0\.0|CC0-1\.0|CC-BY-3\.0|CC-BY-4\.0|Unlicense|Python-2\.0|WTFPL)(?: (?:OR|AND) [\w.-]+)*\)?$/;

test('no package in the lock file has a copyleft licence, or none', (t) => {
	t.true(packages.length > 100);
	t.deepEqual(
		packages
			.filter(([, { license }]) => license === undefined || !permissive.test(license))
			.map(([path, { license }]) => `${path}: ${license}`),
		[],
	);
	t.notRegex('GPL-3.0', permissive);
	t.notRegex('LGPL-2.1-or-later', permissive);
});

test('every package in the lock file has a hash, and none names a host', (t) => {
	t.deepEqual(
		packages.filter(([, entry]) => entry.link !== true && entry.integrity === undefined).map(([path]) => path),
		[],
	);
	t.deepEqual(
		packages
			.filter(([, { resolved }]) => resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/'))
			.map(([path]) => path),
		[],
	);
});

interface Manifest {
	dependencies: Record<string, string>;
	optionalDependencies: Record<string, string>;
	devDependencies: Record<string, string>;
}

test('every dependency has its row with its licence in docs/decisions/020, an exact version, and no row is left over', (t) => {
	const { dependencies, optionalDependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
	const all = Object.entries({ ...dependencies, ...optionalDependencies, ...devDependencies });
	const record = readFileSync(join(root, 'docs/decisions/020-dependencies.md'), 'utf8');
	const [, , ...rows] = [...record.matchAll(/^\| (?<name>\S+) \| (?<licence>\S+) \| .+ \|$/gm)].map(
		([, name, licence]) => `${name} ${licence}`,
	);
	t.deepEqual(rows.toSorted(), all.map(([name]) => `${name} ${lock.packages[`node_modules/${name}`]?.license}`).toSorted());
	t.deepEqual(
		all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
		[],
	);
});
