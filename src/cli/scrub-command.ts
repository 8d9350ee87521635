import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ScrubView } from '../admin/scrub-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, remoteCommand, size } from './flags.ts';
import { ProgressBar } from './progress-bar.ts';
import { lines, show } from './terminal.ts';

interface ScrubFlags extends CommonFlags {
	readonly wait?: boolean;
	readonly status?: boolean;
	readonly stop?: boolean;
	readonly rate?: number;
	/** False: --no-cron. */
	readonly cron?: string | boolean;
	readonly zone?: string;
}

const pollMs = 500;

export function scrubCommand(): Command {
	return remoteCommand('scrub', 'compare every page of a volume and its snapshots with its checksum, beside those who use it')
		.argument('<name>')
		.option('--wait', 'show how far it is, and wait for the end')
		.option('--rate <size>', 'read at most so much a second, for example 100M; a quarter of it while the volume is used', size)
		.option('--status', 'only show how it stands')
		.option('--stop', 'give up the one that runs')
		.option('--cron <expression>', 'not now, but always then')
		.option('--no-cron', 'no longer by the clock')
		.option('--zone <name>', 'time zone of --cron; UTC if not said')
		.action(async (name: string, flags: ScrubFlags) => {
			const client = new ApiClient(flags);
			const path = `/v1/volumes/${encodeURIComponent(name)}/scrub`;
			const view = await ask(client, path, flags);
			const ended = flags.wait === true ? await waited(client, path, view) : view;
			await show(flags.json, ended, describe);
			const { last, fault } = ended;
			if (flags.wait !== true) return;
			if (fault !== undefined) throw new ApiError(`The scrub of volume ${name} stopped: ${fault}`, 0);
			if (last === undefined) throw new ApiError(`The scrub of volume ${name} was given up.`, 0);
			const bad = last.findings - last.repaired;
			if (bad > 0) throw new ApiError(`Volume ${name} is not sound: ${bad === 1 ? 'one page' : `${bad} pages`}.`, 0);
		});
}

function ask(client: ApiClient, path: string, { status, stop, rate, cron, zone, wait }: ScrubFlags): Promise<ScrubView> {
	const wishes = [status === true, stop === true, typeof cron === 'string', cron === false].filter(Boolean).length;
	if (wishes > 1 || (wishes === 1 && (wait === true || rate !== undefined)) || (zone !== undefined && typeof cron !== 'string'))
		throw new UsageError('--status, --stop, --cron and --no-cron go alone, and --zone with --cron.');
	if (status === true) return client.get<ScrubView>(path);
	if (stop === true) return client.delete<ScrubView>(path);
	if (typeof cron === 'string') return client.put<ScrubView>(`${path}/times`, { cron, ...(zone === undefined ? {} : { zone }) });
	if (cron === false) return client.delete<ScrubView>(`${path}/times`);
	return client.post<ScrubView>(path, rate === undefined ? {} : { bytesPerSecond: rate });
}

async function waited(client: ApiClient, path: string, first: ScrubView): Promise<ScrubView> {
	const bar = new ProgressBar(`scrub of ${first.volume}`);
	try {
		let view = first;
		while (view.state !== 'idle') {
			const findings = view.findings ?? 0;
			const note = view.state === 'waiting' ? 'waits for another volume' : `${view.pages ?? 0} pages, ${findings} not sound`;
			bar.update(view.state === 'waiting' ? undefined : view.done, note);
			await delay(pollMs);
			view = await client.get<ScrubView>(path);
		}
		return view;
	} finally {
		bar.end();
	}
}

function describe(view: ScrubView): string {
	const { last, done } = view;
	return lines([
		['volume', view.volume],
		['state', view.state === 'running' && done !== undefined ? `running, ${Math.floor(done * 100)} %` : view.state],
		['stopped', view.fault],
		['since', view.startedAt],
		[
			'compared',
			view.pages === undefined ? undefined : `${view.pages} pages, ${view.findings ?? 0} not sound, ${view.repaired ?? 0} repaired`,
		],
		[
			'last',
			last === undefined ? undefined : `${last.finishedAt}: ${last.pages} pages, ${last.findings} not sound, ${last.repaired} repaired`,
		],
		['by the clock', view.cron === undefined ? undefined : `${view.cron} (${view.zone ?? 'UTC'}), next ${view.next ?? 'never'}`],
		...view.found.map(
			({ layer, page, lba, kind, isLive, isRepaired, repair }) =>
				[
					'found',
					`layer ${layer}${isLive ? '' : ' of a snapshot'}, page ${page}, LBA ${lba}: ${kind}, ${isRepaired ? 'repaired' : 'not repaired'}${repair === undefined ? '' : ` (${repair})`}`,
				] as const,
		),
	]);
}
