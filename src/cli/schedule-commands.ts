import { Command } from 'commander';
import type { ScheduleDetailView, ScheduleRunView, ScheduleView } from '../admin/schedule-schemas.ts';
import { ApiClient } from './api-client.ts';
import { type CommonFlags, names, remoteCommand, whole } from './flags.ts';
import { lines, show, table } from './terminal.ts';

const rules = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

type Rule = (typeof rules)[number];
type KeepFlags = { [Name in `keep${Capitalize<Rule>}`]?: number };

interface PolicyFlags extends CommonFlags, KeepFlags {
	readonly zone?: string;
	readonly template?: string;
	/** False: --no-repository. */
	readonly repository?: string | false;
}

export function scheduleCommand(): Command {
	const schedule = new Command('schedule').description('have snapshots made and deleted by the clock');

	schedule.addCommand(
		policy(remoteCommand('create', 'make a schedule'))
			.argument('<name>')
			.requiredOption('--volume <names>', 'a volume, or several with commas: each snapshot is one moment of all', names)
			.requiredOption('--cron <expression>', "five fields, as '0 * * * *', or @hourly, @daily, @weekly, @monthly, @yearly")
			.action(async (name: string, flags: PolicyFlags & { volume: string[]; cron: string }) => {
				const { cron, volume: volumes } = flags;
				const body = { name, volumes, cron, ...said(flags), keep: keepOf(flags) };
				const made = await new ApiClient(flags).post<ScheduleView>('/v1/schedules', body);
				await show(flags.json, made, () => `schedule ${made.name} made: next ${made.next[0] ?? 'never'}`);
			}),
	);

	schedule.addCommand(
		remoteCommand('list', 'list schedules').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ schedules: ScheduleView[] }>('/v1/schedules');
			await show(flags.json, found, ({ schedules }) =>
				table(
					['NAME', 'VOLUMES', 'CRON', 'ZONE', 'KEEPS', 'NEXT', 'STATE'],
					schedules.map((one) => [
						one.name,
						one.volumes.join(' '),
						one.cron,
						one.zone,
						kept(one),
						one.next[0] ?? 'never',
						one.fault === undefined ? 'ok' : 'failed',
					]),
					'There are no schedules.',
				),
			);
		}),
	);

	schedule.addCommand(
		remoteCommand('show', 'show one schedule: its next times, what it made, and why each of those is kept')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<ScheduleDetailView>(path(name)), describe);
			}),
	);

	schedule.addCommand(
		policy(remoteCommand('change', 'change a schedule; what is left out stays as it is, and it keeps what it made'))
			.argument('<name>')
			.option('--cron <expression>', 'when')
			.option('--no-repository', 'archive its snapshots no longer')
			.action(async (name: string, flags: PolicyFlags & { cron?: string }) => {
				const body = { ...said(flags), ...(flags.cron === undefined ? {} : { cron: flags.cron }), keep: keepOf(flags) };
				const changed = await new ApiClient(flags).patch<ScheduleView>(path(name), body);
				await show(flags.json, changed, () => `schedule ${name} changed: next ${changed.next[0] ?? 'never'}`);
			}),
	);

	schedule.addCommand(
		remoteCommand('delete', 'delete a schedule; the snapshots that it made stay')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				await new ApiClient(flags).delete(path(name));
				await show(flags.json, { deleted: name }, () => `schedule ${name} deleted; its snapshots stay`);
			}),
	);

	schedule.addCommand(
		remoteCommand('run', 'make a snapshot now, and delete what no rule keeps')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				const made = await new ApiClient(flags).post<ScheduleRunView>(`${path(name)}/run`, {});
				await show(flags.json, made, () =>
					[
						...made.volumes.map((volume) => `snapshot ${volume}@${made.name} made`),
						...made.deleted.map((one) => `snapshot ${one.volume}@${one.name} deleted`),
					].join('\n'),
				);
			}),
	);
	return schedule;
}

function policy(command: Command): Command {
	command
		.option('--zone <name>', 'time zone of cron expression and calendar, as Europe/Berlin; UTC if not said')
		.option('--template <text>', 'of the names; {schedule}-{utc:YYYYMMDD-HHmmss} if not said')
		.option('--repository <name>', 'archive each snapshot there');
	command.option('--keep-last <count>', 'keep the newest', whole);
	for (const rule of rules.slice(1))
		command.option(`--keep-${rule} <count>`, `keep the newest of so many ${periods[rule as keyof typeof periods]}`, whole);
	return command;
}

const periods = { hourly: 'hours', daily: 'days', weekly: 'weeks', monthly: 'months', yearly: 'years' };

function said({ zone, template, repository }: PolicyFlags): object {
	return {
		...(zone === undefined ? {} : { zone }),
		...(template === undefined ? {} : { template }),
		...(repository === undefined ? {} : { repository: repository === false ? null : repository }),
	};
}

function keepOf(flags: KeepFlags): Partial<Record<Rule, number>> {
	const keep: Partial<Record<Rule, number>> = {};
	for (const rule of rules) {
		const count = flags[`keep${rule[0]!.toUpperCase()}${rule.slice(1)}` as keyof KeepFlags];
		if (count !== undefined) keep[rule] = count;
	}
	return keep;
}

function path(name: string): string {
	return `/v1/schedules/${encodeURIComponent(name)}`;
}

function kept({ keep }: ScheduleView): string {
	return rules
		.filter((rule) => keep[rule] > 0)
		.map((rule) => `${keep[rule]} ${rule}`)
		.join(', ');
}

function describe(one: ScheduleDetailView): string {
	return lines([
		['name', one.name],
		['volumes', one.volumes.join(' ')],
		['cron', `${one.cron} (${one.zone})`],
		['template', one.template],
		['keeps', kept(one)],
		['archived in', one.repository],
		['created', one.createdAt],
		['next', one.next.join(', ') || 'never'],
		['fault', one.fault],
		['tried again', one.retryAt],
		...one.snapshots.map(
			({ volume, name, at, keptFor }) =>
				[
					`${volume}@${name}`,
					`${at}  ${keptFor.length === 0 ? 'kept for nothing: the next to go' : `kept as ${keptFor.join(', ')}`}`,
				] as const,
		),
	]);
}
