import { join } from 'node:path';
import { type Disk, errorCode } from '../os/disk.ts';

/** The deepest path below a volume's directory is one folder and a file. */
const depthMax = 4;

/** Removes a directory with everything in it; none there is no error. */
export async function removeTree(disk: Disk, path: string, depth = 0): Promise<void> {
	if (depth > depthMax) throw new RangeError(`${path} is deeper than a volume's directory can be`);
	const names = await disk.list(path).catch((error: unknown) => {
		if (errorCode(error) === 'ENOENT') return undefined;
		throw error;
	});
	if (names === undefined) return;
	for (const name of names) {
		const entry = join(path, name);
		try {
			await disk.remove(entry);
		} catch (error) {
			// What unlink(2) says of a directory: EISDIR on Linux, EPERM by POSIX.
			const code = errorCode(error);
			if (code !== 'EISDIR' && code !== 'EPERM') throw error;
			await removeTree(disk, entry, depth + 1);
		}
	}
	await disk.removeDirectory(path);
}
