import test from 'ava';
import type { AuthSecrets } from '../../../src/nvmeof/auth-exchange.ts';
import { DhchapKey } from '../../../src/nvmeof/auth-key.ts';
import { authLimits } from '../../../src/nvmeof/auth-limits.ts';
import { negotiate, reply } from '../auth/host.ts';
import {
	TestQueue,
	connectData,
	connectSqe,
	discoveryNQN,
	enabled,
	fabricsSqe,
	hostNQN,
	propertyGet,
	propertySet,
	settled,
	setUp,
	sqe,
	subsystemNQN,
} from './host.ts';

const secrets: AuthSecrets = {
	host: DhchapKey.parse('DHHC-1:00:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQHMnzFi:'),
	hash: 'sha256',
	dhGroup: 'null',
};
const identity = { hostNQN, subsystemNQN, key: Buffer.alloc(32, 1) };
const authenticationRequired = 1 << 17;

function secured() {
	return setUp({ secretFor: (nqn) => (nqn === hostNQN ? secrets : undefined) });
}

function authentication(fctype: 0x05 | 0x06, length: number, { spsp0 = 1, spsp1 = 1, secp = 0xe9 } = {}): Buffer {
	const entry = fabricsSqe(fctype);
	entry.set([spsp0, spsp1, secp], 41);
	entry.writeUInt32LE(length, 44);
	return entry;
}

async function send(queue: TestQueue, message: Buffer): Promise<number> {
	return (await queue.run(authentication(0x05, message.length), message)).status;
}

async function receive(queue: TestQueue): Promise<Buffer> {
	const { status, data } = await queue.run(authentication(0x06, 4096));
	if (status !== 0) throw new Error(status.toString(16));
	return data;
}

async function authenticate(queue: TestQueue, key = identity.key): Promise<Buffer> {
	await send(queue, negotiate({ hashes: [1], groups: [0] }));
	const challenge = await receive(queue);
	await send(queue, reply(challenge, { ...identity, key }, false).message);
	return receive(queue);
}

test('a host with a secret: Connect says AUTHREQ, and nothing but authentication is taken before it is over', async (t) => {
	const { fabric } = secured();
	const admin = new TestQueue(fabric);
	const answer = await admin.run(connectSqe(), connectData());
	t.is(answer.status, 0);
	t.is(answer.result0 & ~0xffff, authenticationRequired);
	for (const entry of [
		propertyGet(0x1c, 0),
		propertySet(0x14, enabled),
		fabricsSqe(0x08),
		sqe({ opcode: 0x06, cdw10: 1 }),
		sqe({ opcode: 0x18 }),
		sqe({ opcode: 0xff }),
	])
		t.is((await admin.run(entry)).status, 0x191);
	t.is((await admin.run(connectSqe(), connectData())).status, 0x00c);
	t.deepEqual([...(await authenticate(admin)).subarray(0, 2)], [1, 3], 'Success1');
	t.is((await admin.run(propertyGet(0x1c, 0))).result0, 0);
	t.is((await admin.run(propertySet(0x14, enabled))).status, 0);
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0);
});

test('each I/O queue authenticates by itself', async (t) => {
	const { fabric } = secured();
	const admin = new TestQueue(fabric);
	const cntlid = (await admin.run(connectSqe(), connectData())).result0 & 0xffff;
	await authenticate(admin);
	await admin.run(propertySet(0x14, enabled));
	const io = new TestQueue(fabric);
	const answer = await io.run(connectSqe({ qid: 1 }), connectData({ cntlid }));
	t.deepEqual([answer.status, answer.result0 & ~0xffff], [0, authenticationRequired]);
	t.is((await io.run(sqe({ opcode: 0x02, nsid: 1 }))).status, 0x191);
	t.is((await io.run(sqe({ opcode: 0x00, nsid: 1 }))).status, 0x191);
	await authenticate(io);
	t.is((await io.run(sqe({ opcode: 0x00, nsid: 1 }))).status, 0);
});

test('a wrong secret: Failure1, and the queue goes behind it with its controller', async (t) => {
	const { fabric, subsystem } = secured();
	const admin = new TestQueue(fabric);
	await admin.run(connectSqe(), connectData());
	const message = await authenticate(admin, Buffer.alloc(32, 2));
	t.deepEqual([...message.subarray(0, 2)], [0, 0xf1]);
	t.is((await admin.run(sqe({ opcode: 0x18 }))).status, 0x191);
	await settled();
	t.true(admin.isClosed);
	t.is(subsystem.controllers.size, 0);
});

const bad: [title: string, entry: Buffer, status: number][] = [
	['Send with another SECP', authentication(0x05, 72, { secp: 0xea }), 0x002],
	['Send with SPSP0 0', authentication(0x05, 72, { spsp0: 0 }), 0x002],
	['Send with SPSP1 2', authentication(0x05, 72, { spsp1: 2 }), 0x002],
	['Send of nothing', authentication(0x05, 0), 0x002],
	['Send of more than any message has', authentication(0x05, authLimits.messageBytesMax + 1), 0x002],
	['Receive with another SECP', authentication(0x06, 72, { secp: 0 }), 0x002],
	['Receive with SPSP0 2', authentication(0x06, 72, { spsp0: 2 }), 0x002],
	['Receive with SPSP1 0', authentication(0x06, 72, { spsp1: 0 }), 0x002],
	['Receive of nothing', authentication(0x06, 0), 0x002],
	['Receive when no message is due', authentication(0x06, 4096), 0x00c],
];

for (const [title, entry, status] of bad) {
	test(`Authentication ${title}: ${status.toString(16)}h, and the exchange can go on`, async (t) => {
		const { fabric } = secured();
		const admin = new TestQueue(fabric);
		await admin.run(connectSqe(), connectData());
		t.is((await admin.run(entry, Buffer.alloc(72))).status, status);
		await authenticate(admin);
		t.is((await admin.run(propertyGet(0x1c, 0))).status, 0);
	});
}

test('Receive with less room than the message needs: Invalid Field, and the message remains due', async (t) => {
	const { fabric } = secured();
	const admin = new TestQueue(fabric);
	await admin.run(connectSqe(), connectData());
	await send(admin, negotiate({ hashes: [1], groups: [0] }));
	t.is((await admin.run(authentication(0x06, 16))).status, 0x002);
	t.is((await receive(admin)).length, 48);
});

test('a host that need not authenticate cannot: Invalid Field', async (t) => {
	const { fabric } = setUp();
	const admin = new TestQueue(fabric);
	t.is((await admin.run(authentication(0x05, 72))).status, 0x00c, 'before Connect');
	t.is((await admin.run(connectSqe(), connectData())).result0 >>> 16, 0);
	t.is((await admin.run(authentication(0x05, 72), Buffer.alloc(72))).status, 0x002);
	t.is((await admin.run(authentication(0x06, 4096))).status, 0x002);
});

test('a host that does not authenticate in time is closed', async (t) => {
	const { fabric, tick } = secured();
	const admin = new TestQueue(fabric);
	await admin.run(connectSqe({ kato: 600_000 }), connectData());
	tick((authLimits.exchangeSeconds - 1) * 1000);
	t.false(admin.isClosed);
	tick(2000);
	t.true(admin.isClosed);
});

test('discovery asks nobody for a secret', async (t) => {
	const { fabric } = secured();
	const admin = new TestQueue(fabric);
	t.is((await admin.run(connectSqe(), connectData({ subnqn: discoveryNQN }))).result0 >>> 16, 0);
});
