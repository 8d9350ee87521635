import { Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../config/usage-error.ts';
import type { Whereabouts } from './api-client.ts';
import { usualDataDirectory } from './pasted-command.ts';
import { parseSize } from './size.ts';

export interface CommonFlags extends Whereabouts {
	readonly json?: boolean;
}

/** A command that speaks to a running appliance. */
export function remoteCommand(name: string, description: string): Command {
	return new Command(name)
		.description(description)
		.option('--data-dir <dir>', 'data directory of the appliance', usualDataDirectory)
		.option('--socket <path>', 'admin socket, instead of the one in the data directory')
		.option('--host <url>', 'admin address, for example http://127.0.0.1:9260')
		.option('--token-file <path>', 'token for --host (or the environment variable BLOCKPORT_TOKEN)')
		.option('--json', 'print JSON');
}

/** Turns a parser that throws UsageError into one that commander reports as a bad option. */
export function argument<T>(parse: (text: string) => T): (text: string) => T {
	return (text) => {
		try {
			return parse(text);
		} catch (error) {
			if (error instanceof UsageError) throw new InvalidArgumentError(error.message);
			throw error;
		}
	};
}

export const size = argument(parseSize);

export const whole = argument((text: string): number => {
	if (!/^\d{1,9}$/.test(text)) throw new UsageError('It takes a whole number.');
	return Number(text);
});

/** For an option that may be given several times. */
export function repeated(one: string, all: string[] | undefined): string[] {
	return [...(all ?? []), one];
}

/** `a,b`: a name, or several different ones. */
export const names = argument((text: string): string[] => {
	const named = text.split(',');
	if (named.includes('') || new Set(named).size !== named.length) throw new UsageError('It takes a name, or different names with commas.');
	return named;
});
