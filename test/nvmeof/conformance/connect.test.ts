import test from 'ava';
import { discoveryNQN } from '../../nvme-host/association.ts';
import * as commands from '../../nvme-host/commands.ts';
import { Queue } from '../../nvme-host/queue.ts';
import { capsuleCmd, described } from '../../nvme-host/raw-connection.ts';
import { pduType, putU32 } from '../../nvme-host/wire.ts';
import { closedSubnqn, connectCapsule, otherSubnqn, strangerNQN, subnqn, World } from './world.ts';

type Fields = Partial<commands.ConnectFields & commands.ConnectData>;

/** The result of Connect Invalid Parameters: IPO, with IATTR in bit 16 when the field is one of the data. */
const inCommand = (ipo: number): number => ipo;
const inData = (ipo: number): number => ipo | 0x10000;

const unterminated = Buffer.alloc(256, 0x61);
const tooLong = Buffer.concat([Buffer.from('nqn.2026-11.dev.blockport.test:'), Buffer.alloc(193, 0x61)]);

const adminRefusals: Record<string, { fields: Fields; status: number; result?: number }> = {
	'RECFMT 1': { fields: { recfmt: 1 }, status: 0x180 },
	'SQSIZE 0': { fields: { sqsize: 0 }, status: 0x182, result: inCommand(44) },
	'SQSIZE above MQES': { fields: { sqsize: 128 }, status: 0x182, result: inCommand(44) },
	'SQSIZE FFFFh': { fields: { sqsize: 0xffff }, status: 0x182, result: inCommand(44) },
	'a CNTLID although controllers are dynamic': { fields: { cntlid: 1 }, status: 0x182, result: inData(16) },
	'CNTLID FFFEh, for static controllers': { fields: { cntlid: 0xfffe }, status: 0x182, result: inData(16) },
	'a SUBNQN that nobody has': { fields: { subnqn: `${subnqn}x` }, status: 0x182, result: inData(256) },
	'an empty SUBNQN': { fields: { subnqn: '' }, status: 0x182, result: inData(256) },
	'a SUBNQN without an end': { fields: { subnqn: unterminated }, status: 0x182, result: inData(256) },
	'a SUBNQN above 223 bytes': { fields: { subnqn: tooLong }, status: 0x182, result: inData(256) },
	'an empty HOSTNQN': { fields: { hostnqn: '' }, status: 0x182, result: inData(512) },
	'a HOSTNQN without an end': { fields: { hostnqn: unterminated }, status: 0x182, result: inData(512) },
	'a HOSTID of zeros': { fields: { hostid: Buffer.alloc(16) }, status: 0x182, result: inData(0) },
	'a host that is not allowed': { fields: { subnqn: closedSubnqn }, status: 0x184 },
	'KATO 0 although the transport demands keep alives': { fields: { kato: 0 }, status: 0x01a },
	'KATO of 49 days': { fields: { kato: 0xffffffff }, status: 0x01a },
	'an I/O queue of a discovery controller': { fields: { subnqn: discoveryNQN, qid: 1, cntlid: 1 }, status: 0x182, result: inCommand(42) },
	'a discovery controller with RECFMT 1': { fields: { subnqn: discoveryNQN, recfmt: 1 }, status: 0x180 },
};
for (const [what, { fields, status, result }] of Object.entries(adminRefusals)) {
	test(`Connect of an admin queue, ${what}: status ${status.toString(16)}h, and a right one on the same connection goes well`, async (t) => {
		const world = await World.open(t);
		const raw = await world.initialised();
		raw.send(connectCapsule(0, fields));
		const refused = await raw.expect(pduType.capsuleResp);
		t.is(refused.status, status);
		if (result !== undefined) t.is(refused.u32(8), result, 'IPO and IATTR');
		t.is(world.fabric.controllers().length, 0);
		raw.send(connectCapsule(0));
		const accepted = await raw.expect(pduType.capsuleResp);
		t.is(accepted.status, 0);
		t.not(accepted.u16(8), 0xffff);
		t.is(world.fabric.controllers().length, 1);
	});
}

const ioRefusals: Record<string, { fields: (cntlid: number) => Fields; status: number | readonly number[]; result?: number }> = {
	'RECFMT 1': { fields: () => ({ recfmt: 1 }), status: 0x180 },
	'SQSIZE 0': { fields: () => ({ sqsize: 0 }), status: 0x182, result: inCommand(44) },
	'SQSIZE above MQES': { fields: () => ({ sqsize: 128 }), status: 0x182, result: inCommand(44) },
	'a QID above those granted': { fields: () => ({ qid: 4 }), status: 0x182, result: inCommand(42) },
	'QID FFFFh': { fields: () => ({ qid: 0xffff }), status: 0x182, result: inCommand(42) },
	'a QID that is in use': { fields: () => ({ qid: 1 }), status: [0x00c, 0x101] },
	'a CNTLID that nobody has': { fields: (cntlid) => ({ cntlid: cntlid ^ 0x1234 }), status: 0x182, result: inData(16) },
	'CNTLID FFFFh': { fields: () => ({ cntlid: 0xffff }), status: 0x182, result: inData(16) },
	'another HOSTID than the admin queue’s': { fields: () => ({ hostid: Buffer.alloc(16, 0x55) }), status: 0x182, result: inData(0) },
	'another HOSTNQN than the admin queue’s': { fields: () => ({ hostnqn: strangerNQN }), status: 0x182, result: inData(512) },
	'another subsystem, which has no such controller': { fields: () => ({ subnqn: otherSubnqn }), status: 0x182, result: inData(16) },
	'a subsystem that does not admit the host': { fields: () => ({ subnqn: closedSubnqn }), status: 0x184 },
	'a SUBNQN that nobody has': { fields: () => ({ subnqn: 'nqn.2026-11.dev.blockport.test:nobody' }), status: 0x182, result: inData(256) },
};
for (const [what, { fields, status, result }] of Object.entries(ioRefusals)) {
	test(`Connect of an I/O queue, ${what}: refused, and a right one on the same connection goes well`, async (t) => {
		const world = await World.open(t);
		// Three queues are granted and two connected.
		const association = await world.connect({ ioQueues: 3 });
		association.io[2]!.destroy();
		const raw = await world.initialised();
		const { hostid, cntlid } = association;
		raw.send(connectCapsule(3, { hostid, cntlid, ...fields(cntlid) }));
		const refused = await raw.expect(pduType.capsuleResp);
		const statuses: readonly number[] = typeof status === 'number' ? [status] : status;
		t.true(statuses.includes(refused.status), refused.status.toString(16));
		if (result !== undefined) t.is(refused.u32(8), result, 'IPO and IATTR');
		await world.connectRaw(raw, association, 3);
		raw.send(capsuleCmd(described((sqe) => commands.flush(sqe, 1), 5)));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0);
		await association.keepAlive();
	});
}

test('Connect: data of another length than 1,024 bytes is refused as Data SGL Length Invalid', async (t) => {
	const world = await World.open(t);
	for (const lengthBytes of [0, 512, 1020, 2048]) {
		const raw = await world.initialised();
		const sqe = described(
			(entry) => commands.connect(entry, { recfmt: 0, qid: 0, sqsize: 31, cattr: 0, kato: 60_000 }),
			3,
			lengthBytes,
			true,
		);
		raw.send(capsuleCmd(sqe, Buffer.alloc(lengthBytes)));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0x00f);
	}
});

test('Connect: its data may be asked for by an R2T', async (t) => {
	const world = await World.open(t);
	const queue = await Queue.open({ port: world.port });
	t.teardown(() => queue.destroy());
	const dataOut = commands.connectData({ hostid: Buffer.alloc(16, 7), cntlid: 0xffff, subnqn, hostnqn: strangerNQN });
	const fill = (sqe: Buffer): void => commands.connect(sqe, { recfmt: 0, qid: 0, sqsize: 31, cattr: 4, kato: 60_000 });
	const result = await queue.execute(fill, { dataOut, solicited: true });
	t.is(result.status, 0);
	t.is(result.r2ts, 1);
});

const early: Record<string, (sqe: Buffer) => void> = {
	'Property Get': (sqe) => commands.propertyGet(sqe, 0, true),
	'Property Set': (sqe) => commands.propertySet(sqe, 0x14, 1),
	Disconnect: (sqe) => commands.disconnect(sqe),
	'Authentication Receive': (sqe) => commands.authenticationReceive(sqe, 1024),
	Identify: (sqe) => commands.identify(sqe, 1),
	'Keep Alive': (sqe) => commands.keepAlive(sqe),
	Read: (sqe) => commands.range(sqe, commands.ioOpcode.read, 1, 0, 8),
	'an unknown opcode': (sqe) => commands.plain(sqe, 0xc0),
};
for (const [what, fill] of Object.entries(early)) {
	test(`${what} before Connect: Command Sequence Error`, async (t) => {
		const world = await World.open(t);
		const raw = await world.initialised();
		raw.send(capsuleCmd(described(fill, 3)));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0x00c);
		raw.send(connectCapsule(0));
		t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	});
}

test('a second Connect on a queue: Command Sequence Error, and the queue stays what it is', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 1 });
	t.is((await association.connect(association.admin)).status, 0x00c);
	t.is((await association.connect(association.io[0]!, { qid: 1 })).status, 0x00c);
	t.is((await association.connect(association.io[0]!, { qid: 2 })).status, 0x00c);
	await association.keepAlive();
	await association.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
});

test('two commands before the answer to Connect end the connection: until then the queue has one entry', async (t) => {
	const world = await World.open(t);
	const raw = await world.initialised();
	const sqe = described((entry) => commands.connect(entry, { recfmt: 0, qid: 0, sqsize: 31, cattr: 0, kato: 60_000 }), 3, 1024);
	raw.send(capsuleCmd(sqe), capsuleCmd(described((entry) => commands.keepAlive(entry), 4)));
	const answers = await raw.rest();
	t.deepEqual(
		answers.map(({ type }) => type),
		[pduType.r2t, pduType.c2hTermReq],
	);
});

test('each Connect of an admin queue makes a controller of its own; identifiers of a subsystem differ and are never FFF0h or more', async (t) => {
	const world = await World.open(t);
	const all = await Promise.all(Array.from({ length: 8 }, async () => await world.connect({ ioQueues: 0 })));
	t.is(new Set(all.map(({ cntlid }) => cntlid)).size, 8);
	t.true(all.every(({ cntlid }) => cntlid < 0xfff0));
	t.is(world.fabric.controllers().length, 8);
	all[3]!.destroy();
	await world.until(() => world.fabric.controllers().length === 7);
	const again = await world.connect({ ioQueues: 0 });
	t.false(all.some(({ cntlid }, index) => index !== 3 && cntlid === again.cntlid));
});

test('a controller has 16 I/O queues of depth 128, each of which works, and no seventeenth', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 16, depth: 128 });
	await Promise.all(association.io.map(async (queue) => await queue.expectGood((sqe) => commands.flush(sqe, 1))));
	const more = await world.initialised();
	const { hostid, cntlid } = association;
	more.send(connectCapsule(17, { hostid, cntlid }));
	const refused = await more.expect(pduType.capsuleResp);
	t.deepEqual([refused.status, refused.u32(8)], [0x182, inCommand(42)]);
});

test('I/O Connect before the controller is enabled, and behind its shutdown: Command Sequence Error', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ connectOnly: true });
	const { hostid, cntlid } = association;
	const raw = await world.initialised();
	raw.send(connectCapsule(1, { hostid, cntlid }));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0x00c);
	await association.enable();
	raw.send(connectCapsule(1, { hostid, cntlid }));
	t.is((await raw.expect(pduType.capsuleResp)).status, 0);
	await association.propertySet(commands.property.cc, 0x00464001);
	const late = await world.initialised();
	late.send(connectCapsule(2, { hostid, cntlid }));
	t.is((await late.expect(pduType.capsuleResp)).status, 0x00c);
});

test('Disconnect: an I/O queue ends behind its answer, other queues go on, and its identifier can be connected again', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 2 });
	const [, second] = association.io;
	t.is((await second!.execute((sqe) => commands.disconnect(sqe, 1))).status, 0x180);
	t.is((await association.admin.execute((sqe) => commands.disconnect(sqe))).status, 0x185);
	t.is((await second!.execute((sqe) => commands.disconnect(sqe))).status, 0);
	await second!.over();
	t.is(second!.termReq, undefined);
	await association.io[0]!.expectGood((sqe) => commands.flush(sqe, 1));
	const again = await association.addQueue(2);
	await again.expectGood((sqe) => commands.flush(sqe, 1));
});

test('Connect by an unknown Fabrics command type: Invalid Command Opcode', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 1 });
	for (const queue of [association.admin, association.io[0]!]) {
		const result = await queue.execute((sqe) => {
			commands.disconnect(sqe);
			sqe[4] = 0x3f;
		});
		t.is(result.status, 0x001);
	}
});

test('a Fabrics command with FUSE set: Invalid Field', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 1 });
	const result = await association.admin.execute((sqe) => {
		commands.propertyGet(sqe, 0, true);
		sqe[1] = 0x01;
	});
	t.is(result.status, 0x002);
});

test('a host that the subsystem no longer admits: its controllers are ended when the appliance says so', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 2 });
	const other = await world.connect({ hostnqn: strangerNQN });
	world.fabric.endControllers(
		subnqn,
		association.options.hostnqn ?? 'nqn.2014-08.org.nvmexpress:uuid:6f4a2c1e-9b3d-4e57-8a10-5d2c7e9f0b63',
	);
	await Promise.all([association.admin.over(), ...association.io.map(async (queue) => await queue.over())]);
	await other.keepAlive();
	t.is(world.fabric.controllers().length, 1);
});

test('the dword behind a command’s fields is reserved, and a host that sets it is served', async (t) => {
	const world = await World.open(t);
	const association = await world.connect({ ioQueues: 1 });
	const result = await association.admin.execute((sqe) => {
		commands.keepAlive(sqe);
		putU32(sqe, 8, 0xffffffff);
		putU32(sqe, 60, 0xffffffff);
	});
	t.is(result.status, 0);
});
