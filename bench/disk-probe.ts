import { randomFillSync } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

const mebibyte = 1024 * 1024;
const syncBytes = 16 * mebibyte;
const fileBytes = 256 * mebibyte;

export interface DiskPace {
	megabytesPerSecond: number;
	longestSyncMs: number;
}

/** What the disk of a folder takes, written like a log: 1 MiB after the other, an fdatasync after 16, over a file that is there already. */
export async function diskPace(folder: string, seconds: number): Promise<DiskPace> {
	const path = join(folder, 'probe');
	const file = await open(path, 'w');
	const data = randomFillSync(Buffer.alloc(mebibyte));
	try {
		// A disk's pace is that of one write after the other.
		for (let at = 0; at < fileBytes; at += mebibyte) await file.write(data, 0, mebibyte, at);
		await file.datasync();
		const startMs = performance.now();
		let written = 0;
		let longestSyncMs = 0;
		while (performance.now() - startMs < seconds * 1000) {
			for (let part = 0; part < syncBytes; part += mebibyte) {
				await file.write(data, 0, mebibyte, written % fileBytes);
				written += mebibyte;
			}
			const syncMs = performance.now();
			await file.datasync();
			longestSyncMs = Math.max(longestSyncMs, performance.now() - syncMs);
		}
		return { megabytesPerSecond: written / 1000 / (performance.now() - startMs), longestSyncMs };
	} finally {
		await file.close();
		await rm(path);
	}
}
