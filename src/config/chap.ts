import { limits } from './limits.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** A name and the secret that proves it. For the listener: no view of the admin API has the secret. */
export interface ChapCredentials {
	readonly user: string;
	readonly secret: string;
}

/** Who proves itself by CHAP: nobody, the initiator, or also the target if the initiator asks. */
export interface ChapRow {
	readonly chap: ChapCredentials | undefined;
	readonly mutualChap: ChapCredentials | undefined;
}

/** What the operator says; what is left out stays as it is. */
export interface ChapWish {
	readonly chapUser?: string | undefined;
	readonly chapSecret?: string | undefined;
	readonly mutualChapUser?: string | undefined;
	readonly mutualChapSecret?: string | undefined;
}

/** The columns of a row that has both. */
export interface ChapColumns {
	readonly chapUser: string | null;
	readonly chapSecret: string | null;
	readonly mutualChapUser: string | null;
	readonly mutualChapSecret: string | null;
}

export const selectChap =
	'chap_user AS chapUser, chap_secret AS chapSecret, mutual_chap_user AS mutualChapUser, mutual_chap_secret AS mutualChapSecret';

const controlCharacter = /\p{Cc}/u;

/**
 * What holds after a wish. A user that is not named is `usual`: initiators call themselves by their iSCSI name if nobody tells them otherwise. Refuses (UsageError) what is no name
 * or no secret, a name without a secret, and a secret of the target without one of the initiator.
 */
export function granted(
	before: ChapRow | undefined,
	wish: ChapWish,
	usual: { readonly initiator: string; readonly target: string },
): ChapRow {
	const chap = credentials(before?.chap, wish.chapUser, wish.chapSecret, usual.initiator, 'CHAP');
	const mutualChap = credentials(before?.mutualChap, wish.mutualChapUser, wish.mutualChapSecret, usual.target, 'mutual CHAP');
	if (mutualChap !== undefined && chap === undefined) {
		throw new UsageError('Mutual CHAP goes with CHAP: an initiator that asks the target for proof gives its own first.');
	}
	return { chap, mutualChap };
}

export function fromColumns(row: ChapColumns): ChapRow {
	const one = (user: string | null, secret: string | null) => (user === null || secret === null ? undefined : { user, secret });
	return { chap: one(row.chapUser, row.chapSecret), mutualChap: one(row.mutualChapUser, row.mutualChapSecret) };
}

export function toColumns({ chap, mutualChap }: ChapRow): [string | null, string | null, string | null, string | null] {
	return [chap?.user ?? null, chap?.secret ?? null, mutualChap?.user ?? null, mutualChap?.secret ?? null];
}

/**
 * Within the transaction of a change, when it is written: refuses (UsageError) a secret that stands for an initiator here and for a target there. RFC 7143 §9.2.1: whoever knows one
 * side's secret could play the other side.
 */
export function checkDirections({ database }: Transactions): void {
	const secrets = (column: string) =>
		`SELECT ${column} AS secret FROM target_access WHERE ${column} IS NOT NULL
		UNION SELECT ${column} FROM discovery_authentication WHERE ${column} IS NOT NULL`;
	const shared = database
		.prepare<[], string>(`SELECT secret FROM (${secrets('chap_secret')}) INTERSECT SELECT secret FROM (${secrets('mutual_chap_secret')})`)
		.pluck()
		.get();
	if (shared !== undefined) {
		throw new UsageError(
			'Initiators and targets need different secrets: this one proves a side already, and would prove the other as well.',
		);
	}
}

function credentials(
	before: ChapCredentials | undefined,
	user: string | undefined,
	secret: string | undefined,
	usual: string,
	what: string,
): ChapCredentials | undefined {
	if (user === undefined && secret === undefined) return before;
	const next = { user: user ?? before?.user ?? usual, secret: secret ?? before?.secret };
	if (next.secret === undefined) throw new UsageError(`A name for ${what} needs a secret: give both.`);
	if (next.user === '' || Buffer.byteLength(next.user) > limits.chapUserBytes || controlCharacter.test(next.user)) {
		throw new UsageError(`A name for ${what} is 1 to ${limits.chapUserBytes} bytes of text without control characters.`);
	}
	const bytes = Buffer.byteLength(next.secret);
	if (bytes < limits.chapSecretBytesMin || bytes > limits.chapSecretBytesMax || controlCharacter.test(next.secret)) {
		throw new UsageError(
			`A secret for ${what} is ${limits.chapSecretBytesMin} to ${limits.chapSecretBytesMax} bytes of text without control characters (Windows takes 12 to 16), and this one has ${bytes}.`,
		);
	}
	return { user: next.user, secret: next.secret };
}
