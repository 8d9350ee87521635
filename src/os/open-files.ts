import { readFileSync } from 'node:fs';

/** What is assumed where the kernel does not say: the usual limit of a login shell. */
const assumed = 1024;

/** How many files this process may have open (RLIMIT_NOFILE, which Node raises to the hard limit when it starts). */
export function openFilesMax(path = '/proc/self/limits'): number {
	let limits: string;
	try {
		limits = readFileSync(path, 'utf8');
	} catch {
		// No Linux, or no /proc.
		return assumed;
	}
	const soft = /^Max open files +(?<soft>\d+|unlimited)/m.exec(limits)?.groups?.['soft'];
	if (soft === 'unlimited') return Infinity;
	return soft === undefined ? assumed : Number(soft);
}
