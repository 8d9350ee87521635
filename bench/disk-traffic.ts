import { readFileSync, statSync } from 'node:fs';

const sectorBytes = 512;

/** What was written to a disk up to now, seen from the process and from the disk. */
export interface Traffic {
	/** proc(5), io: write_bytes, counted when a page becomes dirty, less what was taken back before it was written. */
	processBytes: number;
	/** Sectors written, everybody's, the file system's journal included; undefined where the folder has no block device of its own. */
	deviceBytes: number | undefined;
}

export function traffic(pid: number, folder: string): Traffic {
	return {
		processBytes: processWriteBytes(readFileSync(`/proc/${pid}/io`, 'utf8')),
		deviceBytes: deviceWriteBytes(readFileSync('/proc/diskstats', 'utf8'), statSync(folder).dev),
	};
}

/** Out of the text of /proc/<pid>/io. */
export function processWriteBytes(text: string): number {
	const field = (name: string): number => {
		const found = new RegExp(`^${name}: (\\d+)$`, 'm').exec(text);
		if (found === null) throw new Error(`/proc/<pid>/io has no ${name}`);
		return Number(found[1]);
	};
	return field('write_bytes') - field('cancelled_write_bytes');
}

/** Out of the text of /proc/diskstats, for a device number as stat(2) gives it. */
export function deviceWriteBytes(text: string, device: number): number | undefined {
	// The layout of dev_t in user space (makedev(3)), as far as 32 bits go.
	const major = (device >>> 8) & 0xfff;
	const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
	for (const line of text.split('\n')) {
		const fields = line.trim().split(/\s+/);
		if (Number(fields[0]) === major && Number(fields[1]) === minor) return Number(fields[9]) * sectorBytes;
	}
	return undefined;
}

export function difference(after: Traffic, before: Traffic): Traffic {
	const { deviceBytes } = after;
	return {
		processBytes: after.processBytes - before.processBytes,
		deviceBytes: deviceBytes === undefined || before.deviceBytes === undefined ? undefined : deviceBytes - before.deviceBytes,
	};
}
