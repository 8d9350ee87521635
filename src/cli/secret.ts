import { readFile } from 'node:fs/promises';
import { UsageError } from '../config/usage-error.ts';
import { errorCode } from '../os/disk.ts';

/** Everything that secrets are read from is a line or a few. */
const bytesMax = 64 * 1024;

/** Said in the help of each option that takes a secret. */
export const secretForms = '@FILE reads it from a file, - from a line of standard input';

/**
 * A secret as it stands on the command line, or from where that says, so that it is in no list of processes and no shell's history. Several `-` take one line each, in the order of
 * the calls. Throws UsageError for what cannot be read.
 */
export async function secret(text: string): Promise<string> {
	if (text === '-') return nextLine();
	if (!text.startsWith('@')) return text;
	const file = text.slice(1);
	try {
		return (await readFile(file, 'utf8')).trim();
	} catch (error) {
		throw unreadable(file, 'the secret', error);
	}
}

let lines: Promise<string[]> | undefined;

async function nextLine(): Promise<string> {
	lines ??= standardInput();
	const line = (await lines).shift();
	if (line === undefined || line === '') throw new UsageError('Standard input has no line left for a secret.');
	return line;
}

async function standardInput(): Promise<string[]> {
	const parts: Buffer[] = [];
	let bytes = 0;
	for await (const part of process.stdin as AsyncIterable<Buffer>) {
		parts.push(part);
		bytes += part.length;
		if (bytes > bytesMax)
			throw new UsageError(`Standard input is longer than ${bytesMax} bytes: it has to be the secret and nothing else.`);
	}
	return Buffer.concat(parts).toString('utf8').split(/\r?\n/);
}

/** A file that the command line names and that is not there, or may not be read: the words are right once it is. */
export function unreadable(file: string, what: string, error: unknown): UsageError {
	const code = errorCode(error);
	if (code === '') throw error;
	const cause = { cause: error };
	if (code === 'ENOENT') return new UsageError(`There is no file ${file}: make it with ${what} in it, or name another.`, 'notFound', cause);
	return new UsageError(`The file ${file} with ${what} cannot be read (${code}): check its owner and its mode.`, 'unavailable', cause);
}
