import { timingSafeEqual } from 'node:crypto';
import { type ChapAccess, chapAlgorithms, chapResponse, parseBinary, printBinary } from './chap.ts';
import { limits } from './limits.ts';
import { loginStatus } from './pdu.ts';
import { ProtocolError } from './protocol-error.ts';
import type { KeyValue } from './text.ts';

/** As many unpredictable bytes as it is asked for. */
export type Random = (lengthBytes: number) => Buffer;

interface Challenge {
	readonly algorithm: number;
	readonly identifier: number;
	readonly bytes: Buffer;
}

/** Answers for the initiator, or the status that its login is refused with. */
type Step = readonly KeyValue[] | number;

/**
 * CHAP during the security stage, the target's side (RFC 7143 §12.1.3). No I/O; randomness is an argument.
 *
 *   chosen ── CHAP_A ─→ challenged ── CHAP_N, CHAP_R, right ─→ proved
 *     └── anything else ─→ the login is over ←── wrong ──┘
 *
 * Invariant: a challenge is answered once; it is never sent a second time.
 */
export class ChapExchange {
	readonly #access: ChapAccess;
	readonly #random: Random;
	#challenge: Challenge | undefined;
	#proved = false;
	#mutual = false;

	constructor(access: ChapAccess, random: Random) {
		this.#access = access;
		this.#random = random;
	}

	/** The initiator has proved itself. */
	get proved(): boolean {
		return this.#proved;
	}

	/** And the target as well. */
	get mutual(): boolean {
		return this.#mutual;
	}

	/** Takes the CHAP keys of one whole text. Throws ProtocolError for keys out of turn or without form. */
	take(keys: ReadonlyMap<string, string>): Step {
		if (keys.size === 0) return [];
		if (this.#proved) throw new ProtocolError('CHAP goes on after its end');
		const offered = keys.get('CHAP_A');
		if (this.#challenge === undefined) {
			if (offered === undefined || keys.size > 1) throw new ProtocolError('CHAP does not begin with CHAP_A alone');
			return this.#begin(offered);
		}
		if (offered !== undefined) throw new ProtocolError('CHAP begins again');
		return this.#prove(this.#challenge, keys);
	}

	#begin(offered: string): Step {
		const algorithm = offered
			.split(',')
			.map(Number)
			.find((number) => chapAlgorithms.has(number));
		if (algorithm === undefined) return loginStatus.authenticationFailure;
		const identifier = this.#random(1)[0]!;
		// A hash's worth of challenge: less would weaken the longer hashes.
		const bytes = this.#random(chapAlgorithms.get(algorithm)!.bytes);
		this.#challenge = { algorithm, identifier, bytes };
		return [
			['CHAP_A', String(algorithm)],
			['CHAP_I', String(identifier)],
			['CHAP_C', printBinary(bytes)],
		];
	}

	#prove(challenge: Challenge, keys: ReadonlyMap<string, string>): Step {
		const user = keys.get('CHAP_N');
		const response = keys.get('CHAP_R');
		if (user === undefined || response === undefined) return loginStatus.missingParameter;
		const { algorithm, identifier, bytes } = challenge;
		const { initiator, target } = this.#access;
		const given = parseBinary(response);
		const expected = chapResponse(algorithm, identifier, initiator.secret, bytes);
		// Both are looked at whatever the other says: the time tells nothing of the name.
		const right = given.length === expected.length && timingSafeEqual(given, expected);
		if (user !== initiator.user || !right) return loginStatus.authenticationFailure;
		// §9.2.1: a response that we would have given ourselves proves nothing.
		if (target !== undefined && chapResponse(algorithm, identifier, target.secret, bytes).equals(given))
			return loginStatus.authenticationFailure;
		const theirs = this.#counterChallenge(keys);
		if (theirs === undefined) {
			this.#proved = true;
			return [];
		}
		// §9.2.1: our own challenge, sent back to have it answered by us.
		if (theirs.bytes.equals(bytes)) return loginStatus.authenticationFailure;
		if (target === undefined) return loginStatus.authenticationFailure;
		this.#proved = true;
		this.#mutual = true;
		return [
			['CHAP_N', target.user],
			['CHAP_R', printBinary(chapResponse(algorithm, theirs.identifier, target.secret, theirs.bytes))],
		];
	}

	/** What the initiator asks the target to answer, if it does. */
	#counterChallenge(keys: ReadonlyMap<string, string>): { identifier: number; bytes: Buffer } | undefined {
		const identifier = keys.get('CHAP_I');
		const challenge = keys.get('CHAP_C');
		if (identifier === undefined && challenge === undefined) return undefined;
		if (identifier === undefined || challenge === undefined) throw new ProtocolError('half a challenge');
		if (!/^(?:\d{1,3}|0[xX][0-9a-fA-F]{1,2})$/.test(identifier) || Number(identifier) > 255)
			throw new ProtocolError('a CHAP_I that is no byte');
		return { identifier: Number(identifier), bytes: parseBinary(challenge) };
	}
}

const names = new Set(['CHAP_A', 'CHAP_I', 'CHAP_C', 'CHAP_N', 'CHAP_R']);

/** Takes the CHAP keys out of a text. Throws ProtocolError for one that comes twice, or is longer than any can be. */
export function takeChapKeys(pairs: readonly KeyValue[]): { chap: Map<string, string>; others: KeyValue[] } {
	const chap = new Map<string, string>();
	const others: KeyValue[] = [];
	for (const pair of pairs) {
		const [key, value] = pair;
		if (!names.has(key)) {
			others.push(pair);
			continue;
		}
		if (chap.has(key)) throw new ProtocolError(`${key} comes twice`);
		if (key === 'CHAP_N' && (value === '' || Buffer.byteLength(value) > limits.chapNameBytes))
			throw new ProtocolError('a CHAP_N that is none');
		chap.set(key, value);
	}
	return { chap, others };
}
