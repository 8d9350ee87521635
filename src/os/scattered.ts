import * as fsp from 'node:fs/promises';
import { allocate } from './syscalls.ts';

/**
 * ext4 widens each allocation in a large file to 8 MiB that it keeps for the file. Pages that are written far from each other into a sparse file soon keep all there is,
 * and from then on each further one has the kernel look through every block group: 190 µs a page, measured. fallocate() takes no more than it was asked for: 9 µs.
 */
const ext4Magic = 0xef53;
const widenedBytes = 8 * 1024 * 1024;
const shortBytes = 64 * 1024;
/** Calls side by side on the thread pool; more wait for the file's lock. */
const callsMax = 4;

export async function isExt4(fd: number): Promise<boolean> {
	// Through the descriptor: the file's name may have changed.
	return (await fsp.statfs(`/proc/self/fd/${fd}`)).type === ext4Magic;
}

/** Allocates the short ranges that have no neighbour nearby. Positions ascend. Rejects with the kernel's error. */
export async function allocateScattered(fd: number, sources: readonly Uint8Array[], positionsBytes: readonly number[]): Promise<void> {
	const scattered: number[] = [];
	for (let index = 0; index < sources.length; index++) {
		const position = positionsBytes[index] as number;
		const before = positionsBytes[index - 1] ?? -Infinity;
		const after = positionsBytes[index + 1] ?? Infinity;
		const isAlone = position - before >= widenedBytes && after - position >= widenedBytes;
		if (isAlone && (sources[index] as Uint8Array).length < shortBytes) scattered.push(index);
	}
	let next = 0;
	const work = async (): Promise<void> => {
		for (let at = next++; at < scattered.length; at = next++) {
			const index = scattered[at] as number;
			await allocate(fd, positionsBytes[index] as number, (sources[index] as Uint8Array).length);
		}
	};
	await Promise.all(Array.from({ length: Math.min(callsMax, scattered.length) }, work));
}
