import { Command, Option } from 'commander';
import type { VolumeView } from '../admin/schemas.ts';
import type { MergeView, SnapshotView, SpaceView } from '../admin/snapshot-schemas.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { describeReservations } from './reservations.ts';
import { UsageError } from '../config/usage-error.ts';
import { type CommonFlags, argument, remoteCommand, size } from './flags.ts';
import { historyCommand, rewindCommand } from './history-commands.ts';
import { pastedCommand, usualDataDirectory } from './pasted-command.ts';
import { scrubCommand } from './scrub-command.ts';
import { merged } from './merge-wait.ts';
import { replayedText } from './status-commands.ts';
import { printSize } from './size.ts';
import { streamImportCommand } from './stream-import-command.ts';
import { limitCommand } from './space-commands.ts';
import { confirm, lines, show, table } from './terminal.ts';
import { usersOfVolume, whileUsed } from './volume-users.ts';

/** What `volume check` found, one sentence each; the volume is sound when there is none. */
export type CheckVolume = (dataDirectory: string, volume: string) => Promise<readonly { readonly message: string }[]>;

export function volumeCommand(checkVolume: CheckVolume): Command {
	const volume = new Command('volume').description('make, list, grow, delete and check volumes');

	volume.addCommand(
		remoteCommand('create', 'make a thin volume')
			.argument('<name>')
			.requiredOption('--size <size>', 'for example 10G (GiB), 512M, 1.5T; a multiple of 4096 bytes', size)
			.addOption(new Option('--block-size <bytes>', 'logical block').choices(['512', '4096']).default('512'))
			.option('--export <protocols>', 'iscsi, nvme or both with a comma: make a target or subsystem of that name too', protocols)
			.action(async (name: string, flags: CommonFlags & { size: number; blockSize: string; export?: string[] }) => {
				const body = {
					name,
					sizeBytes: flags.size,
					blockSize: Number(flags.blockSize),
					...(flags.export === undefined ? {} : { exports: flags.export }),
				};
				const made = await new ApiClient(flags).post<VolumeView>('/v1/volumes', body);
				await show(flags.json, made, () =>
					[`volume ${made.name} made: ${printSize(made.sizeBytes)}, uuid ${made.uuid}`, ...exported(made, flags)].join('\n'),
				);
			}),
	);

	volume.addCommand(
		remoteCommand('list', 'list volumes').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ volumes: VolumeView[] }>('/v1/volumes');
			await show(flags.json, found, ({ volumes }) =>
				table(
					['NAME', 'SIZE', 'BLOCK', 'STATE', 'MAPPED AS'],
					volumes.map((one) => [one.name, printSize(one.sizeBytes), String(one.blockSize), stateOf(one), mappings(one)]),
					'There are no volumes.',
				),
			);
		}),
	);

	volume.addCommand(
		remoteCommand('show', 'show one volume with its counters, and who is registered at it or holds it')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<VolumeView>(path(name)), describe);
			}),
	);

	volume.addCommand(
		remoteCommand('resize', 'grow a volume; initiators see the new size at once')
			.argument('<name>')
			.requiredOption('--size <size>', 'the new size', size)
			.action(async (name: string, flags: CommonFlags & { size: number }) => {
				const resized = await new ApiClient(flags).patch<VolumeView>(path(name), { sizeBytes: flags.size });
				await show(flags.json, resized, () => `volume ${name} has ${printSize(resized.sizeBytes)} now`);
			}),
	);

	volume.addCommand(
		remoteCommand('set', 'change how a volume may be used')
			.argument('<name>')
			.option('--sanitize <on|off>', 'let initiators destroy all its data by SANITIZE, beyond recovery by this machine', onOrOff)
			.action(async (name: string, flags: CommonFlags & { sanitize?: boolean }) => {
				if (flags.sanitize === undefined) throw new UsageError('Say what to change: --sanitize on or off.');
				const changed = await new ApiClient(flags).patch<VolumeView>(path(name), { sanitizable: flags.sanitize });
				await show(flags.json, changed, () =>
					changed.sanitizable === true
						? `initiators that write volume ${name} may destroy all its data by SANITIZE from now on`
						: `volume ${name} knows no SANITIZE`,
				);
			}),
	);

	volume.addCommand(
		remoteCommand('delete', 'delete a volume and all its data; it must not be mapped')
			.argument('<name>')
			.option('-y, --yes', 'do not ask')
			.action(async (name: string, flags: CommonFlags & { yes?: boolean }) => {
				const client = new ApiClient(flags);
				const lost = flags.yes === true ? '' : await snapshotsOf(client, name);
				const used = whileUsed(await usersOfVolume(client, name));
				if (!(await confirm(`Deleting volume ${name}${lost} and all its data${used}`, flags.yes)))
					throw new ApiError('Nothing was deleted.', 0);
				await client.delete(path(name));
				await show(flags.json, { deleted: name }, () => `volume ${name} deleted`);
			}),
	);

	volume.addCommand(
		remoteCommand('space', 'show what a volume and each of its snapshots hold')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				const found = await new ApiClient(flags).get<SpaceView>(`${path(name)}/space`);
				await show(flags.json, found, (space) =>
					table(
						['NAME', 'SHOWS', 'HOLDS ALONE'],
						[
							[space.volume, printSize(space.referencedBytes), printSize(space.exclusiveBytes)],
							...space.snapshots.map((one) => [`${name}@${one.name}`, printSize(one.referencedBytes), printSize(one.exclusiveBytes)]),
							['all', printSize(space.totalBytes), ''],
						],
						'',
					),
				);
			}),
	);

	volume.addCommand(streamImportCommand());

	volume.addCommand(scrubCommand());
	volume.addCommand(limitCommand());
	volume.addCommand(historyCommand());
	volume.addCommand(rewindCommand());

	volume.addCommand(
		remoteCommand('flatten', 'have a clone stand on its own; what it shares is copied in the background')
			.argument('<name>')
			.option('--wait', 'show how far it is, and wait for the end')
			.action(async (name: string, flags: CommonFlags & { wait?: boolean }) => {
				const client = new ApiClient(flags);
				const { isMerging } = await client.post<MergeView>(`${path(name)}/flatten`, {});
				if (flags.wait === true) await merged(client, name);
				await show(flags.json, { flattened: name }, () =>
					isMerging && flags.wait !== true ? `volume ${name} will stand on its own` : `volume ${name} stands on its own`,
				);
			}),
	);

	volume.addCommand(
		new Command('check')
			.description('verify everything on disk of a volume; the appliance must not run')
			.argument('<name>')
			.option('--data-dir <dir>', 'data directory', usualDataDirectory)
			.option('--json', 'print JSON')
			.action(async (name: string, flags: { dataDir: string; json?: boolean }) => {
				const findings = await checkVolume(flags.dataDir, name);
				await show(flags.json, { volume: name, findings }, () =>
					findings.length === 0 ? `volume ${name} is sound` : findings.map((finding) => finding.message).join('\n'),
				);
				if (findings.length > 0)
					throw new ApiError(`Volume ${name} is not sound: ${findings.length === 1 ? 'one finding' : `${findings.length} findings`}.`, 0);
			}),
	);
	return volume;
}

/** `, its 3 snapshots`: who is asked should know. */
async function snapshotsOf(client: ApiClient, name: string): Promise<string> {
	try {
		const { snapshots } = await client.get<{ snapshots: SnapshotView[] }>(`${path(name)}/snapshots`);
		return snapshots.length === 0 ? '' : `, its ${snapshots.length === 1 ? 'snapshot' : `${snapshots.length} snapshots`}`;
	} catch (error) {
		// A volume that is faulted may be deleted all the same.
		if (error instanceof ApiError && error.status === 503) return '';
		throw error;
	}
}

function path(name: string): string {
	return `/v1/volumes/${encodeURIComponent(name)}`;
}

const protocols = argument((text: string): string[] => {
	const named = text.split(',');
	if (named.some((one) => one !== 'iscsi' && one !== 'nvme') || new Set(named).size !== named.length)
		throw new UsageError('It takes iscsi, nvme or iscsi,nvme.');
	return named;
});

const onOrOff = argument((text: string): boolean => {
	if (text !== 'on' && text !== 'off') throw new UsageError('It takes on or off.');
	return text === 'on';
});

function stateOf({ state, replayed, clone }: VolumeView): string {
	return `${state}${replayedText(replayed)}${clone === true ? ', not flattened' : ''}`;
}

function mappings(volume: VolumeView): string {
	return [
		...volume.mappings.map(({ target, lun }) => `${target} LUN ${lun}`),
		...volume.namespaces.map(({ subsystem, nsid }) => `${subsystem} namespace ${nsid}`),
	].join(', ');
}

/** What is left to do, since nothing is open to anybody by itself. */
function exported(volume: VolumeView, where: CommonFlags): string[] {
	return [
		...volume.mappings.map(
			({ target, lun }) => `it is LUN ${lun} of ${target}: ${pastedCommand(['target', 'allow', target, 'INITIATOR'], where)}`,
		),
		...volume.namespaces.map(
			({ subsystem, nsid }) =>
				`it is namespace ${nsid} of ${subsystem}: ${pastedCommand(['subsystem', 'allow', subsystem, 'HOSTNQN'], where)}`,
		),
	];
}

/** How far a volume is fetched from an archive. */
function restoringText({ restoring }: VolumeView): string | undefined {
	if (restoring === undefined) return undefined;
	const { repository, manifest, done, failedReads, failure } = restoring;
	const failed = failedReads === 0 ? '' : `, ${failedReads} reads failed`;
	return `${Math.floor(done * 100)} % of ${manifest} in repository ${repository}${failed}${failure === undefined ? '' : `: ${failure}`}`;
}

async function describe(volume: VolumeView): Promise<string> {
	const reservations = volume.reservations === undefined ? '' : await describeReservations(volume.reservations);
	const facts = lines([
		['name', volume.name],
		['uuid', volume.uuid],
		['size', `${printSize(volume.sizeBytes)} (${volume.sizeBytes} bytes)`],
		['block size', String(volume.blockSize)],
		['created', volume.createdAt],
		['state', stateOf(volume)],
		['restoring', restoringText(volume)],
		['sanitize', volume.sanitizable === true ? 'on' : undefined],
		['fault', volume.fault],
		['mapped as', mappings(volume) || 'nothing'],
		...Object.entries(volume.statistics ?? {}).map(([name, value]) => [name, String(value)] as const),
	]);
	return reservations === '' ? facts : `${facts}\n\n${reservations}`;
}
