import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { imageKey } from './build.ts';
import { shell } from './shell.ts';

const unusedDaysMax = 14;

/**
 * The folder with the guest's image for today's recipe, built if it is not there: `$XDG_CACHE_HOME/blockport-e2e/KEY` (~/.cache). Images that nobody has
 * used for two weeks go. Two lanes that begin at once build one after the other, that is once.
 */
export async function imageFolder(log: (line: string) => void): Promise<string> {
	const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'blockport-e2e');
	await mkdir(cache, { recursive: true });
	const folder = join(cache, await imageKey());
	if (!existsSync(folder)) {
		const startMs = performance.now();
		log(`building the guest's image in ${cache}`);
		const build = join(import.meta.dirname, 'build.ts');
		await shell('flock', [join(cache, 'lock'), process.execPath, build, folder]);
		log(`built in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
	}
	const now = new Date();
	await utimes(folder, now, now);
	await removeUnused(cache);
	return folder;
}

async function removeUnused(cache: string): Promise<void> {
	for (const name of await readdir(cache)) {
		if (!/^[0-9a-f]{16}$/.test(name)) continue;
		const { mtimeMs } = await stat(join(cache, name));
		if (Date.now() - mtimeMs > unusedDaysMax * 86_400_000) await rm(join(cache, name), { recursive: true, force: true });
	}
}
