import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { type AuthGroup, DhExponent, groups, primeOf } from '../../../src/nvmeof/auth-group.ts';
import type { AuthHash } from '../../../src/nvmeof/auth-hash.ts';
import { DhchapKey } from '../../../src/nvmeof/auth-key.ts';
import { responseValue } from '../../../src/nvmeof/auth-response.ts';
import { bigEndian, power } from './host.ts';

interface Vectors {
	keys: { text: string; nqn: string; transformed: string }[];
	primes: { group: Exclude<AuthGroup, 'null'>; sha256: string }[];
	responses: {
		hash: AuthHash;
		group: AuthGroup;
		key: string;
		challenge: string;
		seqnum: number;
		tID: number;
		responderNQN: string;
		otherNQN: string;
		exponent?: string;
		otherExponent?: string;
		publicSha256?: string;
		sessionKey?: string;
		asHost: string;
		asController: string;
	}[];
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors.json'), 'utf8')) as Vectors;

test('secrets: every transformation and length gives the key that another implementation computed', (t) => {
	t.is(vectors.keys.length, 12);
	for (const { text, nqn, transformed } of vectors.keys) t.is(DhchapKey.parse(text).transformed(nqn).toString('hex'), transformed, text);
});

/** RFC 7919, appendix A: the last 64 bits before the ones. */
const ends: Record<string, string> = {
	ffdhe2048: '886b423861285c97',
	ffdhe3072: '25e41d2b66c62e37',
	ffdhe4096: 'c68a007e5e655f6a',
	ffdhe6144: 'a40e329cd0e40e65',
	ffdhe8192: 'd68c8bb7c5c6424c',
};

test('the primes are those of RFC 7919', (t) => {
	t.is(vectors.primes.length, 5);
	for (const { group, sha256 } of vectors.primes) {
		const prime = primeOf(group);
		t.is(prime.length, groups[group].bytes);
		t.is(prime.toString('hex').slice(-32, -16), ends[group] ?? '', group);
		t.is(prime.toString('hex').slice(0, 32), 'ffffffffffffffffadf85458a2bb4a9a');
		t.is(createHash('sha256').update(prime).digest('hex'), sha256, group);
	}
});

test('responses: every hash with every group, as host and as controller', (t) => {
	t.is(vectors.responses.length, 18);
	for (const one of vectors.responses) {
		const { group, hash } = one;
		let sessionKey: Buffer | undefined;
		if (group !== 'null') {
			const exponent = new DhExponent(group, hex(one.exponent));
			t.is(createHash('sha256').update(exponent.publicValue).digest('hex'), one.publicSha256 ?? '');
			const prime = BigInt(`0x${primeOf(group).toString('hex')}`);
			const other = bigEndian(power(2n, BigInt(`0x${one.otherExponent}`), prime), groups[group].bytes);
			sessionKey = exponent.sessionKey(other, hash);
			t.is(sessionKey?.toString('hex'), one.sessionKey, group);
		}
		const inputs = { ...one, key: hex(one.key), challenge: hex(one.challenge), sessionKey, scC: 0 };
		t.is(responseValue({ ...inputs, responder: 'HostHost' }).toString('hex'), one.asHost, `${group} ${hash}`);
		t.is(responseValue({ ...inputs, responder: 'Controller' }).toString('hex'), one.asController, `${group} ${hash}`);
	}
});

test('a public value that begins with zeros has the length of the prime all the same', (t) => {
	const small = new DhExponent('ffdhe2048', Buffer.concat([Buffer.alloc(31), Buffer.of(5)]));
	t.is(small.publicValue.length, 256);
	t.is(small.publicValue.toString('hex'), bigEndian(32n, 256).toString('hex'));
});

test('values of the other side that give the key away are refused: 0, 1, p − 1, p and above', (t) => {
	const own = new DhExponent('ffdhe2048', Buffer.alloc(32, 7));
	const prime = BigInt(`0x${primeOf('ffdhe2048').toString('hex')}`);
	for (const value of [0n, 1n, prime - 1n, prime, 2n ** 2048n - 1n]) t.is(own.sessionKey(bigEndian(value, 256), 'sha256'), undefined);
	t.is(own.sessionKey(bigEndian(2n, 256), 'sha256')?.length, 32);
	t.is(own.sessionKey(bigEndian(prime - 2n, 256), 'sha256')?.length, 32);
});

function hex(text: string | undefined): Buffer {
	return Buffer.from(text ?? '', 'hex');
}
