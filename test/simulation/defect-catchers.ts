import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** What a row of docs/defects.md says a defect is caught by. */
export interface Catchers {
	/** Simulations, as hunt.ts calls them. */
	readonly simulations: readonly string[];
	/** Tests in which the order that matters is made to happen; paths from the tree's root. */
	readonly files: readonly string[];
}

const folders = ['test/blockvol', 'test/archive'];

/** The row of a defect in the text of docs/defects.md; undefined if it has none. A simulation that finds it once in thousands is not counted on. */
export function catchersOf(document: string, title: string, root: string): Catchers | undefined {
	const row = document.split('\n').find((line) => line.startsWith(`| ${title} | `));
	if (row === undefined) return undefined;
	const [said = ''] = row.slice(`| ${title} | `.length).split(';');
	return {
		simulations: [...said.matchAll(/\b(?:simulation-[a-z-]+|collector-simulation)\b/g)].map(([name]) => `${name}.test.ts`),
		files: [...said.matchAll(/\b[a-z-]+\.test\.ts\b/g)].flatMap(([name]) =>
			folders.map((folder) => `${folder}/${name}`).filter((path) => existsSync(join(root, path))),
		),
	};
}
