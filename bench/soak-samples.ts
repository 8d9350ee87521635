import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

const mebibyte = 1024 * 1024;
const segmentBytes = 64 * mebibyte;
/** Of a volume (README): what it has once it is written, and what a burst may take. Growth up to the first is none. */
const walBytesUsual = 12 * segmentBytes;
const walBytesMax = 32 * segmentBytes;
/** RSS may grow by so much in an hour, and by so much in less. A soak that is too short for a slope sees caches and tables fill for the first time: it finds only what grows fast. */
const rssGrowthMiBPerHourMax = 8;
const slopeHoursMin = 1 / 3;
const rssGrowthMiBShortMax = 32;

export interface Sample {
	seconds: number;
	rssMiB: number;
	/** Without those of the log's files, whose number goes up and down with the load. */
	fds: number;
	walFds: number;
	/** Of all volumes, on disk. */
	walBytes: number;
}

export function sample(seconds: number, pid: number, rssBytes: number, volumeFolders: readonly string[]): Sample {
	const links = openFiles(pid);
	const walFds = links.filter((path) => path.includes('/wal/')).length;
	const walBytes = volumeFolders.reduce((sum, folder) => sum + folderBytes(join(folder, 'wal')), 0);
	return { seconds, rssMiB: rssBytes / mebibyte, fds: links.length - walFds, walFds, walBytes };
}

function openFiles(pid: number): string[] {
	const folder = `/proc/${pid}/fd`;
	return readdirSync(folder).flatMap((fd) => {
		try {
			return [readlinkSync(join(folder, fd))];
		} catch (error) {
			// Closed between the two calls.
			if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
			throw error;
		}
	});
}

function folderBytes(folder: string): number {
	return readdirSync(folder).reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** Least squares: how much y grows for each unit of x. NaN for fewer than two points. */
export function slope(points: readonly (readonly [number, number])[]): number {
	const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
	const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
	const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
	return covariance / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

export interface Judgement {
	text: string;
	faults: string[];
}

/** Judges the samples after the warm-up: RSS by its slope, descriptors and log by whether the later part has more than the earlier one. */
export function judge(samples: readonly Sample[], volumes: number): Judgement {
	const faults: string[] = [];
	if (samples.length < 6)
		return { text: `${samples.length} samples`, faults: ['too few samples to judge anything: a longer soak is needed'] };
	const hours = (samples.at(-1)!.seconds - samples[0]!.seconds) / 3600;
	const rssPerHour = slope(samples.map(({ seconds, rssMiB }) => [seconds / 3600, rssMiB] as const));
	const growth = rssPerHour * hours;
	const growthMax = hours < slopeHoursMin ? rssGrowthMiBShortMax : rssGrowthMiBPerHourMax * Math.max(1, hours);
	if (growth > growthMax)
		faults.push(`RSS grew by ${growth.toFixed(1)} MiB in ${(hours * 60).toFixed(1)} min (${rssPerHour.toFixed(1)} MiB/h)`);

	const third = Math.floor(samples.length / 3);
	const [early, late] = [samples.slice(0, third), samples.slice(-third)];
	// What there is most of the time: sessions that come and go, and a file that is open for a moment, are no leak.
	const [usual, usualLate] = [middle(early.map(({ fds }) => fds)), middle(late.map(({ fds }) => fds))];
	if (usualLate > usual) faults.push(`${usualLate} file descriptors at the end, ${usual} at the beginning`);

	const half = Math.floor(samples.length / 2);
	const [mostEarly, mostLate] = [samples.slice(0, half), samples.slice(half)].map((part) =>
		Math.max(...part.map(({ walBytes }) => walBytes)),
	) as [number, number];
	if (mostLate > Math.max(mostEarly + volumes * segmentBytes, volumes * walBytesUsual))
		faults.push(`the log grew from at most ${mib(mostEarly)} to ${mib(mostLate)} MiB`);
	if (mostLate > volumes * walBytesMax) faults.push(`the log took ${mib(mostLate)} MiB, more than ${mib(volumes * walBytesMax)}`);

	const range = (of: (one: Sample) => number): string =>
		`${Math.min(...samples.map(of)).toFixed(0)}–${Math.max(...samples.map(of)).toFixed(0)}`;
	const text = [
		`RSS ${range(({ rssMiB }) => rssMiB)} MiB, slope ${rssPerHour.toFixed(2)} MiB/h over ${(hours * 60).toFixed(1)} min${hours < slopeHoursMin ? ' (too short to judge a slope)' : ''}`,
		`RSS in each tenth of that: ${tenths(samples).join(' ')}`,
		`file descriptors ${range(({ fds }) => fds)}, mostly ${usual} in the first third and ${usualLate} in the last (and ${range(({ walFds }) => walFds)} of the log)`,
		`log ${range(({ walBytes }) => walBytes / mebibyte)} MiB, most ${mib(mostEarly)} in the first half and ${mib(mostLate)} in the second`,
	].join('\n');
	return { text, faults };
}

function mib(bytes: number): string {
	return (bytes / mebibyte).toFixed(0);
}

/** The median; of an even number the lower one of the two in the middle. */
function middle(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;
}

/** Mean RSS, MiB: a leak goes on, what only warms up does not. */
function tenths(samples: readonly Sample[]): string[] {
	const parts = Math.min(10, samples.length);
	return Array.from({ length: parts }, (_none, part) => {
		const some = samples.slice(Math.floor((part * samples.length) / parts), Math.floor(((part + 1) * samples.length) / parts));
		return (some.reduce((sum, { rssMiB }) => sum + rssMiB, 0) / some.length).toFixed(1);
	});
}
