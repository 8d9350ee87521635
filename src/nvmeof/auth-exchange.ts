import { timingSafeEqual } from 'node:crypto';
import { type AuthGroup, DhExponent, groupNames, groups } from './auth-group.ts';
import { type AuthHash, hashNames, hashes } from './auth-hash.ts';
import type { DhchapKey } from './auth-key.ts';
import { authLimits } from './auth-limits.ts';
import {
	type Explanation,
	authFailure,
	authHead,
	authID,
	authNegotiate,
	authType,
	authenticationFailure,
	dhchapChallenge,
	dhchapDescriptor,
	dhchapProtocolID,
	dhchapReply,
	dhchapSuccess1,
	dhchapSuccess2,
	explanation,
} from './auth-messages.ts';
import { responseValue } from './auth-response.ts';

/** What a host has to prove, and what it may ask for. */
export interface AuthSecrets {
	readonly host: DhchapKey;
	/** Undefined: the controller cannot prove itself, and a host that asks for it is refused. */
	readonly controller?: DhchapKey | undefined;
	/** The least that is accepted, and what is chosen if the host offers it. */
	readonly hash: AuthHash;
	readonly dhGroup: AuthGroup;
}

/** What all queues share: randomness, the sequence numbers, and how many exchanges run. */
export class AuthLedger {
	readonly #random: (lengthBytes: number) => Buffer;
	#seqnum: number;
	#running = 0;

	/** `random` gives as many unpredictable bytes as it is asked for. */
	constructor(random: (lengthBytes: number) => Buffer) {
		this.#random = random;
		this.#seqnum = random(4).readUInt32LE();
	}

	get running(): number {
		return this.#running;
	}

	random(lengthBytes: number): Buffer {
		return this.#random(lengthBytes);
	}

	/** S1 is never 0, and no two challenges have the same one until 2^32 have gone by. */
	nextSeqnum(): number {
		this.#seqnum = (this.#seqnum + 1) % 2 ** 32 || 1;
		return this.#seqnum;
	}

	begin(): boolean {
		if (this.#running >= authLimits.exchangesMax) return false;
		this.#running++;
		return true;
	}

	end(): void {
		this.#running--;
	}
}

interface Chosen {
	readonly tID: number;
	readonly hash: AuthHash;
	readonly group: AuthGroup;
}

interface Challenged extends Chosen {
	readonly challenge: Buffer;
	readonly seqnum: number;
	readonly exponent: DhExponent | undefined;
}

/** RVAL of the controller; undefined when the host did not ask for it. */
interface Accepted extends Chosen {
	readonly response: Buffer | undefined;
}

type Phase =
	| { readonly name: 'idle' }
	| { readonly name: 'negotiated'; readonly chosen: Chosen }
	| { readonly name: 'challenged'; readonly challenged: Challenged }
	| { readonly name: 'accepted'; readonly accepted: Accepted }
	| { readonly name: 'proved'; readonly tID: number }
	| { readonly name: 'refused'; readonly tID: number; readonly why: Explanation }
	| { readonly name: 'failed' };

/**
 * DH-HMAC-CHAP on one queue, the controller's side (NVMe Base 2.0 §8.13). send() takes the data of Authentication Send, receive() gives those of Authentication Receive.
 *
 *     idle ──AUTH_Negotiate──▶ negotiated ──Challenge fetched──▶ challenged ──Reply──▶ accepted ──Success1 fetched──▶ idle, authenticated
 *                                                                                       └─(host asked for proof)─▶ proved ──Success2──▶ idle, authenticated
 *     any of them ──wrong message──▶ refused ──Failure1 fetched──▶ failed ◀──AUTH_Failure2, expiry──
 *
 * A host may authenticate again at any time; the old result stands until the new exchange fails. Failed is final: the queue has to go.
 */
export class AuthExchange {
	readonly #ledger: AuthLedger;
	readonly #secrets: AuthSecrets;
	readonly #hostNQN: string;
	readonly #subsystemNQN: string;
	#phase: Phase = { name: 'idle' };
	#running = false;
	#expiresMs: number;
	#authenticated = false;
	#failure: string | undefined;

	/** At Connect: the time runs from then on. */
	constructor(parts: { ledger: AuthLedger; secrets: AuthSecrets; hostNQN: string; subsystemNQN: string; nowMs: number }) {
		this.#ledger = parts.ledger;
		this.#secrets = parts.secrets;
		this.#hostNQN = parts.hostNQN;
		this.#subsystemNQN = parts.subsystemNQN;
		this.#expiresMs = deadline(parts.nowMs);
	}

	/** Commands other than the authentication's may run on the queue. */
	get authenticated(): boolean {
		return this.#authenticated;
	}

	/** The queue has to go, behind what was sent. */
	get failed(): boolean {
		return this.#phase.name === 'failed';
	}

	/** For the log, once something went wrong: no secret in it. */
	get failure(): string | undefined {
		return this.#failure;
	}

	/** Authentication Send: a message of the host. What is wrong with it is told by the next receive(); the command itself succeeds. */
	send(data: Uint8Array, nowMs: number): void {
		if (this.#phase.name === 'failed') return;
		const why = this.#take(data, nowMs);
		if (why !== undefined) this.#refuse(this.#transaction(data), why, nowMs);
	}

	/**
	 * Authentication Receive: the message that is due. `nothing` when none is (Command Sequence Error); `short` when it does not fit the allocation
	 * length (Invalid Field in Command), and then it remains due.
	 */
	receive(allocationLength: number): Buffer | 'nothing' | 'short' {
		const phase = this.#phase;
		switch (phase.name) {
			case 'negotiated':
				return this.#challenge(phase.chosen, allocationLength);
			case 'accepted':
				return this.#success1(phase.accepted, allocationLength);
			case 'refused':
				return this.#failure1(phase.tID, phase.why, allocationLength);
			default:
				return 'nothing';
		}
	}

	/** At least once a second. True if an exchange took too long: the queue has to go. */
	tick(nowMs: number): boolean {
		if (nowMs < this.#expiresMs) return false;
		this.#fail('the exchange took too long');
		return true;
	}

	/** The queue is gone. */
	close(): void {
		this.#end();
	}

	#take(data: Uint8Array, nowMs: number): Explanation | undefined {
		if (data.length < authHead.sizeBytes || data.length > authLimits.messageBytesMax) return 'incorrectPayload';
		const type = authHead.authType.get(data, 0);
		const id = authHead.authID.get(data, 0);
		if (type === authType.common && id === authID.negotiate) return this.#negotiate(data, nowMs);
		if (type === authType.dhchap && id === authID.reply) return this.#reply(data);
		if (type === authType.dhchap && id === authID.success2) return this.#success2(data);
		if (type === authType.common && id === authID.failure2) return this.#failure2(data);
		return 'incorrectProtocolMessage';
	}

	#negotiate(data: Uint8Array, nowMs: number): Explanation | undefined {
		if (this.#phase.name !== 'idle') return 'incorrectProtocolMessage';
		if (data.length < authNegotiate.sizeBytes) return 'incorrectPayload';
		const napd = authNegotiate.napd.get(data, 0);
		if (napd === 0 || data.length !== authNegotiate.sizeBytes + napd * dhchapDescriptor.sizeBytes) return 'incorrectPayload';
		// TLS is what a secure channel would be concatenated with, and there is none.
		if (authNegotiate.scC.get(data, 0) !== 0) return 'secureChannelConcatenationMismatch';
		const at = Array.from({ length: napd }, (_, index) => authNegotiate.sizeBytes + index * dhchapDescriptor.sizeBytes).find(
			(base) => dhchapDescriptor.authID.get(data, base) === dhchapProtocolID,
		);
		if (at === undefined) return 'protocolNotUsable';
		const halen = dhchapDescriptor.halen.get(data, at);
		const dhlen = dhchapDescriptor.dhlen.get(data, at);
		const { hashIDList, dhgIDList } = dhchapDescriptor;
		if (halen === 0 || halen > hashIDList.size || dhlen === 0 || dhlen > dhgIDList.size) return 'incorrectPayload';
		const offeredHashes = hashIDList.get(data, at).subarray(0, halen);
		const offeredGroups = dhgIDList.get(data, at).subarray(0, dhlen);
		const hash = atLeast(hashNames, this.#secrets.hash).find((name) => offeredHashes.includes(hashes[name].hashID));
		if (hash === undefined) return 'hashNotUsable';
		const group = atLeast(groupNames, this.#secrets.dhGroup).find((name) => offeredGroups.includes(groups[name].dhgID));
		if (group === undefined) return 'groupNotUsable';
		if (!this.#ledger.begin()) return 'authenticationFailed';
		this.#running = true;
		// A first exchange has the time since Connect and no more.
		if (this.#authenticated) this.#expiresMs = deadline(nowMs);
		this.#phase = { name: 'negotiated', chosen: { tID: authNegotiate.tID.get(data, 0), hash, group } };
		return undefined;
	}

	#challenge(chosen: Chosen, allocationLength: number): Buffer | 'short' {
		const { hash, group } = chosen;
		const hashBytes = hashes[hash].bytes;
		const dhvlen = groups[group].bytes;
		const message = Buffer.alloc(dhchapChallenge.sizeBytes + hashBytes + dhvlen);
		if (allocationLength < message.length) return 'short';
		const exponent = group === 'null' ? undefined : new DhExponent(group, this.#ledger.random(groups[group].exponentBytes));
		const challenge = this.#ledger.random(hashBytes);
		const seqnum = this.#ledger.nextSeqnum();
		this.#head(message, authType.dhchap, authID.challenge, chosen.tID);
		dhchapChallenge.hl.set(message, 0, hashBytes);
		dhchapChallenge.hashID.set(message, 0, hashes[hash].hashID);
		dhchapChallenge.dhgID.set(message, 0, groups[group].dhgID);
		dhchapChallenge.dhvlen.set(message, 0, dhvlen);
		dhchapChallenge.seqnum.set(message, 0, seqnum);
		message.set(challenge, dhchapChallenge.sizeBytes);
		if (exponent !== undefined) message.set(exponent.publicValue, dhchapChallenge.sizeBytes + hashBytes);
		this.#phase = { name: 'challenged', challenged: { ...chosen, challenge, seqnum, exponent } };
		return message;
	}

	#reply(data: Uint8Array): Explanation | undefined {
		if (this.#phase.name !== 'challenged') return 'incorrectProtocolMessage';
		const { challenged } = this.#phase;
		const { hash, group, tID } = challenged;
		if (data.length < dhchapReply.sizeBytes || dhchapReply.tID.get(data, 0) !== tID) return 'incorrectPayload';
		const hl = hashes[hash].bytes;
		const dhvlen = dhchapReply.dhvlen.get(data, 0);
		const cvalid = dhchapReply.cvalid.get(data, 0);
		if (dhchapReply.hl.get(data, 0) !== hl || dhvlen !== groups[group].bytes || cvalid > 1) return 'incorrectPayload';
		if (data.length !== dhchapReply.sizeBytes + 2 * hl + dhvlen) return 'incorrectPayload';
		const seqnum = dhchapReply.seqnum.get(data, 0);
		const rval = data.subarray(dhchapReply.sizeBytes, dhchapReply.sizeBytes + hl);
		const cval = data.subarray(dhchapReply.sizeBytes + hl, dhchapReply.sizeBytes + 2 * hl);
		// S2 of 0 says that the challenge is for a pre-shared key only, which goes with a secure channel.
		if (cvalid === 1 && seqnum === 0) return 'incorrectPayload';
		const sessionKey = challenged.exponent?.sessionKey(data.subarray(dhchapReply.sizeBytes + 2 * hl), hash);
		if (challenged.exponent !== undefined && sessionKey === undefined) return 'incorrectPayload';
		const common = { hash, sessionKey, tID, scC: 0 };
		const expected = responseValue({
			...common,
			key: this.#secrets.host.transformed(this.#hostNQN),
			challenge: challenged.challenge,
			seqnum: challenged.seqnum,
			responder: 'HostHost',
			responderNQN: this.#hostNQN,
			otherNQN: this.#subsystemNQN,
		});
		if (!timingSafeEqual(expected, rval)) return 'authenticationFailed';
		const { controller } = this.#secrets;
		if (cvalid === 1 && controller === undefined) return 'authenticationFailed';
		const response =
			cvalid === 0 || controller === undefined
				? undefined
				: responseValue({
						...common,
						key: controller.transformed(this.#subsystemNQN),
						challenge: cval,
						seqnum,
						responder: 'Controller',
						responderNQN: this.#subsystemNQN,
						otherNQN: this.#hostNQN,
					});
		this.#phase = { name: 'accepted', accepted: { tID, hash, group, response } };
		return undefined;
	}

	#success1({ tID, hash, response }: Accepted, allocationLength: number): Buffer | 'short' {
		const message = Buffer.alloc(dhchapSuccess1.sizeBytes + (response?.length ?? 0));
		if (allocationLength < message.length) return 'short';
		this.#head(message, authType.dhchap, authID.success1, tID);
		dhchapSuccess1.hl.set(message, 0, hashes[hash].bytes);
		if (response === undefined) {
			this.#succeed();
		} else {
			dhchapSuccess1.rvalid.set(message, 0, 1);
			message.set(response, dhchapSuccess1.sizeBytes);
			this.#phase = { name: 'proved', tID };
		}
		return message;
	}

	#success2(data: Uint8Array): Explanation | undefined {
		if (this.#phase.name !== 'proved') return 'incorrectProtocolMessage';
		if (data.length !== dhchapSuccess2.sizeBytes || dhchapSuccess2.tID.get(data, 0) !== this.#phase.tID) return 'incorrectPayload';
		this.#succeed();
		return undefined;
	}

	/** The host says that the controller failed, at any time; there is no answer to it. */
	#failure2(data: Uint8Array): Explanation | undefined {
		if (data.length !== authFailure.sizeBytes) return 'incorrectPayload';
		this.#fail(`the host refused the controller (${authFailure.rescodeExp.get(data, 0)})`);
		return undefined;
	}

	#failure1(tID: number, why: Explanation, allocationLength: number): Buffer | 'short' {
		const message = Buffer.alloc(authFailure.sizeBytes);
		if (allocationLength < message.length) return 'short';
		this.#head(message, authType.common, authID.failure1, tID);
		authFailure.rescode.set(message, 0, authenticationFailure);
		authFailure.rescodeExp.set(message, 0, explanation[why]);
		this.#phase = { name: 'failed' };
		return message;
	}

	#head(message: Buffer, type: number, id: number, tID: number): void {
		authHead.authType.set(message, 0, type);
		authHead.authID.set(message, 0, id);
		authHead.tID.set(message, 0, tID);
	}

	/** Of the exchange that runs, else of the message. */
	#transaction(data: Uint8Array): number {
		const phase = this.#phase;
		switch (phase.name) {
			case 'negotiated':
				return phase.chosen.tID;
			case 'challenged':
				return phase.challenged.tID;
			case 'accepted':
				return phase.accepted.tID;
			case 'proved':
			case 'refused':
				return phase.tID;
			default:
				return data.length < authHead.sizeBytes ? 0 : authHead.tID.get(data, 0);
		}
	}

	#refuse(tID: number, why: Explanation, nowMs: number): void {
		const expiresMs = this.#phase.name === 'idle' && this.#authenticated ? deadline(nowMs) : this.#expiresMs;
		this.#authenticated = false;
		this.#failure ??= why;
		this.#end();
		// Whoever never fetches the refusal is ended by the clock.
		this.#expiresMs = expiresMs;
		this.#phase = { name: 'refused', tID, why };
	}

	#succeed(): void {
		this.#authenticated = true;
		this.#end();
	}

	#fail(why: string): void {
		this.#authenticated = false;
		this.#failure ??= why;
		this.#end();
		this.#phase = { name: 'failed' };
	}

	#end(): void {
		if (this.#running) this.#ledger.end();
		this.#running = false;
		this.#expiresMs = Infinity;
		this.#phase = { name: 'idle' };
	}
}

function deadline(nowMs: number): number {
	return nowMs + authLimits.exchangeSeconds * 1000;
}

/** Those from `least` on, it first. */
function atLeast<Name>(names: readonly Name[], least: Name): readonly Name[] {
	return names.slice(names.indexOf(least));
}
