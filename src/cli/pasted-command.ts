import type { Whereabouts } from './api-client.ts';

/** The --data-dir of every command that names none. */
export const usualDataDirectory = './blockport-data';

/**
 * A command line to paste into the shell that this one came from: the program as it was called there (bin/blockport says how), the words, each quoted if a shell would change it,
 * and the flags that lead to the same appliance.
 */
export function pastedCommand(words: readonly string[], where: Whereabouts): string {
	return [process.env['BLOCKPORT_LAUNCHER'] ?? 'blockport', ...words, ...place(where)].map(quoted).join(' ');
}

/** The one that ApiClient would take. */
function place({ dataDir, socket, host, tokenFile }: Whereabouts): string[] {
	if (socket !== undefined) return ['--socket', socket];
	if (host !== undefined) return ['--host', host, ...(tokenFile === undefined ? [] : ['--token-file', tokenFile])];
	return dataDir === usualDataDirectory ? [] : ['--data-dir', dataDir];
}

function quoted(word: string): string {
	return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
