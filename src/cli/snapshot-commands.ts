import { Command } from 'commander';
import type { ArchivedPlaceView, SnapshotDeletionView } from '../admin/archive-schemas.ts';
import type { VolumeView } from '../admin/schemas.ts';
import type { ChangesView, MountPlaceView, RestoredView, SnapshotView } from '../admin/snapshot-schemas.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, names, remoteCommand, whole } from './flags.ts';
import { printSize } from './size.ts';
import { merged } from './merge-wait.ts';
import { type SnapshotReference, snapshotReference } from './snapshot-reference.ts';
import { streamExportCommand } from './stream-export-command.ts';
import { confirm, lines, show, table } from './terminal.ts';
import { toldText, usersOfVolume, whileUsed } from './volume-users.ts';

export function snapshotCommand(): Command {
	const snapshot = new Command('snapshot').description('make, restore, mount, clone, compare, export and delete snapshots of volumes');

	snapshot.addCommand(
		remoteCommand('create', 'make a snapshot of a volume, or of several in one moment')
			.argument('<volumes>', 'a volume, or several with commas', names)
			.argument('<name>')
			.action(async (volumes: string[], name: string, flags: CommonFlags) => {
				const made = await new ApiClient(flags).post<{ snapshots: SnapshotView[] }>('/v1/snapshots', { volumes, name });
				await show(flags.json, made, ({ snapshots }) => snapshots.map((one) => `snapshot ${full(one)} made`).join('\n'));
			}),
	);

	snapshot.addCommand(
		remoteCommand('list', 'list snapshots, the oldest first')
			.argument('[volume]')
			.action(async (volume: string | undefined, flags: CommonFlags) => {
				const route = volume === undefined ? '/v1/snapshots' : `/v1/volumes/${encodeURIComponent(volume)}/snapshots`;
				const found = await new ApiClient(flags).get<{ snapshots: SnapshotView[] }>(route);
				await show(flags.json, found, ({ snapshots }) =>
					table(
						['NAME', 'AT', 'SIZE', 'STANDS ON', 'SCHEDULE', 'MOUNTED AS'],
						snapshots.map((one) => [
							full(one),
							one.at,
							printSize(one.sizeBytes),
							one.parent ?? '',
							one.schedule ?? '',
							one.mounts.map(place).join(', '),
						]),
						'There are no snapshots.',
					),
				);
			}),
	);

	snapshot.addCommand(
		remoteCommand('show', 'show one snapshot')
			.argument('<volume@name>', '', snapshotReference)
			.action(async (which: SnapshotReference, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<SnapshotView>(path(which)), (one) =>
					lines([
						['name', full(one)],
						['id', String(one.id)],
						['made', one.at],
						['size', `${printSize(one.sizeBytes)} (${one.sizeBytes} bytes)`],
						['stands on', one.parent],
						['schedule', one.schedule],
						['mounted as', one.mounts.map(place).join(', ') || 'nothing'],
					]),
				);
			}),
	);

	snapshot.addCommand(
		remoteCommand('restore', 'make a volume what it was; unmount it first: who still uses it is told, and not asked')
			.argument('<volume@name>', '', snapshotReference)
			.option('--keep-live-as <name>', 'keep what is in the volume now as a snapshot')
			.option('-y, --yes', 'do not ask')
			.action(async (which: SnapshotReference, flags: CommonFlags & { keepLiveAs?: string; yes?: boolean }) => {
				const { keepLiveAs } = flags;
				const client = new ApiClient(flags);
				const lost = keepLiveAs === undefined ? ', losing what was written since' : '';
				const used = whileUsed(await usersOfVolume(client, which.volume));
				if (!(await confirm(`Restoring volume ${which.volume} to snapshot ${which.name}${lost}${used}`, flags.yes, used !== '')))
					throw new ApiError('Nothing was restored.', 0);
				const body = keepLiveAs === undefined ? {} : { keepLiveAs };
				const restored = await client.post<RestoredView>(`${path(which)}/restore`, body);
				await show(flags.json, restored, () => `volume ${which.volume} is what snapshot ${which.name} holds${toldText(restored)}`);
			}),
	);

	snapshot.addCommand(
		remoteCommand('delete', 'delete a snapshot; volume and other snapshots stay as they are')
			.argument('<volume@name>', '', snapshotReference)
			.option('--everywhere', 'delete it from the repositories too that this appliance has put it into, and there first')
			.option('-y, --yes', 'do not ask')
			.option('--wait', 'show how far its space is given back, and wait for the end')
			.action(async (which: SnapshotReference, flags: CommonFlags & { yes?: boolean; wait?: boolean; everywhere?: boolean }) => {
				const client = new ApiClient(flags);
				const { archived } = await client.get<{ archived: ArchivedPlaceView[] }>(`${path(which)}/archived`);
				const places = archived.map(placeInRepository).join(', ');
				const known = places === '' ? '' : flags.everywhere === true ? `, and ${places}` : `, which stays as ${places}`;
				if (!(await confirm(`Deleting snapshot ${full(which)}${known}`, flags.yes))) throw new ApiError('Nothing was deleted.', 0);
				let deleted: SnapshotDeletionView = { deleted: full(which), archived, deletedFrom: [] };
				if (flags.everywhere === true) deleted = await client.delete<SnapshotDeletionView>(`${path(which)}/everywhere`);
				else await client.delete(path(which));
				if (flags.wait === true) await merged(client, which.volume);
				await show(flags.json, deleted, (done) =>
					[
						...done.deletedFrom.map((place) => `${placeInRepository(place)} deleted`),
						`snapshot ${full(which)} deleted`,
						...done.archived.map((place) => `it still lives as ${placeInRepository(place)}`),
					].join('\n'),
				);
			}),
	);

	snapshot.addCommand(
		remoteCommand('clone', 'make a volume of a snapshot; it takes space for what is written to it only')
			.argument('<volume@name>', '', snapshotReference)
			.argument('<new>', 'name of the new volume')
			.action(async (which: SnapshotReference, name: string, flags: CommonFlags) => {
				const made = await new ApiClient(flags).post<VolumeView>(`${path(which)}/clone`, { name });
				await show(flags.json, made, () => `volume ${made.name} made of ${full(which)}: ${printSize(made.sizeBytes)}, uuid ${made.uuid}`);
			}),
	);

	snapshot.addCommand(
		remoteCommand('mount', 'export a snapshot read-only, until it is unmounted')
			.argument('<volume@name>', '', snapshotReference)
			.option('--target <name>', 'as a LUN of this target')
			.option('--lun <number>', 'by default the lowest free one', whole)
			.option('--subsystem <name>', 'as a namespace of this subsystem')
			.option('--nsid <number>', 'by default the lowest free one', whole)
			.action(
				async (which: SnapshotReference, flags: CommonFlags & { target?: string; lun?: number; subsystem?: string; nsid?: number }) => {
					const { target, lun, subsystem, nsid } = flags;
					const wish = Object.fromEntries(Object.entries({ target, lun, subsystem, nsid }).filter(([, value]) => value !== undefined));
					const mounted = await new ApiClient(flags).put<SnapshotView>(`${path(which)}/mount`, wish);
					await show(flags.json, mounted, (one) => `snapshot ${full(one)} is ${one.mounts.map(place).join(' and ')}, read-only`);
				},
			),
	);

	snapshot.addCommand(
		remoteCommand('unmount', 'export a snapshot no longer')
			.argument('<volume@name>', '', snapshotReference)
			.action(async (which: SnapshotReference, flags: CommonFlags) => {
				await new ApiClient(flags).delete(`${path(which)}/mount`);
				await show(flags.json, { unmounted: full(which) }, () => `snapshot ${full(which)} unmounted`);
			}),
	);

	snapshot.addCommand(
		remoteCommand('diff', 'show what was written between a snapshot and a later one, or now')
			.argument('<volume@name>', '', snapshotReference)
			.argument('[later]', 'name of a later snapshot of that volume')
			.option('--limit <count>', 'ranges that are listed', whole, 1000)
			.action(async (which: SnapshotReference, later: string | undefined, flags: CommonFlags & { limit: number }) => {
				const query = `limit=${flags.limit}${later === undefined ? '' : `&to=${encodeURIComponent(later)}`}`;
				const found = await new ApiClient(flags).get<ChangesView>(`${path(which)}/changes?${query}`);
				await show(flags.json, found, async (changes) =>
					[
						await table(
							['OFFSET', 'LENGTH'],
							changes.ranges.map(({ offsetBytes, lengthBytes }) => [String(offsetBytes), String(lengthBytes)]),
							'Nothing was written.',
						),
						...(changes.truncated ? [`and more: --limit lists up to 100000 ranges`] : []),
						...(changes.changedBytes > 0 ? [`${printSize(changes.changedBytes)} (${changes.changedBytes} bytes) changed`] : []),
					].join('\n'),
				);
			}),
	);
	snapshot.addCommand(streamExportCommand());
	return snapshot;
}

function placeInRepository({ repository, manifest, state }: Omit<ArchivedPlaceView, 'state'> & Partial<ArchivedPlaceView>): string {
	return `${manifest} in repository ${repository}${state === 'unknown' ? ' (if it is still there: the repository does not answer)' : ''}`;
}

function path({ volume, name }: SnapshotReference): string {
	return `/v1/volumes/${encodeURIComponent(volume)}/snapshots/${encodeURIComponent(name)}`;
}

function full({ volume, name }: SnapshotReference): string {
	return `${volume}@${name}`;
}

function place(one: MountPlaceView): string {
	return 'target' in one ? `LUN ${one.lun} of ${one.target}` : `namespace ${one.nsid} of ${one.subsystem}`;
}
