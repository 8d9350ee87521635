import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { machine } from './table.ts';

/** Adds a section to results.md: when, what (`title`, or nothing for the comparison), on which machine, under which conditions. */
export async function appendResults(title: string | undefined, conditions: readonly string[], text: string): Promise<void> {
	const when = new Date().toISOString().slice(0, 16).replace('T', ' ');
	await appendFile(
		join(import.meta.dirname, 'results.md'),
		`\n## ${when} UTC${title === undefined ? '' : `, ${title}`}\n\n${[machine(), ...conditions].join('; ')}.\n\n${text}\n`,
	);
}

/** For text whose columns must stay under each other. */
export function preformatted(text: string): string {
	return `\`\`\`\n${text}\n\`\`\``;
}
