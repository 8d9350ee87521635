import { Command } from 'commander';
import type { ChapView } from '../admin/schemas.ts';
import { ApiClient } from './api-client.ts';
import { type ChapFlags, chapWish, describeChap, withChap } from './chap-flags.ts';
import { type CommonFlags, remoteCommand } from './flags.ts';
import { show } from './terminal.ts';

const path = '/v1/discovery/authentication';

export function discoveryCommand(): Command {
	const discovery = new Command('discovery').description('say who may discover iSCSI targets; each initiator sees those that admit it');
	discovery.addCommand(
		withChap(remoteCommand('auth', 'ask for CHAP in discovery sessions; what is left out stays as it is'), {
			initiator: 'discovery',
			target: 'blockport',
		})
			.option('--off', 'ask for nothing')
			.action(async (flags: CommonFlags & ChapFlags & { off?: boolean }, command: Command) => {
				const client = new ApiClient(flags);
				const wish = await chapWish(flags);
				if ((flags.off === true) === Object.keys(wish).length > 0) command.error('error: give either a secret or --off');
				if (flags.off === true) await client.delete(path);
				const now = flags.off === true ? await client.get<ChapView>(path) : await client.put<ChapView>(path, wish);
				await show(flags.json, now, describe);
			}),
	);
	discovery.addCommand(
		remoteCommand('show', 'show who has to prove itself in discovery sessions').action(async (flags: CommonFlags) => {
			await show(flags.json, await new ApiClient(flags).get<ChapView>(path), describe);
		}),
	);
	return discovery;
}

function describe(chap: ChapView): string {
	return chap.authentication === 'none' ? 'discovery asks for no authentication' : `discovery asks for ${describeChap(chap)}`;
}
