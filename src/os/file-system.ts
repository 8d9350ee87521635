import { statfs } from 'node:fs/promises';

/** File systems that write elsewhere what is overwritten, by the kernel's magic number (statfs(2)). */
const copyingFileSystems: ReadonlyMap<number, string> = new Map([
	[0x9123_683e, 'btrfs'],
	[0x2fc1_2fc1, 'ZFS'],
	[0xca45_1a4e, 'bcachefs'],
	[0xf2f5_2010, 'F2FS'],
	[0x3434, 'NILFS'],
]);

/** The name of the file system of a path, if bytes that are overwritten in place stay somewhere on it; undefined where they do not, as far as the kernel tells. */
export async function keepsOldBytes(path: string): Promise<string | undefined> {
	return keeperOf((await statfs(path)).type);
}

/** The same by the magic number. */
export function keeperOf(type: number): string | undefined {
	// Some platforms tell it as a signed number.
	return copyingFileSystems.get(type >>> 0);
}
