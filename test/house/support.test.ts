import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { files, root } from './tree.ts';

interface Row {
	readonly section: string;
	readonly first: string;
	readonly isAbsent: boolean;
	/** The cell that names its test. */
	readonly test: string;
}

/** Rows of docs/support.md that stand in a table with a column of tests. */
function rows(): Row[] {
	const found: Row[] = [];
	let section = '';
	let column = -1;
	let isHead = true;
	for (const line of readFileSync(join(root, 'docs/support.md'), 'utf8').split('\n')) {
		if (line.startsWith('#')) section = line;
		if (!line.startsWith('|')) {
			isHead = true;
			continue;
		}
		const cells = line
			.split(/(?<!\\)\|/)
			.slice(1, -1)
			.map((cell) => cell.trim());
		if (isHead) column = cells.findIndex((cell) => cell.startsWith('Test'));
		else if (column >= 0 && !/^-+$/.test(cells[0] ?? ''))
			found.push({ section, first: cells[0] ?? '', isAbsent: cells.includes('absent'), test: cells[column] ?? '' });
		isHead = false;
	}
	return found;
}

const written = files('test', ['.ts', '.txt'])
	.map(({ text }) => text)
	.join('\n')
	.replaceAll("\\'", "'");

/** Whether tests hold the words of a title, or its pieces around `…`; what runs for several things may have the name of one before a colon. */
function isTitle(words: string): boolean {
	const holds = (text: string): boolean =>
		text
			.split('…')
			.map((piece) => piece.trim().replace(/[.,:;]+$/, ''))
			.every((piece) => written.includes(piece));
	return holds(words) || (words.includes(': ') && holds(words.slice(words.indexOf(': ') + 2)));
}

test('docs/support.md: each row of a table with tests names one, but for what is not there at all', (t) => {
	const all = rows();
	t.true(all.length > 150, `${all.length} rows`);
	t.deepEqual(
		all.filter(({ isAbsent, test: named }) => !isAbsent && (named === '' || named === '–')),
		[],
	);
});

test('docs/support.md: each title that a row names is one of a test', (t) => {
	const missing = rows().flatMap(({ section, first, test: named }) =>
		[...named.matchAll(/`([^`]+)`/g)].flatMap(([, words]) =>
			words !== undefined && words.includes(' ') && !isTitle(words) ? [`${section} | ${first} | ${words}`] : [],
		),
	);
	t.deepEqual(missing, []);
});
