import type { Command } from 'commander';
import type { ChapView, NewChap } from '../admin/schemas.ts';
import { secret, secretForms } from './secret.ts';

export interface ChapFlags {
	readonly chapUser?: string;
	readonly chapSecret?: string;
	readonly mutualChapUser?: string;
	readonly mutualChapSecret?: string;
}

/** `usual`: the names that are taken when none is given. */
export function withChap(command: Command, usual: { readonly initiator: string; readonly target: string }): Command {
	return command
		.option('--chap-user <name>', `name that the initiator gives with CHAP (default: ${usual.initiator})`)
		.option('--chap-secret <secret>', `the initiator has to prove itself by it; 12 to 255 bytes, for Windows at most 16; ${secretForms}`)
		.option('--mutual-chap-user <name>', `name that the target gives (default: ${usual.target})`)
		.option('--mutual-chap-secret <secret>', 'the target proves itself by it if the initiator asks; another secret than the first');
}

/** What was said; reads secrets from where the flags say. */
export async function chapWish(flags: ChapFlags): Promise<NewChap> {
	// One after the other: lines of standard input come in this order.
	const chapSecret = flags.chapSecret === undefined ? undefined : await secret(flags.chapSecret);
	const mutualChapSecret = flags.mutualChapSecret === undefined ? undefined : await secret(flags.mutualChapSecret);
	return {
		...(flags.chapUser === undefined ? {} : { chapUser: flags.chapUser }),
		...(chapSecret === undefined ? {} : { chapSecret }),
		...(flags.mutualChapUser === undefined ? {} : { mutualChapUser: flags.mutualChapUser }),
		...(mutualChapSecret === undefined ? {} : { mutualChapSecret }),
	};
}

/** Empty if nobody proves anything. */
export function describeChap({ authentication, chapUser = '', mutualChapUser = '' }: ChapView): string {
	switch (authentication) {
		case 'none':
			return '';
		case 'initiator':
			return `CHAP as ${chapUser}`;
		case 'mutual':
			return `CHAP as ${chapUser}, target as ${mutualChapUser}`;
		default:
			return authentication satisfies never;
	}
}
