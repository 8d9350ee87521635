import { Command, Option } from 'commander';
import type { ArchiveJobView, DeletionView, ManifestView, ManifestsView, PruneView } from '../admin/archive-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { repositoryCommand } from './archive-repository-commands.ts';
import { type JobFlags, describeJob, followed, titleOf } from './archive-wait.ts';
import { type CommonFlags, argument, remoteCommand, size, whole } from './flags.ts';
import { printSize } from './size.ts';
import { type SnapshotReference, snapshotReference } from './snapshot-reference.ts';
import { confirm, lines, show, table } from './terminal.ts';
import { usersOfVolume, whileUsed } from './volume-users.ts';

const seconds = argument((text: string): number => {
	const parts = /^(?<count>\d{1,8})(?<unit>[smhd]?)$/.exec(text)?.groups;
	if (parts === undefined) throw new UsageError('It takes a time such as 90m, 24h, 7d or a number of seconds.');
	return Number(parts['count']) * { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }[parts['unit'] as '' | 's' | 'm' | 'h' | 'd'];
});

export function archiveCommand(): Command {
	const archive = new Command('archive').description('put snapshots into repositories, in a folder or on S3, and bring them back');
	archive.addCommand(repositoryCommand());
	for (const command of [...copyCommands(), ...lookCommands(), ...careCommands()]) archive.addCommand(command);
	return archive;
}

function copyCommands(): Command[] {
	return [
		jobCommand('export', 'archive a snapshot; only what changed since the last one is read and sent')
			.argument('<volume@snapshot>', '', snapshotReference)
			.argument('<repository>')
			.option('--limit <size>', 'send at most so much a second, for example 50M', size)
			.option('--full', 'read everything, whatever was archived before')
			.action(async ({ volume, name }: SnapshotReference, repository: string, flags: JobFlags & { limit?: number; full?: boolean }) => {
				const client = new ApiClient(flags);
				const limit = flags.limit === undefined ? {} : { bytesPerSecond: flags.limit };
				const body = { volume, snapshot: name, full: flags.full === true, ...limit };
				await followed(client, flags, await client.post<ArchiveJobView>(`${path(repository)}/exports`, body));
			}),
		jobCommand('restore', 'make a volume of an archived snapshot; it appears when all of it is there and verified')
			.argument('<repository>')
			.argument('<manifest>', 'its id, as archive list shows it')
			.argument('<volume>', 'name of the new volume')
			.option('--lazy', 'have it at once: what is asked for is fetched, and all else in the background')
			.option('--overwrite', 'replace the volume of that name, which nothing may map; it stays under another name')
			.option('--keep-as <name>', 'the other name; VOLUME-before-DATE if not said')
			.option('-y, --yes', 'do not ask')
			.action(
				async (
					repository: string,
					manifest: string,
					volume: string,
					flags: JobFlags & { lazy?: boolean; overwrite?: boolean; keepAs?: string; yes?: boolean },
				) => {
					const { overwrite, keepAs } = flags;
					if (keepAs !== undefined && overwrite !== true) throw new UsageError('--keep-as goes with --overwrite.');
					const client = new ApiClient(flags);
					if (overwrite === true) {
						const used = whileUsed(await usersOfVolume(client, volume));
						if (!(await confirm(`Replacing volume ${volume} by archived snapshot ${manifest}${used}`, flags.yes)))
							throw new ApiError('Nothing was restored.', 0);
					}
					const body = { volume, lazy: flags.lazy === true, overwrite: overwrite === true, ...(keepAs === undefined ? {} : { keepAs }) };
					await followed(client, flags, await client.post<ArchiveJobView>(`${manifestPath(repository, manifest)}/restore`, body));
				},
			),
	];
}

function lookCommands(): Command[] {
	return [
		remoteCommand('list', 'list archived snapshots, the oldest first, whoever archived them')
			.argument('<repository>')
			.option('--volume <name>', 'only those of this volume: the name that it had, or its UUID')
			.action(async (repository: string, flags: CommonFlags & { volume?: string }) => {
				const query = flags.volume === undefined ? '' : `?volume=${encodeURIComponent(flags.volume)}`;
				const found = await new ApiClient(flags).get<ManifestsView>(`${path(repository)}/manifests${query}`);
				await show(flags.json, found, ({ manifests }) =>
					table(
						['MANIFEST', 'VOLUME', 'SNAPSHOT', 'MADE', 'SIZE', 'ADDED', 'KEPT FOR', 'HERE'],
						manifests.map((one) => [
							one.id,
							one.volume.name,
							one.snapshot.name,
							one.snapshot.at,
							printSize(one.volume.sizeBytes),
							printSize(one.uploadedBytes ?? 0),
							one.keptFor === undefined ? '' : one.keptFor.join(' ') || 'nothing',
							one.local ?? '',
						]),
						'There are no archived snapshots.',
					),
				);
				if (found.damaged.length > 0) throw new ApiError(`What cannot be read: ${found.damaged.join(' ')}`, 0);
			}),
		remoteCommand('show', 'show one archived snapshot')
			.argument('<repository>')
			.argument('<manifest>')
			.action(async (repository: string, manifest: string, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<ManifestView>(manifestPath(repository, manifest)), describe);
			}),
		remoteCommand('status', 'show what is being archived, restored, verified and collected, and what was')
			.argument('[job]', '', whole)
			.action(async (job: number | undefined, flags: CommonFlags) => {
				const client = new ApiClient(flags);
				if (job !== undefined) return await show(flags.json, await client.get<ArchiveJobView>(`/v1/archive/jobs/${job}`), describeJob);
				const found = await client.get<{ jobs: ArchiveJobView[] }>('/v1/archive/jobs');
				await show(flags.json, found, ({ jobs }) =>
					table(
						['JOB', 'WHAT', 'STATE', 'ASKED FOR', 'NOTE'],
						jobs.map((one) => [
							String(one.id),
							titleOf(one),
							one.state === 'running' && one.done !== undefined ? `running, ${Math.floor(one.done * 100)} %` : one.state,
							one.createdAt,
							one.fault ?? '',
						]),
						'There are no archive jobs.',
					),
				);
			}),
		remoteCommand('cancel', 'end a job that runs or waits; what it has done so far is of use to the next one')
			.argument('<job>', '', whole)
			.action(async (job: number, flags: CommonFlags) => {
				const ended = await new ApiClient(flags).delete<ArchiveJobView>(`/v1/archive/jobs/${job}`);
				await show(flags.json, ended, ({ state }) => (state === 'cancelled' ? `job ${job} cancelled` : ''));
				if (ended.state !== 'cancelled') throw new ApiError(`Job ${job} came to its end meanwhile: it is ${ended.state}.`, 0);
			}),
	];
}

function careCommands(): Command[] {
	return [
		remoteCommand('delete', 'delete an archived snapshot from its repository, or from there and from here')
			.argument('<repository>')
			.argument('<manifest>')
			.addOption(
				new Option('--where <where>', 'both: the repository first, then the snapshot of this appliance')
					.choices(['remote', 'both'])
					.default('remote'),
			)
			.option('-y, --yes', 'do not ask')
			.action(async (repository: string, manifest: string, flags: CommonFlags & { where: 'remote' | 'both'; yes?: boolean }) => {
				const too = flags.where === 'both' ? ', and the snapshot here' : '';
				if (!(await confirm(`Deleting ${manifest} from repository ${repository}${too}`, flags.yes)))
					throw new ApiError('Nothing was deleted.', 0);
				const deleted = await new ApiClient(flags).delete<DeletionView>(`${manifestPath(repository, manifest)}?where=${flags.where}`);
				await show(flags.json, deleted, describeDeletion);
			}),
		verifyCommand('verify', 'compare a repository with itself: manifests and the existence of chunks, or every byte'),
		verifyCommand('check', 'the same as verify'),
		jobCommand('gc', 'remove chunks that no archived snapshot needs')
			.argument('<repository>')
			.option('--grace <time>', 'leave alone what is younger, for example 24h; others may be about to use it', seconds)
			.action(async (repository: string, flags: JobFlags & { grace?: number }) => {
				const client = new ApiClient(flags);
				const body = flags.grace === undefined ? {} : { graceSeconds: flags.grace };
				await followed(client, flags, await client.post<ArchiveJobView>(`${path(repository)}/gc`, body));
			}),
		jobCommand('prune', 'delete archived snapshots that no rule of the repository keeps')
			.argument('<repository>')
			.option('--dry-run', 'only show them')
			.option('-y, --yes', 'do not ask')
			.action(async (repository: string, flags: JobFlags & { dryRun?: boolean; yes?: boolean }) => {
				const client = new ApiClient(flags);
				const wanted = await client.get<PruneView>(`${path(repository)}/prune`);
				if (flags.dryRun === true) return await show(flags.json, wanted, describePrune);
				const count = wanted.manifests.length;
				if (count > 0 && !(await confirm(`Deleting ${count} of ${count + wanted.kept} archived snapshots`, flags.yes)))
					throw new ApiError('Nothing was deleted.', 0);
				await followed(client, flags, await client.post<ArchiveJobView>(`${path(repository)}/prune`, {}));
			}),
	];
}

function verifyCommand(name: string, description: string): Command {
	return jobCommand(name, description)
		.argument('<repository>')
		.option('--quick', 'manifests, and that each chunk exists: the default')
		.option('--full', 'read every byte')
		.option('--repair', 'put back what is missing or damaged and still in a snapshot of this appliance')
		.action(async (repository: string, flags: JobFlags & { quick?: boolean; full?: boolean; repair?: boolean }) => {
			if (flags.quick === true && flags.full === true) throw new UsageError('--quick and --full exclude each other.');
			const client = new ApiClient(flags);
			const body = { full: flags.full === true, repair: flags.repair === true };
			await followed(client, flags, await client.post<ArchiveJobView>(`${path(repository)}/verify`, body));
		});
}

function jobCommand(name: string, description: string): Command {
	return remoteCommand(name, description).option('--detach', 'do not wait for the end');
}

function path(repository: string): string {
	return `/v1/repositories/${encodeURIComponent(repository)}`;
}

function manifestPath(repository: string, manifest: string): string {
	return `${path(repository)}/manifests/${encodeURIComponent(manifest)}`;
}

function describe(one: ManifestView): string {
	return lines([
		['manifest', one.id],
		['volume', `${one.volume.name} (${one.volume.uuid})`],
		['size', `${printSize(one.volume.sizeBytes)} (${one.volume.sizeBytes} bytes), blocks of ${one.volume.blockSize}`],
		['snapshot', one.snapshot.name],
		['made', one.snapshot.at],
		['archived', one.archivedAt],
		['made from', one.parent],
		['chunks', one.chunks === undefined ? undefined : `${one.chunks} of ${printSize(one.chunkBytes ?? 0)}`],
		['data', one.dataBytes === undefined ? undefined : printSize(one.dataBytes)],
		['added', one.uploadedBytes === undefined ? undefined : printSize(one.uploadedBytes)],
		['merkle root', one.merkleRoot],
		['written by', one.tool],
		['here', one.local],
	]);
}

function describeDeletion({ repository, manifest, remote, local, stillArchived }: DeletionView): string {
	const words = { deleted: 'deleted', notFound: 'was not there' };
	return [
		`${manifest} in repository ${repository}: ${words[remote]}`,
		...(local === 'kept' ? [] : [`the snapshot here: ${words[local]}`]),
		...stillArchived.map((one) => `it still lives in repository ${one.repository} as ${one.manifest}`),
	].join('\n');
}

async function describePrune({ manifests, kept }: PruneView): Promise<string> {
	const rows = manifests.map((one) => [one.id, one.volume.name, one.snapshot.name, one.snapshot.at]);
	return [
		await table(['MANIFEST', 'VOLUME', 'SNAPSHOT', 'MADE'], rows, 'Every archived snapshot is kept by a rule.'),
		`${kept} are kept`,
	].join('\n');
}
