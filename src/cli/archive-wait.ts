import { setTimeout as delay } from 'node:timers/promises';
import type { ArchiveJobView } from '../admin/archive-schemas.ts';
import { type ApiClient, ApiError } from './api-client.ts';
import type { CommonFlags } from './flags.ts';
import { ProgressBar } from './progress-bar.ts';
import { printSize } from './size.ts';
import { lines, show } from './terminal.ts';

export interface JobFlags extends CommonFlags {
	readonly detach?: boolean;
}

const pollMs = 400;
/** What a shell calls a program that SIGINT ended. */
const interruptedCode = 130;

/** Shows a job to its end, unless it is left alone. Whoever interrupts this leaves the job to the appliance. Throws ApiError for one that did not do its work. */
export async function followed(client: ApiClient, flags: JobFlags, first: ArchiveJobView): Promise<void> {
	if (flags.detach === true) {
		await show(flags.json, first, (job) => `job ${job.id} begins: archive status ${job.id} shows how far it is`);
		return;
	}
	const bar = new ProgressBar(titleOf(first));
	const interrupted = (): void => {
		bar.end();
		process.stderr.write(
			`job ${first.id} goes on: "archive status ${first.id}" shows how far it is, "archive cancel ${first.id}" ends it\n`,
		);
		process.exit(interruptedCode);
	};
	process.once('SIGINT', interrupted);
	let job = first;
	try {
		while (job.state === 'waiting' || job.state === 'running') {
			bar.update(job.state === 'waiting' ? undefined : job.done, noteOf(job));
			await delay(pollMs);
			job = await client.get<ArchiveJobView>(`/v1/archive/jobs/${job.id}`);
		}
	} finally {
		bar.end();
		process.off('SIGINT', interrupted);
	}
	await show(flags.json, job, (ended) => (ended.state === 'done' ? `${titleOf(ended)}: done${summaryOf(ended)}` : ''));
	if (job.state === 'cancelled') throw new ApiError(`Job ${job.id} was cancelled.`, 0);
	if (job.state === 'failed') throw new ApiError(job.fault ?? `Job ${job.id} failed.`, 0);
}

export function titleOf({ kind, repository, volume, snapshot, manifest }: ArchiveJobView): string {
	const titles: Record<ArchiveJobView['kind'], string> = {
		export: `export of ${volume}@${snapshot} to ${repository}`,
		restore: `restore of ${manifest} to ${volume}`,
		verify: `verification of ${repository}`,
		gc: `collection in ${repository}`,
		prune: `pruning of ${repository}`,
	};
	return titles[kind];
}

export function describeJob(job: ArchiveJobView): string {
	const percent = job.done === undefined ? '' : `, ${Math.floor(job.done * 100)} %`;
	return lines([
		['job', String(job.id)],
		['what', titleOf(job)],
		['state', job.state === 'running' ? `running${percent}` : job.state],
		[job.state === 'failed' ? 'failed' : 'waits', job.fault],
		['tried again', job.retryAt],
		['begun', `${job.attempts} times`],
		['asked for', job.createdAt],
		['ended', job.finishedAt],
		...Object.entries(job.numbers ?? {}).map(([name, value]) => [wordsOf(name), valueOf(name, value)] as const),
		...Object.entries(job.result ?? {}).map(([name, value]) => [wordsOf(name), textOf(name, value)] as const),
	]);
}

function noteOf(job: ArchiveJobView): string {
	if (job.fault !== undefined) return job.fault;
	const { bytesPerSecond } = job.numbers ?? {};
	return bytesPerSecond === undefined ? '' : `${printSize(Math.round(bytesPerSecond))}/s`;
}

function summaryOf({ result = {} }: ArchiveJobView): string {
	const said = Object.entries(result).filter(([, value]) => typeof value === 'number' || typeof value === 'string');
	return said.length === 0 ? '' : `\n${lines(said.map(([name, value]) => [`  ${wordsOf(name)}`, textOf(name, value)] as const))}`;
}

function textOf(name: string, value: unknown): string {
	if (typeof value === 'number') return valueOf(name, value);
	return typeof value === 'string' ? value : JSON.stringify(value);
}

function valueOf(name: string, value: number): string {
	if (name.endsWith('PerSecond')) return `${printSize(Math.round(value))}/s`;
	return /bytes$/i.test(name) ? `${printSize(value)} (${value} bytes)` : String(value);
}

/** `chunksUploaded` → `chunks uploaded`. */
function wordsOf(name: string): string {
	return name
		.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
		.toLowerCase()
		.replace(/ bytes$/, '');
}
