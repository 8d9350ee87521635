import { createHash, randomBytes } from 'node:crypto';

/** What an initiator knows of CHAP (RFC 7143 §12.1.3), written apart from the target's. */
export interface ChapOptions {
	user: string;
	secret: string;
	/** The target has to prove itself by it. */
	target?: { user: string; secret: string };
	/** Values of CHAP_A, by default all four. */
	algorithms?: string;
}

const hashes: Readonly<Record<string, string>> = { 5: 'md5', 6: 'sha1', 7: 'sha256', 8: 'sha3-256' };

/** One security stage. `say` sends keys and resolves to the answer's; `last` asks for the next stage. Rejects if the target does not prove itself. */
export async function authenticate(
	say: (keys: Record<string, string>, last: boolean) => Promise<ReadonlyMap<string, string>>,
	names: Record<string, string>,
	options: ChapOptions,
): Promise<void> {
	const method = (await say({ ...names, AuthMethod: 'CHAP' }, false)).get('AuthMethod');
	if (method !== 'CHAP') throw new Error(`the target chose ${method}`);
	const challenge = await say({ CHAP_A: options.algorithms ?? '8,7,6,5' }, false);
	const hash = hashes[challenge.get('CHAP_A') ?? ''];
	if (hash === undefined) throw new Error(`the target chose algorithm ${challenge.get('CHAP_A')}`);
	const answer = respond(hash, Number(challenge.get('CHAP_I')), options.secret, binary(challenge.get('CHAP_C')));
	const proof = { CHAP_N: options.user, CHAP_R: `0x${answer.toString('hex')}` };
	if (options.target === undefined) {
		await say(proof, true);
		return;
	}
	const ours = randomBytes(16);
	const theirs = await say({ ...proof, CHAP_I: '7', CHAP_C: `0x${ours.toString('hex')}` }, true);
	if (theirs.get('CHAP_N') !== options.target.user) throw new Error(`the target calls itself ${theirs.get('CHAP_N')}`);
	if (!respond(hash, 7, options.target.secret, ours).equals(binary(theirs.get('CHAP_R'))))
		throw new Error('the target does not know its secret');
}

function respond(hash: string, identifier: number, secret: string, challenge: Buffer): Buffer {
	return createHash(hash)
		.update(Buffer.concat([Buffer.from([identifier]), Buffer.from(secret), challenge]))
		.digest();
}

function binary(text: string | undefined): Buffer {
	if (text?.startsWith('0x') !== true) throw new Error(`${text} is no binary value`);
	return Buffer.from(text.slice(2), 'hex');
}
