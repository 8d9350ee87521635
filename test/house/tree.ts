import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

/** The project's folder. */
export const root = resolve(import.meta.dirname, '../..');

const skipped = new Set(['node_modules', 'dist', 'coverage', '.git', 'blockport-data']);

export interface SourceFile {
	/** Relative to the project, with slashes. */
	readonly path: string;
	readonly text: string;
}

/** All files below a folder of the project whose name ends with one of the given ends. */
export function files(folder: string, ends: readonly string[]): SourceFile[] {
	return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
		.filter((entry) => entry.isFile() && ends.some((end) => entry.name.endsWith(end)))
		.map((entry) => relative(root, join(entry.parentPath, entry.name)))
		.filter((path) => !path.split('/').some((part) => skipped.has(part)))
		.toSorted()
		.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}
