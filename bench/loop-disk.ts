import { execFileSync } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../test/conformance/servers/server-process.ts';
import { temporaryFolder } from './rig.ts';

/** Whether this process may mount. */
export function mayMount(): boolean {
	return process.getuid?.() === 0;
}

/**
 * An ext4 file system of its own on a loop device over a sparse file, so that what the device counts is nobody else's. Resolves to where it is mounted; it goes with the process.
 * Rejects, with what the tools said, where that is not possible.
 */
export async function loopDisk(sizeBytes: number, under: string | undefined): Promise<string> {
	const folder = await temporaryFolder(under);
	const image = join(folder, 'image');
	const mounted = join(folder, 'mounted');
	const file = await open(image, 'w');
	await file.truncate(sizeBytes);
	await file.close();
	// Everything now: the kernel would write inode tables in the background otherwise.
	await run('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
	await mkdir(mounted);
	await run('mount', ['-o', 'loop', image, mounted]);
	// Before the folder is removed. Lazily: at a signal the server still runs.
	process.prependOnceListener('exit', () => execFileSync('umount', ['--lazy', mounted]));
	return mounted;
}
