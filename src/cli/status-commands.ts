import { Command } from 'commander';
import type { SessionView, StatusView } from '../admin/schemas.ts';
import { printEndpoint } from '../config/endpoint.ts';
import { ApiClient } from './api-client.ts';
import { type CommonFlags, remoteCommand } from './flags.ts';
import { printSize } from './size.ts';
import { lines, show, table } from './terminal.ts';

export function statusCommand(): Command {
	return remoteCommand('status', 'show how the appliance is').action(async (flags: CommonFlags) => {
		await show(flags.json, await new ApiClient(flags).get<StatusView>('/v1/status'), describe);
	});
}

export function sessionCommand(): Command {
	const session = new Command('session').description('look at iSCSI sessions');
	session.addCommand(
		remoteCommand('list', 'list sessions').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ sessions: SessionView[] }>('/v1/sessions');
			await show(flags.json, found, ({ sessions }) =>
				table(
					['INITIATOR', 'TARGET', 'FROM', 'CHAP', 'SINCE', 'COMMANDS', 'READ', 'WRITTEN'],
					sessions.map((one) => [
						one.initiator,
						one.target ?? 'discovery',
						one.remote,
						{ none: 'no', chap: 'yes', mutual: 'both ways' }[one.authentication],
						one.since,
						String(one.commands),
						printSize(one.bytesRead),
						printSize(one.bytesWritten),
					]),
					'There are no sessions.',
				),
			);
		}),
	);
	return session;
}

function describe(status: StatusView): string {
	const { volumes, memory } = status;
	return lines([
		['version', status.version],
		['state', status.state],
		['pid', String(status.pid)],
		['started', status.startedAt],
		['data directory', `${status.dataDirectory}, ${printSize(status.freeBytes)} free`],
		...status.iscsiPortals.map((portal) => ['iSCSI', describePortal(portal)] as const),
		['NVMe/TCP', status.nvme === undefined ? undefined : printEndpoint(status.nvme)],
		['NVMe discovery', status.nvmeDiscovery === undefined ? undefined : printEndpoint(status.nvmeDiscovery)],
		['administration', status.admin === undefined ? undefined : printEndpoint(status.admin)],
		['volumes', `${volumes.online} online, ${volumes.opening} opening, ${volumes.faulted} faulted`],
		...openingLines(status.opening ?? []),
		...status.faults.map(({ volume, fault }) => ['fault', `${volume}: ${fault}`] as const),
		['targets', String(status.targets)],
		['sessions', String(status.sessions)],
		['subsystems', String(status.subsystems)],
		['controllers', String(status.controllers)],
		[
			'memory',
			`${printSize(memory.rssBytes)} resident; ${printSize(memory.budgetUsedBytes)} of ${printSize(memory.budgetLimitBytes)} payload in flight`,
		],
		...status.unknownDirectories.map((name) => ['unknown directory', name] as const),
	]);
}

/** How many volumes that are not open yet are named at most. */
const openingMax = 16;

/** Those that are replayed first, since what has only begun to wait says nothing. */
export function openingLines(opening: NonNullable<StatusView['opening']>): (readonly [string, string])[] {
	const sorted = opening.toSorted((a, b) => Number(b.replayed !== undefined) - Number(a.replayed !== undefined));
	const named = sorted.slice(0, openingMax).map(({ volume, replayed }) => ['opening', `${volume}${replayedText(replayed)}`] as const);
	return opening.length > openingMax ? [...named, ['opening', `and ${opening.length - openingMax} more`]] : named;
}

/** `, replaying, 43 %`; nothing before the log is read. */
export function replayedText(replayed: number | undefined): string {
	return replayed === undefined ? '' : `, replaying, ${Math.floor(replayed * 100)} %`;
}

function describePortal(portal: StatusView['iscsiPortals'][number]): string {
	const { portalGroupTag } = portal;
	return `${printEndpoint(portal)}${portalGroupTag === undefined ? '' : `, portal group ${portalGroupTag}`}`;
}
