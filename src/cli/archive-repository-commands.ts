import { resolve } from 'node:path';
import { Command } from 'commander';
import type { RepositoryDetailView, RepositoryView } from '../admin/archive-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, argument, remoteCommand, whole } from './flags.ts';
import { secret, secretForms } from './secret.ts';
import { printSize } from './size.ts';
import { confirm, lines, show, table } from './terminal.ts';

const rules = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
const periods = { last: 'newest', hourly: 'hours', daily: 'days', weekly: 'weeks', monthly: 'months', yearly: 'years' } as const;

type Rule = (typeof rules)[number];

interface PolicyFlags extends CommonFlags {
	readonly accessKeyId?: string;
	readonly secretAccessKey?: string;
	readonly passphrase?: string;
	readonly keepLast?: number;
	readonly keepHourly?: number;
	readonly keepDaily?: number;
	readonly keepWeekly?: number;
	readonly keepMonthly?: number;
	readonly keepYearly?: number;
	readonly zone?: string;
}

interface AddFlags extends PolicyFlags {
	readonly folder?: string;
	readonly s3?: { bucket: string; prefix: string };
	readonly endpoint?: string;
	readonly region?: string;
	readonly pathStyle?: boolean;
	readonly caFile?: string;
	readonly create?: boolean;
}

const bucketUrl = argument((text: string): { bucket: string; prefix: string } => {
	const parts = /^s3:\/\/(?<bucket>[^/]+)(?:\/(?<prefix>.*))?$/.exec(text)?.groups;
	if (parts === undefined) throw new UsageError('It takes s3://BUCKET or s3://BUCKET/PREFIX.');
	return { bucket: parts['bucket'] ?? '', prefix: parts['prefix'] ?? '' };
});

export function repositoryCommand(): Command {
	const repository = new Command('repository').description('say where archives are: folders and buckets');

	repository.addCommand(
		policy(remoteCommand('add', 'add a repository that is there, or make one with --create'))
			.argument('<name>')
			.option('--folder <dir>', 'a folder on the machine of the appliance')
			.option('--s3 <url>', 's3://BUCKET/PREFIX', bucketUrl)
			.option('--endpoint <url>', "of an S3 server; Amazon's if not said")
			.option('--region <name>', 'us-east-1 if not said')
			.option('--path-style', 'the bucket in the path and not in the name of the host, as most servers want it')
			.option('--ca-file <file>', 'certificates to trust, PEM, on the machine of the appliance')
			.option('--create', 'make the repository; an encrypted one if there is a passphrase')
			.action(async (name: string, flags: AddFlags) => {
				const body = { name, location: locationOf(flags), ...(await policyOf(flags)), create: flags.create === true };
				const added = await new ApiClient(flags).post<RepositoryView>('/v1/repositories', body);
				const what =
					flags.create === true ? `made${added.isEncrypted ? ', encrypted: without the passphrase nobody reads it' : ''}` : 'added';
				await show(flags.json, added, () => `repository ${added.name} at ${added.place} ${what}`);
			}),
	);

	repository.addCommand(
		remoteCommand('list', 'list repositories').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ repositories: RepositoryView[] }>('/v1/repositories');
			await show(flags.json, found, ({ repositories }) =>
				table(
					['NAME', 'PLACE', 'ENCRYPTED', 'KEEPS'],
					repositories.map((one) => [one.name, one.place, one.isEncrypted ? 'yes' : 'no', keepsOf(one) || 'everything']),
					'There are no repositories.',
				),
			);
		}),
	);

	repository.addCommand(
		remoteCommand('show', 'show one repository, and whether it answers')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				const shown = await new ApiClient(flags).get<RepositoryDetailView>(path(name));
				await show(flags.json, shown, describe);
				if (shown.state === 'unusable') throw new ApiError(shown.fault ?? `Repository ${name} cannot be used.`, 0);
			}),
	);

	repository.addCommand(
		policy(remoteCommand('change', 'change secrets and rules; what is left out stays as it is'))
			.argument('<name>')
			.action(async (name: string, flags: PolicyFlags) => {
				const accessKeyId = flags.accessKeyId === undefined ? {} : { accessKeyId: flags.accessKeyId };
				const changed = await new ApiClient(flags).patch<RepositoryView>(path(name), { ...(await policyOf(flags)), ...accessKeyId });
				await show(flags.json, changed, () => `repository ${name} changed`);
			}),
	);

	repository.addCommand(
		remoteCommand('remove', 'forget a repository; what is in it stays')
			.argument('<name>')
			.option('-y, --yes', 'do not ask')
			.action(async (name: string, flags: CommonFlags & { yes?: boolean }) => {
				if (!(await confirm(`Forgetting repository ${name}, its secrets and its passphrase`, flags.yes)))
					throw new ApiError('Nothing was removed.', 0);
				await new ApiClient(flags).delete(path(name));
				await show(flags.json, { removed: name }, () => `repository ${name} removed; what is in it stays`);
			}),
	);
	return repository;
}

function policy(command: Command): Command {
	command
		.option('--access-key-id <id>', "of S3; without it the environment of the appliance's process is asked")
		.option('--secret-access-key <secret>', `of S3; ${secretForms}`)
		.option('--passphrase <secret>', `of an encrypted repository; ${secretForms}`);
	for (const rule of rules)
		command.option(`--keep-${rule} <count>`, `keep so many ${periods[rule]} of each volume; 0 takes the rule back`, whole);
	return command.option('--zone <name>', 'time zone of these days and weeks, as Europe/Berlin; UTC if not said');
}

async function policyOf(flags: PolicyFlags): Promise<Record<string, unknown>> {
	const keep: Partial<Record<Rule, number>> = {};
	const counts = {
		last: flags.keepLast,
		hourly: flags.keepHourly,
		daily: flags.keepDaily,
		weekly: flags.keepWeekly,
		monthly: flags.keepMonthly,
		yearly: flags.keepYearly,
	};
	for (const rule of rules) if (counts[rule] !== undefined) keep[rule] = counts[rule];
	const { zone } = flags;
	return {
		...(flags.secretAccessKey === undefined ? {} : { secretAccessKey: await secret(flags.secretAccessKey) }),
		...(flags.passphrase === undefined ? {} : { passphrase: await secret(flags.passphrase) }),
		...(Object.keys(keep).length === 0 ? {} : { keep }),
		...(zone === undefined ? {} : { zone }),
	};
}

function locationOf({ folder, s3, endpoint, region, pathStyle, caFile, accessKeyId }: AddFlags): object {
	if ((folder === undefined) === (s3 === undefined)) throw new UsageError('A repository is in a folder or on S3: --folder or --s3.');
	const isOnS3 = [endpoint, region, pathStyle, caFile, accessKeyId].some((flag) => flag !== undefined);
	if (folder !== undefined) {
		if (isOnS3) throw new UsageError('--endpoint, --region, --path-style, --ca-file and --access-key-id go with --s3.');
		return { kind: 'folder', path: resolve(folder) };
	}
	return {
		kind: 's3',
		...s3,
		...(endpoint === undefined ? {} : { endpoint }),
		...(region === undefined ? {} : { region }),
		pathStyle: pathStyle === true,
		...(caFile === undefined ? {} : { caFile: resolve(caFile) }),
		...(accessKeyId === undefined ? {} : { accessKeyId }),
	};
}

function path(name: string): string {
	return `/v1/repositories/${encodeURIComponent(name)}`;
}

function keepsOf({ keep }: RepositoryView): string {
	return rules
		.filter((rule) => keep[rule] > 0)
		.map((rule) => `${keep[rule]} ${rule}`)
		.join(', ');
}

function describe(one: RepositoryDetailView): string {
	const { location } = one;
	return lines([
		['name', one.name],
		['place', one.place],
		['state', one.state],
		['fault', one.fault],
		['id', one.id],
		['region', location.kind === 's3' ? location.region : undefined],
		['access key id', location.kind === 's3' ? (location.accessKeyId ?? 'from the environment') : undefined],
		['encrypted', one.isEncrypted ? 'yes' : 'no'],
		['chunks of', one.chunkBytes === undefined ? undefined : printSize(one.chunkBytes)],
		['archived', one.manifests === undefined ? undefined : `${one.manifests} snapshots of ${one.volumes ?? 0} volumes`],
		...(one.damaged ?? []).map((reason) => ['damaged', reason] as const),
		['keeps', keepsOf(one) === '' ? 'everything' : `${keepsOf(one)} (${one.zone})`],
		['added', one.createdAt],
	]);
}
