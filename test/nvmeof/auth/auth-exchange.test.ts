import { createHash } from 'node:crypto';
import test from 'ava';
import { AuthExchange, AuthLedger, type AuthSecrets } from '../../../src/nvmeof/auth-exchange.ts';
import { type AuthGroup, groupNames, primeOf } from '../../../src/nvmeof/auth-group.ts';
import { hashNames } from '../../../src/nvmeof/auth-hash.ts';
import { DhchapKey } from '../../../src/nvmeof/auth-key.ts';
import { authLimits } from '../../../src/nvmeof/auth-limits.ts';
import { explanation } from '../../../src/nvmeof/auth-messages.ts';
import { type Identity, failure2, groupIDs, hashIDs, hmac, negotiate, reply, success2 } from './host.ts';

const hostNQN = 'nqn.2014-08.org.nvmexpress:uuid:5d6a1b6e-9bd1-4e2f-8f6f-0b0c0d0e0f10';
const subsystemNQN = 'nqn.2026-11.dev.blockport:auth';
/** Secrets of 32 bytes: the host's to be used as it is, the controller's to be transformed with SHA-384. */
const hostSecret = DhchapKey.parse('DHHC-1:00:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQHMnzFi:');
const controllerSecret = DhchapKey.parse(secretText(Buffer.alloc(32, 2), '02'));
const identity: Identity = { hostNQN, subsystemNQN, key: Buffer.alloc(32, 1) };
const controllerKey = hmac('sha384', Buffer.alloc(32, 2), subsystemNQN, 'NVMe-over-Fabrics');

function secretText(secret: Buffer, transformation: string): string {
	let crc = ~0;
	for (const byte of secret) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0xedb88320 : 0);
	}
	const sum = Buffer.alloc(4);
	sum.writeUInt32LE(~crc >>> 0);
	return `DHHC-1:${transformation}:${Buffer.concat([secret, sum]).toString('base64')}:`;
}

/** Different bytes for each call, the same in each run. */
function counted(): (lengthBytes: number) => Buffer {
	let calls = 0;
	return (lengthBytes) => {
		calls++;
		const block = createHash('sha512').update(String(calls)).digest();
		return Buffer.concat([block, block]).subarray(0, lengthBytes);
	};
}

function begin(options: Partial<AuthSecrets> & { ledger?: AuthLedger } = {}): AuthExchange {
	const { ledger = new AuthLedger(counted()), ...secrets } = options;
	return new AuthExchange({
		ledger,
		secrets: { host: hostSecret, hash: 'sha256', dhGroup: 'null', ...secrets },
		hostNQN,
		subsystemNQN,
		nowMs: 0,
	});
}

function received(exchange: AuthExchange): Buffer {
	const message = exchange.receive(4096);
	if (typeof message === 'string') throw new Error(`receive() said ${message}`);
	return message;
}

/** Fetches AUTH_Failure1 and gives its explanation. */
function refusal(exchange: AuthExchange, tID = 7): number {
	const message = received(exchange);
	if (message.length !== 8 || message[0] !== 0 || message[1] !== 0xf1 || message[6] !== 1) throw new Error(message.toString('hex'));
	if (message.readUInt16LE(4) !== tID) throw new Error(`T_ID ${message.readUInt16LE(4)}`);
	if (!exchange.failed || exchange.authenticated) throw new Error('not failed');
	return message[7] as number;
}

for (const hash of hashNames) {
	for (const dhGroup of groupNames) {
		test(`${hash} with ${dhGroup}: host and controller prove themselves to a host written by itself`, (t) => {
			const exchange = begin({ hash, dhGroup, controller: controllerSecret });
			exchange.send(negotiate(), 0);
			const challenge = received(exchange);
			t.deepEqual([...challenge.subarray(0, 4)], [1, 1, 0, 0]);
			t.is(challenge.readUInt16LE(4), 7);
			t.is(challenge[8], hashIDs[hash]);
			t.is(challenge[9], groupIDs[dhGroup]);
			const { message, expected } = reply(challenge, identity, true);
			exchange.send(message, 0);
			t.false(exchange.authenticated);
			const success1 = received(exchange);
			t.deepEqual([...success1.subarray(0, 9)], [1, 3, 0, 0, 7, 0, challenge[6], 0, 1]);
			t.is(success1.subarray(16).toString('hex'), expected(controllerKey).toString('hex'));
			t.false(exchange.authenticated);
			exchange.send(success2(), 0);
			t.true(exchange.authenticated);
			t.is(exchange.failure, undefined);
		});
	}
}

test('one way: the host that does not ask is authenticated with Success1, which carries no response', (t) => {
	const exchange = begin({ controller: controllerSecret });
	t.false(exchange.authenticated);
	exchange.send(negotiate({ tID: 0xfffe }), 0);
	exchange.send(reply(received(exchange), identity, false).message, 0);
	t.false(exchange.authenticated);
	t.is(received(exchange).toString('hex'), '01030000feff20000000000000000000');
	t.true(exchange.authenticated);
	t.is(exchange.receive(4096), 'nothing');
});

test('what is configured is chosen if the host offers it, else the next that is stronger, never a weaker one', (t) => {
	const chosen = (secrets: Partial<AuthSecrets>, offer: Parameters<typeof negotiate>[0]) => {
		const exchange = begin(secrets);
		exchange.send(negotiate(offer), 0);
		const challenge = received(exchange);
		return challenge[1] === 0xf1 ? `refused ${challenge[7]}` : `${challenge[8]} ${challenge[9]}`;
	};
	t.is(chosen({ hash: 'sha384', dhGroup: 'ffdhe2048' }, {}), '2 1');
	t.is(chosen({ hash: 'sha384', dhGroup: 'ffdhe2048' }, { hashes: [3, 1], groups: [0, 3, 2] }), '3 2');
	t.is(chosen({ hash: 'sha384' }, { hashes: [1] }), `refused ${explanation.hashNotUsable}`);
	t.is(chosen({}, { hashes: [9, 0, 200] }), `refused ${explanation.hashNotUsable}`);
	t.is(chosen({ dhGroup: 'ffdhe3072' }, { groups: [0, 1] }), `refused ${explanation.groupNotUsable}`);
	t.is(chosen({}, { groups: [77] }), `refused ${explanation.groupNotUsable}`);
	t.is(chosen({}, { hashes: [99, 3], groups: [88, 2] }), '3 2', 'what it does not know is passed over');
});

test('AUTH_Negotiate: each fault has its explanation', (t) => {
	const refusedWith = (message: Buffer, tID = 7) => {
		const exchange = begin();
		exchange.send(message, 0);
		return refusal(exchange, tID);
	};
	const changed = (at: number, value: number) => {
		const message = negotiate();
		message[at] = value;
		return message;
	};
	t.is(refusedWith(negotiate({ scC: 1 })), explanation.secureChannelConcatenationMismatch);
	t.is(refusedWith(changed(7, 0)), explanation.incorrectPayload, 'no protocol');
	t.is(refusedWith(changed(7, 2)), explanation.incorrectPayload, 'one protocol missing');
	t.is(refusedWith(changed(8, 2)), explanation.protocolNotUsable);
	t.is(refusedWith(negotiate({ halen: 0 })), explanation.incorrectPayload);
	t.is(refusedWith(negotiate({ halen: 31 })), explanation.incorrectPayload);
	t.is(refusedWith(negotiate({ dhlen: 0 })), explanation.incorrectPayload);
	t.is(refusedWith(negotiate({ dhlen: 31 })), explanation.incorrectPayload);
	for (let length = 1; length < 72; length++) {
		t.is(refusedWith(negotiate().subarray(0, length), length < 6 ? 0 : 7), explanation.incorrectPayload, `${length} bytes`);
	}
	t.is(refusedWith(Buffer.concat([negotiate(), Buffer.alloc(1)])), explanation.incorrectPayload);
	t.is(refusedWith(Buffer.concat([negotiate(), Buffer.alloc(authLimits.messageBytesMax)])), explanation.incorrectPayload);
	t.is(refusedWith(Buffer.alloc(0), 0), explanation.incorrectPayload);
});

test('AUTH_Negotiate: DH-HMAC-CHAP is found behind another protocol', (t) => {
	const one = negotiate();
	const two = Buffer.concat([one.subarray(0, 8), Buffer.alloc(64, 0x33), one.subarray(8)]);
	two[7] = 2;
	const exchange = begin();
	exchange.send(two, 0);
	t.is(received(exchange)[1], 1);
});

test('DH-HMAC-CHAP_Reply: each fault has its explanation', (t) => {
	const refusedWith = (change: (message: Buffer) => Buffer | void, secrets: Partial<AuthSecrets> = {}, ask = true) => {
		const exchange = begin({ controller: controllerSecret, dhGroup: 'ffdhe2048', ...secrets });
		exchange.send(negotiate(), 0);
		const { message } = reply(received(exchange), identity, ask);
		exchange.send(change(message) ?? message, 0);
		return refusal(exchange);
	};
	const set = (at: number, value: number) => (message: Buffer) => void (message[at] = value);
	const { incorrectPayload, authenticationFailed } = explanation;
	t.is(refusedWith(set(4, 8)), incorrectPayload, 'T_ID');
	t.is(refusedWith(set(6, 31)), incorrectPayload, 'HL');
	t.is(refusedWith(set(6, 48)), incorrectPayload, 'HL of another hash');
	t.is(refusedWith(set(8, 2)), incorrectPayload, 'CVALID');
	t.is(refusedWith(set(10, 4)), incorrectPayload, 'DHVLEN');
	t.is(refusedWith(set(11, 0)), incorrectPayload, 'DHVLEN 0 with a group');
	t.is(
		refusedWith((message) => void message.fill(0, 12, 16)),
		incorrectPayload,
		'S2 of 0 is for a secure channel',
	);
	t.is(
		refusedWith((message) => message.subarray(0, -1)),
		incorrectPayload,
	);
	t.is(
		refusedWith((message) => Buffer.concat([message, Buffer.alloc(4)])),
		incorrectPayload,
	);
	t.is(
		refusedWith((message) => message.subarray(0, 15)),
		incorrectPayload,
	);
	t.is(
		refusedWith((message) => message.subarray(0, 16)),
		incorrectPayload,
	);
	for (const value of [Buffer.alloc(256), Buffer.concat([Buffer.alloc(255), Buffer.of(1)]), primeOf('ffdhe2048')]) {
		t.is(
			refusedWith((message) => message.set(value, 16 + 64)),
			incorrectPayload,
			'a value that gives the key away',
		);
	}
	t.is(
		refusedWith((message) => void (message[16]! ^= 1)),
		authenticationFailed,
		'wrong response',
	);
	t.is(
		refusedWith((message) => void (message[16 + 64]! ^= 1)),
		authenticationFailed,
		'another public value',
	);
	t.is(
		refusedWith(() => undefined, { controller: undefined }),
		authenticationFailed,
		'asked for proof without a key for it',
	);
	t.is(
		refusedWith(() => undefined, { host: controllerSecret }),
		authenticationFailed,
		'another key',
	);
	t.is(refusedWith(set(11, 1), { dhGroup: 'null' }), incorrectPayload, 'DHVLEN without a group');
});

test('the response is bound to both names and to the transaction', (t) => {
	for (const other of [
		{ ...identity, hostNQN: `${hostNQN}x` },
		{ ...identity, subsystemNQN: `${subsystemNQN}x` },
		{ ...identity, key: Buffer.alloc(32, 9) },
	]) {
		const exchange = begin();
		exchange.send(negotiate(), 0);
		exchange.send(reply(received(exchange), other, false).message, 0);
		t.is(refusal(exchange), explanation.authenticationFailed);
	}
});

test('a reply that was good once is none for another challenge', (t) => {
	const exchange = begin();
	exchange.send(negotiate(), 0);
	const { message } = reply(received(exchange), identity, false);
	exchange.send(message, 0);
	received(exchange);
	t.true(exchange.authenticated);
	exchange.send(negotiate(), 0);
	received(exchange);
	exchange.send(message, 0);
	t.is(refusal(exchange), explanation.authenticationFailed);
});

/** Each message that a host can send, where it is not due. */
const messages: Record<string, () => Buffer> = {
	negotiate: () => negotiate(),
	reply: () => Buffer.from([1, 2, 0, 0, 7, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...Buffer.alloc(64)]),
	success2: () => success2(),
	challenge: () => Buffer.from([1, 1, 0, 0, 7, 0]),
	success1: () => Buffer.from([1, 3, 0, 0, 7, 0]),
	failure1: () => Buffer.from([0, 0xf1, 0, 0, 7, 0, 1, 1]),
	'unknown type': () => Buffer.from([2, 0, 0, 0, 7, 0]),
	'unknown id': () => Buffer.from([1, 0x77, 0, 0, 7, 0]),
};

/** The way to a phase, and what is due in it. */
const phases: Record<string, { due: string; reach: (exchange: AuthExchange) => void }> = {
	idle: { due: 'negotiate', reach: () => undefined },
	negotiated: { due: '', reach: (exchange) => exchange.send(negotiate(), 0) },
	challenged: {
		due: 'reply',
		reach: (exchange) => {
			exchange.send(negotiate(), 0);
			received(exchange);
		},
	},
	accepted: {
		due: '',
		reach: (exchange) => {
			exchange.send(negotiate(), 0);
			exchange.send(reply(received(exchange), identity, true).message, 0);
		},
	},
	proved: {
		due: 'success2',
		reach: (exchange) => {
			exchange.send(negotiate(), 0);
			exchange.send(reply(received(exchange), identity, true).message, 0);
			received(exchange);
		},
	},
};

for (const [phase, { due, reach }] of Object.entries(phases)) {
	test(`${phase}: every message that is not due is an incorrect protocol message, and the exchange is over`, (t) => {
		for (const [name, message] of Object.entries(messages)) {
			if (name === due) continue;
			const ledger = new AuthLedger(counted());
			const exchange = begin({ controller: controllerSecret, ledger });
			reach(exchange);
			exchange.send(message(), 0);
			t.is(refusal(exchange), explanation.incorrectProtocolMessage, name);
			t.is(ledger.running, 0);
			exchange.send(negotiate(), 0);
			t.is(exchange.receive(4096), 'nothing', 'failed is final');
			t.true(exchange.failed);
		}
	});

	test(`${phase}: AUTH_Failure2 ends it without an answer`, (t) => {
		const ledger = new AuthLedger(counted());
		const exchange = begin({ controller: controllerSecret, ledger });
		reach(exchange);
		exchange.send(failure2(4), 0);
		t.true(exchange.failed);
		t.regex(exchange.failure ?? '', /refused the controller \(4\)/);
		t.is(exchange.receive(4096), 'nothing');
		t.is(ledger.running, 0);
	});

	test(`${phase}: receive() gives a message only where one is due`, (t) => {
		const exchange = begin({ controller: controllerSecret });
		reach(exchange);
		t.is(typeof exchange.receive(4096) === 'string', phase !== 'negotiated' && phase !== 'accepted');
	});
}

test('Success2 with another transaction or length is an incorrect payload', (t) => {
	for (const message of [success2(8), success2().subarray(0, 15), Buffer.concat([success2(), Buffer.alloc(1)])]) {
		const exchange = begin({ controller: controllerSecret });
		phases['proved']?.reach(exchange);
		exchange.send(message, 0);
		t.is(refusal(exchange), explanation.incorrectPayload);
	}
});

test('an allocation length that is too short is said, and the message stays due, unchanged', (t) => {
	const exchange = begin({ controller: controllerSecret, dhGroup: 'ffdhe2048' });
	exchange.send(negotiate(), 0);
	t.is(exchange.receive(16 + 32 + 255), 'short');
	const challenge = exchange.receive(16 + 32 + 256) as Buffer;
	const { message, expected } = reply(challenge, identity, true);
	exchange.send(message, 0);
	t.is(exchange.receive(16 + 31), 'short');
	t.is(received(exchange).subarray(16).toString('hex'), expected(controllerKey).toString('hex'));
	const refused = begin();
	refused.send(success2(), 0);
	t.is(refused.receive(7), 'short');
	t.is(refusal(refused), explanation.incorrectProtocolMessage);
});

test('a first exchange has its time from Connect on, however it goes about it; then the queue has to go', (t) => {
	const endMs = authLimits.exchangeSeconds * 1000;
	for (const reach of [() => undefined, ...Object.values(phases).map((phase) => phase.reach)]) {
		const ledger = new AuthLedger(counted());
		const exchange = begin({ controller: controllerSecret, ledger });
		reach(exchange);
		t.false(exchange.tick(endMs - 1));
		t.true(exchange.tick(endMs));
		t.true(exchange.failed);
		t.is(ledger.running, 0);
		t.regex(exchange.failure ?? '', /too long/);
	}
	const refused = begin();
	refused.send(success2(), 5);
	t.true(refused.tick(endMs), 'a refusal that is not fetched does not hold the queue');
});

test('who is authenticated has all the time, and again so much for each new exchange', (t) => {
	const endMs = authLimits.exchangeSeconds * 1000;
	const exchange = begin();
	const authenticate = (nowMs: number) => {
		exchange.send(negotiate(), nowMs);
		exchange.send(reply(received(exchange), identity, false).message, nowMs);
		received(exchange);
	};
	authenticate(10);
	t.false(exchange.tick(1e12));
	authenticate(1e12);
	t.true(exchange.authenticated);
	t.false(exchange.tick(1e13));
	exchange.send(negotiate(), 1e13);
	t.true(exchange.authenticated, 'the old result stands while a new one is worked out');
	t.false(exchange.tick(1e13 + endMs - 1));
	t.true(exchange.tick(1e13 + endMs));
	t.false(exchange.authenticated);
});

test('so many exchanges at once and no more; each that ends, whichever way, makes room', (t) => {
	const ledger = new AuthLedger(counted());
	const all = Array.from({ length: authLimits.exchangesMax }, () => begin({ ledger }));
	for (const one of all) one.send(negotiate(), 0);
	t.is(ledger.running, authLimits.exchangesMax);
	const late = begin({ ledger });
	late.send(negotiate(), 0);
	t.is(refusal(late), explanation.authenticationFailed);
	t.is(ledger.running, authLimits.exchangesMax);
	const [closed, timed, failed, done] = all as [AuthExchange, AuthExchange, AuthExchange, AuthExchange];
	closed.close();
	closed.close();
	timed.tick(1e9);
	failed.send(success2(), 0);
	failed.send(success2(), 0);
	done.send(reply(received(done), identity, false).message, 0);
	received(done);
	t.is(ledger.running, authLimits.exchangesMax - 4);
	const next = begin({ ledger });
	next.send(negotiate(), 0);
	t.is(received(next)[1], 1);
});

test('sequence numbers are never 0 and follow one another over all queues; challenges differ', (t) => {
	const ledger = new AuthLedger((lengthBytes) => Buffer.alloc(lengthBytes, 0xff));
	t.is(ledger.nextSeqnum(), 1);
	const shared = new AuthLedger(counted());
	const seen = Array.from({ length: 3 }, () => {
		const exchange = begin({ ledger: shared });
		exchange.send(negotiate(), 0);
		const challenge = received(exchange);
		return { seqnum: challenge.readUInt32LE(12), challenge: challenge.subarray(16).toString('hex') };
	});
	t.is((seen[1]?.seqnum ?? 0) - (seen[0]?.seqnum ?? 0), 1);
	t.is((seen[2]?.seqnum ?? 0) - (seen[1]?.seqnum ?? 0), 1);
	t.is(new Set(seen.map((one) => one.challenge)).size, 3);
});

test('what a failure leaves for the log holds no secret', (t) => {
	const exchange = begin({ dhGroup: 'ffdhe2048' as AuthGroup });
	exchange.send(Buffer.alloc(3), 0);
	t.is(exchange.failure, 'incorrectPayload');
});
