import { Command } from 'commander';
import type { EventView } from '../admin/event-schemas.ts';
import { ApiClient } from './api-client.ts';
import { type CommonFlags, remoteCommand, whole } from './flags.ts';
import { show, table } from './terminal.ts';

export function eventCommand(): Command {
	const event = new Command('event').description(
		'look at what happened, also before a restart: snapshots, schedules, scrubs, archives and their failures',
	);
	event.addCommand(
		remoteCommand('list', 'list the last events, the newest at the end')
			.option('--after <sequence>', 'only later ones', whole, 0)
			.action(async (flags: CommonFlags & { after: number }) => {
				const found = await new ApiClient(flags).get<{ events: EventView[] }>(`/v1/events?after=${flags.after}`);
				await show(flags.json, found, ({ events }) =>
					table(
						['#', 'AT', 'SEVERITY', 'WHAT'],
						events.map(({ sequence, at, severity, message }) => [String(sequence), at, severity, message]),
						'There are no events.',
					),
				);
			}),
	);
	return event;
}
