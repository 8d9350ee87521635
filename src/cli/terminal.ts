import { createInterface } from 'node:readline/promises';
import { UsageError } from '../config/usage-error.ts';

/** Prints JSON for programs, or what `print` makes of it for people. */
export async function show<T>(json: boolean | undefined, value: T, print: (value: T) => string | Promise<string>): Promise<void> {
	const text = json === true ? JSON.stringify(value, null, '\t') : await print(value);
	if (text !== '') process.stdout.write(`${text}\n`);
}

/** Columns without frames. cli-table3 is loaded by the first table: serve never holds it. */
export async function table(head: readonly string[], rows: readonly (readonly string[])[], empty: string): Promise<string> {
	if (rows.length === 0) return empty;
	const { default: Table } = await import('cli-table3');
	const none = Object.fromEntries(
		[
			'top',
			'top-mid',
			'top-left',
			'top-right',
			'bottom',
			'bottom-mid',
			'bottom-left',
			'bottom-right',
			'left',
			'left-mid',
			'mid',
			'mid-mid',
			'right',
			'right-mid',
		].map((part) => [part, '']),
	);
	const drawn = new Table({
		head: [...head],
		chars: { ...none, middle: '  ' },
		style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
	});
	for (const row of rows) drawn.push(row.map((cell) => printable(cell)));
	return drawn.toString().replaceAll(/ +$/gm, '');
}

/** `name: value` lines. */
export function lines(entries: readonly (readonly [string, string | undefined])[]): string {
	const shown = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined);
	const width = Math.max(...shown.map(([name]) => name.length));
	return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`).join('\n');
}

/** What came from elsewhere (an initiator's name, an alias) must not steer the terminal. */
export function printable(text: string): string {
	return text.replaceAll(/\p{Cc}/gu, '?');
}

/**
 * Asks before something is lost. Without a terminal there is nobody to ask, so --yes must say it. `isFelt`: somebody uses what is about to change, and who said --yes is told so.
 */
export async function confirm(question: string, yes: boolean | undefined, isFelt = false): Promise<boolean> {
	if (yes === true) {
		if (isFelt) process.stderr.write(`blockport: warning: ${printable(question)}.\n`);
		return true;
	}
	if (!process.stdin.isTTY) throw new UsageError(`${question} needs --yes when there is no terminal to ask at.`);
	const terminal = createInterface({ input: process.stdin, output: process.stderr });
	try {
		return await agreed(terminal.question(`${printable(question)}? [y/N] `));
	} finally {
		terminal.close();
	}
}

/** Whether the answer is a yes. Whoever leaves with Ctrl+C or Ctrl+D says no. */
export async function agreed(answer: Promise<string>): Promise<boolean> {
	try {
		return /^y(?:es)?$/i.test((await answer).trim());
	} catch (error) {
		if (!(error instanceof Error && error.name === 'AbortError')) throw error;
		// The cursor stands behind the question.
		process.stderr.write('\n');
		return false;
	}
}
