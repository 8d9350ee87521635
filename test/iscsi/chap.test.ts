import test from 'ava';
import fc from 'fast-check';
import { chapResponse, parseBinary, printBinary } from '../../src/iscsi/chap.ts';
import { ProtocolError } from '../../src/iscsi/protocol-error.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, initiatorName, type Keys, keysOf, loginRequest, type Peer, targetName, text, World, write10 } from './peer.ts';

const access = { initiator: { user: 'abc', secret: 'a secret of 18 b..' }, target: { user: 'disk', secret: 'another secret!' } };
const names = { InitiatorName: initiatorName, TargetName: targetName, SessionType: 'Normal' };
const statusOf = ({ bhs }: Answer): string => bhs.toString('hex', 36, 38);
const flagsOf = ({ bhs }: Answer): string => `t=${bhs[1]! >> 7} c=${(bhs[1]! >> 6) & 1} nsg=${bhs[1]! & 3}`;

function guarded(): World {
	const world = new World();
	world.chap = access;
	return world;
}

type Names = Parameters<typeof loginRequest>[0] & { initiator?: string };

/** A request of the security stage. */
async function say(peer: Peer, keys: Keys, options: Names = {}): Promise<Answer> {
	peer.send(peer.pdu(loginRequest({ currentStage: 0, nextStage: 1, transit: false, ...options }), text(keys)));
	return await peer.answer();
}

/** Up to the challenge; then with the response to it, or another, to full feature phase. */
async function challenged(peer: Peer, options: Names = {}): Promise<Keys> {
	await say(peer, { ...names, InitiatorName: options.initiator ?? initiatorName, AuthMethod: 'CHAP' }, options);
	return keysOf((await say(peer, { CHAP_A: '7' }, options)).data);
}

async function proved(peer: Peer, options: Names = {}, more: Keys = {}): Promise<Answer> {
	const challenge = await challenged(peer, options);
	const response = chapResponse(7, Number(challenge['CHAP_I']), access.initiator.secret, parseBinary(challenge['CHAP_C'] ?? ''));
	return await say(peer, { CHAP_N: 'abc', CHAP_R: printBinary(response), ...more }, { ...options, transit: true, nextStage: 3 });
}

test('RFC 1994 §4.1: responses of the four algorithms, as another implementation computes them', (t) => {
	const challenge = Buffer.from('No challenge is new');
	for (const [algorithm, expected] of [
		[5, 'a1d3a7f80afb9d2f1a8f473bc6c1f0da'],
		[6, '970e2c8e57ef6ff17a9f02c055983997bf313e71'],
		[7, '1b7370ea8cbe52e33ec60ff0d47067d6ee31ad0aef4396606abed2cd5deddce1'],
		[8, '7c5150fda7bc3d89df049369e9d3e256ad6bebbda371fae3e116a53a2ea7221d'],
	] as const)
		t.is(chapResponse(algorithm, 0x27, access.initiator.secret, challenge).toString('hex'), expected);
	t.throws(() => chapResponse(9, 0, '', challenge), { instanceOf: RangeError });
});

test('RFC 7143 §6.1: binary values in hexadecimal and base64; what is none is a protocol error', (t) => {
	for (const value of ['0x00ff10', '0X00FF10', '0b AP8Q'.replace(' ', ''), '0BAP8Q', '0x0ff10'])
		t.is(parseBinary(value).toString('hex'), '00ff10', value);
	t.is(parseBinary(`0x${'ab'.repeat(1024)}`).length, 1024);
	for (const value of ['', '0x', '0b', '00ff', '0xfg', '0bAP8', '0b====', '0bA=8Q', ' 0x00', '12', `0x${'ab'.repeat(1025)}`])
		t.throws(() => parseBinary(value), { instanceOf: ProtocolError }, value);
});

test('each login has a challenge of its own: the response to an old one is worth nothing', async (t) => {
	const world = guarded();
	const [first, second] = [Buffer.alloc(32, 0xa1), Buffer.alloc(32, 0xa2)];
	world.randomness.push(Buffer.from([1]), first, Buffer.from([1]), second);
	const peer = world.connect();
	const challenge = await challenged(peer);
	t.is(challenge['CHAP_C'], printBinary(first));
	const response = printBinary(chapResponse(7, 1, access.initiator.secret, first));
	const again = world.connect();
	t.is((await challenged(again))['CHAP_C'], printBinary(second));
	t.is(statusOf(await say(again, { CHAP_N: 'abc', CHAP_R: response }, { transit: true })), '0201');
	t.true(again.ended);
	t.is(statusOf(await say(peer, { CHAP_N: 'abc', CHAP_R: response }, { transit: true })), '0000');
	t.is(world.statistics.authenticationFailures, 1);
});

test('a session knows what its initiator has proved', async (t) => {
	const world = guarded();
	const [one, both] = [world.connect(), world.connect()];
	t.is(statusOf(await proved(one)), '0000');
	t.is(statusOf(await proved(both, { isid: '00023d000002' }, { CHAP_I: '9', CHAP_C: '0x01020304' })), '0000');
	world.chap = undefined;
	const none = await world.connect().open({}, { isid: '00023d000003' });
	t.deepEqual(
		[one, both, none].map((peer) => peer.connection.session?.authentication),
		['chap', 'mutual', 'none'],
	);
});

test('whoever has to prove itself never reaches full feature phase without, whatever it asks for', async (t) => {
	const world = guarded();
	const peer = world.connect();
	await say(peer, { ...names, AuthMethod: 'CHAP' }, { transit: true, nextStage: 3 });
	for (let request = 1; request < 64; request++) t.is(flagsOf(await say(peer, {}, { transit: true, nextStage: 3 })), 't=0 c=0 nsg=0');
	t.is(statusOf(await say(peer, {}, { transit: true, nextStage: 3 })), '0200');
	t.is(world.environment.sessions.size, 0);
});

/** More than a PDU of login may carry: each is answered NotUnderstood. */
const many: Keys = Object.fromEntries(Array.from({ length: 600 }, (_, index) => [`X-${index}`, '1']));

test('§6.2: an answer that is longer than 8192 bytes leaves in parts, and T with the last', async (t) => {
	const peer = new World().connect();
	peer.send(peer.pdu(loginRequest({}), text({ ...names, ...many })));
	const parts = [await peer.answer()];
	for (; flagsOf(parts.at(-1)!) === 't=0 c=1 nsg=0'; parts.push(await peer.answer())) peer.send(peer.pdu(loginRequest({})));
	t.is(flagsOf(parts.at(-1)!), 't=1 c=0 nsg=3');
	t.true(parts.length > 1 && parts.every(({ data }) => data.length <= 8192));
	const answers = keysOf(Buffer.concat(parts.map(({ data }) => data)));
	t.is(Object.values(answers).filter((value) => value === 'NotUnderstood').length, 600);
	t.is(answers['MaxRecvDataSegmentLength'], '262144');
	t.true(peer.connection.inFullFeaturePhase);
});

test('§6.2: whoever says something while an answer is under way is refused', async (t) => {
	const peer = new World().connect();
	peer.send(peer.pdu(loginRequest({}), text({ ...names, ...many })));
	await peer.answer();
	peer.send(peer.pdu(loginRequest({}), text({ HeaderDigest: 'None' })));
	t.is(statusOf(await peer.answer()), '0200');
});

test('an answer in parts is no way around the proof', async (t) => {
	const world = guarded();
	const peer = world.connect();
	let answer = await say(peer, { ...names, AuthMethod: 'CHAP', ...many }, { transit: true, nextStage: 3 });
	while (flagsOf(answer) === 't=0 c=1 nsg=0') answer = await say(peer, {}, { transit: true, nextStage: 3 });
	t.is(flagsOf(answer), 't=0 c=0 nsg=0');
	t.is(world.environment.sessions.size, 0);
});

test('§6.3.4, §6.3.5: who takes a connection or a session over has to prove itself as well', async (t) => {
	const world = guarded();
	const old = world.connect();
	await proved(old);
	const session = old.connection.session!;
	for (const tsih of [0, session.tsih]) {
		const thief = world.connect();
		t.is(statusOf(await say(thief, names, { currentStage: 1, nextStage: 3, transit: true, tsih })), '0201');
		t.false(old.closed);
	}
	// Another spelling of a name is the same name.
	const peer = world.connect();
	t.is(statusOf(await proved(peer, { tsih: session.tsih, initiator: initiatorName.toUpperCase() })), '0000');
	t.is(old.destroyed, 'reinstated by a new connection');
	t.is(peer.connection.session, session);
});

test('a session that began without a proof has one when its connection is taken over with one', async (t) => {
	const world = new World();
	const old = await world.connect().open();
	const session = old.connection.session!;
	world.chap = access;
	await proved(world.connect(), { tsih: session.tsih });
	t.is(session.authentication, 'chap');
});

test('what changes during a login counts at its end: access, a secret that is asked for, a redirection, the target itself', async (t) => {
	const cases: [string, (world: World) => void][] = [
		['0202', (world) => world.strangers.add(initiatorName)],
		['0201', (world) => (world.chap = access)],
		['0101', (world) => (world.redirection = { address: '192.0.2.9:3260', permanent: false })],
		['0203', (world) => Object.assign(world.environment.registry, { find: () => undefined })],
	];
	for (const [status, change] of cases) {
		// In the middle of the dialogue, and while the device has something of the session that makes way.
		for (const waiting of [false, true]) {
			const world = new World();
			const old = waiting ? await world.connect().open() : undefined;
			world.device.held = true;
			old?.send(old.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
			const peer = world.connect();
			await say(peer, { ...names, AuthMethod: 'None' });
			const last = loginRequest({ currentStage: 0, nextStage: 3 });
			if (!waiting) change(world);
			peer.send(peer.pdu(last));
			if (waiting) {
				t.deepEqual(await peer.answers(), []);
				change(world);
				world.device.releaseAll();
			}
			t.is(statusOf(await peer.answer()), status);
			t.true(peer.ended);
			t.is(world.environment.sessions.size, 0);
		}
	}
});

test('what is logged of a login has no secret in it, and no response', async (t) => {
	const world = guarded();
	const said: unknown[] = [];
	const note = (about: object, message: string) => said.push(about, message);
	Object.assign(world.environment, { log: { debug: note, info: note, warn: note, error: note } });
	await proved(world.connect(), {}, { CHAP_I: '9', CHAP_C: '0x01020304' });
	const refused = world.connect();
	await challenged(refused);
	await say(refused, { CHAP_N: 'abc', CHAP_R: '0x00' }, { transit: true });
	const log = JSON.stringify(said);
	t.regex(log, /iSCSI session.*iSCSI login refused/);
	t.regex(log, /"authentication":"mutual"/);
	t.notRegex(log, /secret|0x|CHAP_/i);
	t.is(pdu.loginStatus.authenticationFailure, 0x0201);
});

test('changed bytes, and requests left out or twice, in a login without the secret: nothing throws, and nobody gets in', async (t) => {
	const maker = new World().connect();
	const wrong = printBinary(chapResponse(7, 1, 'what it is not', Buffer.alloc(32, 1)));
	const requests = [
		maker.pdu(loginRequest({ currentStage: 0, nextStage: 1, transit: false }), text({ ...names, AuthMethod: 'CHAP,None' })),
		maker.pdu(loginRequest({ currentStage: 0, nextStage: 1, transit: false }), text({ CHAP_A: '7,5' })),
		maker.pdu(loginRequest({ currentStage: 0, nextStage: 3 }), text({ CHAP_N: 'abc', CHAP_R: wrong, CHAP_I: '2', CHAP_C: '0x0102' })),
		maker.pdu(loginRequest({ currentStage: 1, nextStage: 3 }), text({ HeaderDigest: 'None' })),
	];
	let challenged = 0;
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.nat(requests.length - 1), { minLength: 1, maxLength: 8 }),
			fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 4 }),
			fc.boolean(),
			async (order, changes, inOrder) => {
				const world = guarded();
				const peer = world.connect();
				const stream = Buffer.concat(inOrder ? requests : order.map((index) => requests[index]!));
				for (const [at, value] of changes) stream[at % stream.length] = value;
				peer.send(stream);
				const answers = await peer.answers();
				challenged += answers.some(({ data }) => data.includes('CHAP_C')) ? 1 : 0;
				return world.environment.sessions.size === 0 && !peer.connection.inFullFeaturePhase;
			},
		),
		{ seed: 20261123, numRuns: Number(process.env['FUZZ_RUNS'] ?? 400) },
	);
	t.true(challenged > 50, `${challenged} of them saw a challenge`);
});
