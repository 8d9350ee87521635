import { Command } from 'commander';
import type { LunMappingView, TargetView } from '../admin/schemas.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type ChapFlags, chapWish, describeChap, withChap } from './chap-flags.ts';
import { type CommonFlags, remoteCommand, repeated, whole } from './flags.ts';
import { confirm, lines, show, table } from './terminal.ts';
import { usersOfExport, whileUsed } from './volume-users.ts';

export function targetCommand(): Command {
	const target = new Command('target').description('make, list and delete iSCSI targets; map volumes; admit initiators');

	target.addCommand(
		remoteCommand('create', 'make a target, which shows itself to nobody until an initiator is allowed')
			.argument('<name>', 'iqn, eui or naa name')
			.option('--alias <text>', 'words for people', '')
			.option('--tpgt <number>', 'target portal group tag', whole, 1)
			.action(async (name: string, flags: CommonFlags & { alias: string; tpgt: number }) => {
				const made = await new ApiClient(flags).post<TargetView>('/v1/targets', { name, alias: flags.alias, tpgt: flags.tpgt });
				await show(flags.json, made, () => `target ${made.name} made`);
			}),
	);

	target.addCommand(
		remoteCommand('list', 'list targets').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ targets: TargetView[] }>('/v1/targets');
			await show(flags.json, found, ({ targets }) =>
				table(
					['NAME', 'LUNS', 'INITIATORS', 'SESSIONS'],
					targets.map((one) => [one.name, luns(one), initiators(one), String(one.sessions)]),
					'There are no targets.',
				),
			);
		}),
	);

	target.addCommand(
		remoteCommand('show', 'show one target')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<TargetView>(path(name)), (one) =>
					lines([
						['name', one.name],
						['alias', one.alias || undefined],
						['portal group', String(one.tpgt)],
						['created', one.createdAt],
						['LUNs', luns(one) || 'none'],
						['initiators', initiators(one) || 'none'],
						['redirected', redirected(one)],
						['sessions', String(one.sessions)],
					]),
				);
			}),
	);

	target.addCommand(
		remoteCommand('map', 'map a volume at a LUN')
			.argument('<name>')
			.argument('<volume>')
			.option('--lun <number>', 'by default the lowest free one', whole)
			.action(async (name: string, volume: string, flags: CommonFlags & { lun?: number }) => {
				const body = { volume, ...(flags.lun === undefined ? {} : { lun: flags.lun }) };
				const made = await new ApiClient(flags).post<LunMappingView>(`${path(name)}/luns`, body);
				await show(flags.json, made, () => `volume ${made.volume} is LUN ${made.lun} of ${made.target}`);
			}),
	);

	target.addCommand(
		remoteCommand('unmap', 'unmap a volume, or a LUN by its number with --lun; its data stay')
			.argument('<name>')
			.argument('[volume]')
			.option('--lun <number>', 'the LUN, instead of the volume', whole)
			.action(async (name: string, volume: string | undefined, flags: CommonFlags & { lun?: number }, command: Command) => {
				if ((volume === undefined) === (flags.lun === undefined)) command.error('error: name either the volume or --lun');
				const client = new ApiClient(flags);
				const lun = flags.lun ?? (await lunOf(client, name, volume ?? ''));
				await client.delete(`${path(name)}/luns/${lun}`);
				await show(flags.json, { unmapped: { target: name, lun } }, () => `LUN ${lun} of ${name} unmapped`);
			}),
	);

	target.addCommand(
		withChap(remoteCommand('allow', 'admit an initiator, or change how; what is left out stays as it is'), {
			initiator: "the initiator's name",
			target: "the target's name",
		})
			.argument('<name>')
			.argument('<initiator>')
			.option('--from <cidr>', 'network or address that it has to come from; several times for several', repeated)
			.action(async (name: string, initiator: string, flags: CommonFlags & ChapFlags & { from?: string[] }) => {
				const access = { ...(await chapWish(flags)), ...(flags.from === undefined ? {} : { sources: flags.from }) };
				const changed = await new ApiClient(flags).put<TargetView>(initiatorPath(name, initiator), access);
				await show(flags.json, changed, () => `${initiator} may log in to ${changed.name}`);
			}),
	);

	target.addCommand(
		remoteCommand('redirect', 'send logins to another portal, for maintenance, and ask initiators that are logged in to move')
			.argument('<name>')
			.argument('[host:port]')
			.option('--permanent', 'initiators are to forget this portal')
			.option('--off', 'take logins again')
			.action(
				async (name: string, to: string | undefined, flags: CommonFlags & { permanent?: boolean; off?: boolean }, command: Command) => {
					if ((to === undefined) !== (flags.off === true)) command.error('error: name either another portal or --off');
					const client = new ApiClient(flags);
					const place = `${path(name)}/redirection`;
					const changed =
						to === undefined
							? await client.delete<TargetView>(place)
							: await client.put<TargetView>(place, { address: to, permanent: flags.permanent === true });
					await show(flags.json, changed, ({ redirection }) =>
						redirection === undefined ? `${changed.name} takes logins here` : `logins to ${changed.name} go to ${redirection.address}`,
					);
				},
			),
	);

	target.addCommand(
		remoteCommand('disallow', 'admit an initiator no longer; its sessions end')
			.argument('<name>')
			.argument('<initiator>')
			.action(async (name: string, initiator: string, flags: CommonFlags) => {
				const changed = await new ApiClient(flags).delete<TargetView>(initiatorPath(name, initiator));
				await show(flags.json, changed, () => `${initiator} may no longer log in to ${changed.name}`);
			}),
	);

	target.addCommand(
		remoteCommand('delete', 'delete a target, ending its sessions; its volumes stay')
			.argument('<name>')
			.option('-y, --yes', 'do not ask')
			.action(async (name: string, flags: CommonFlags & { yes?: boolean }) => {
				const client = new ApiClient(flags);
				const used = whileUsed(await usersOfExport(client, (await client.get<TargetView>(path(name))).name));
				if (!(await confirm(`Deleting target ${name} and ending its sessions${used}`, flags.yes, used !== '')))
					throw new ApiError('Nothing was deleted.', 0);
				await client.delete(path(name));
				await show(flags.json, { deleted: name }, () => `target ${name} deleted`);
			}),
	);
	return target;
}

function path(name: string): string {
	return `/v1/targets/${encodeURIComponent(name)}`;
}

function initiatorPath(name: string, initiator: string): string {
	return `${path(name)}/initiators/${encodeURIComponent(initiator)}`;
}

async function lunOf(client: ApiClient, name: string, volume: string): Promise<number> {
	const target = await client.get<TargetView>(path(name));
	const mapping = target.luns.find((candidate) => candidate.volume === volume);
	if (mapping === undefined) throw new ApiError(`Target ${name} does not map volume ${volume}.`, 404);
	return mapping.lun;
}

function luns(target: TargetView): string {
	const snapshots = target.snapshots.map(({ lun, volume, snapshot }) => ({ lun, volume: `${volume}@${snapshot}` }));
	return [...target.luns, ...snapshots]
		.toSorted((a, b) => a.lun - b.lun)
		.map(({ lun, volume }) => `${lun}=${volume}`)
		.join(' ');
}

function initiators(target: TargetView): string {
	if (target.openToAll) return 'everyone, under --demo';
	return target.initiators.map((one) => `${one.initiator}${conditions(one)}`).join(', ');
}

/** What else than its name an initiator needs. */
function conditions(one: TargetView['initiators'][number]): string {
	const chap = describeChap(one);
	const said = [...(chap === '' ? [] : [chap]), ...(one.sources.length === 0 ? [] : [`from ${one.sources.join(' ')}`])];
	return said.length === 0 ? '' : ` (${said.join('; ')})`;
}

function redirected({ redirection }: TargetView): string | undefined {
	if (redirection === undefined) return undefined;
	return `to ${redirection.address}${redirection.permanent ? ', for good' : ''}`;
}
