import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { generous, keysOf, type Peer, read10, statusOf, targetName, initiatorName, World, write10 } from './peer.ts';

const MiB = 1024 * 1024;
const tsihOf = (bhs: Buffer): number => pdu.LoginResponse.tsih.get(bhs, 0);
const loginStatusOf = (bhs: Buffer): string => bhs.toString('hex', 36, 38);

test('§6.3.5: a login with the same names and ISID ends the old session, and waits until the device has nothing of it', async (t) => {
	const world = new World();
	const old = await world.connect().open();
	const oldSession = old.connection.session!;
	world.device.held = true;
	old.send(old.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	old.send(old.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
	await old.answers();
	const peer = world.connect();
	await t.throwsAsync(peer.login(generous), { message: /^0 PDUs/ });
	t.is(old.destroyed, 'reinstated by a new login');
	t.true(oldSession.ended);
	world.device.releaseAll();
	const answer = await peer.answer();
	t.is(loginStatusOf(answer.bhs), '0000');
	t.not(tsihOf(answer.bhs), oldSession.tsih);
	t.is(world.environment.sessions.live().length, 1);
	t.deepEqual(await old.answers(), []);
	// A new nexus: it is told so.
	peer.send(peer.command({ cdb: '00', tag: 1 }));
	t.is(statusOf(await peer.answer()), '02 6/2900');
	t.is(world.statistics.reinstatements, 1);
});

test('§4.4.2: another ISID, or another initiator, is another session', async (t) => {
	const world = new World();
	const peers = [
		await world.connect().open(),
		await world.connect().open({}, { isid: '00023d000009' }),
		await world.connect().open({}, { initiator: 'iqn.2026-11.test:other' }),
	];
	t.is(world.environment.sessions.size, 3);
	t.is(new Set(peers.map((peer) => peer.connection.session!.tsih)).size, 3);
	t.true(peers.every((peer) => !peer.closed && peer.connection.session!.tsih !== 0));
});

test('§6.3.4: the same CID with the TSIH takes the connection over; CmdSN goes on, tasks of the old one are over', async (t) => {
	const world = new World();
	const old = await world.connect().open();
	const session = old.connection.session!;
	old.send(old.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
	await old.answers();
	const peer = world.connect();
	peer.cmdSN = old.cmdSN;
	const answer = await peer.login({ HeaderDigest: 'CRC32C' }, { tsih: session.tsih });
	t.is(loginStatusOf(answer.bhs), '0000');
	t.is(tsihOf(answer.bhs), session.tsih);
	t.is(old.destroyed, 'reinstated by a new connection');
	t.is(session.tasks.size, 0);
	t.is(peer.connection.session, session);
	// Session-wide keys stay, the connection's own begin anew.
	t.like(peer.connection.parameters, { initialR2T: false, maxBurstLength: 16776192, headerDigest: true, maxRecvDataSegmentLength: 8192 });
	peer.send(peer.command({ cdb: '00', tag: 2 }));
	t.is(statusOf(await peer.answer()), '00');
	// Another CID would be a second connection.
	t.is(loginStatusOf((await world.connect().login({}, { tsih: session.tsih, cid: 5 })).bhs), '0206');
	t.is(loginStatusOf((await world.connect().login({}, { tsih: session.tsih, isid: '00023d000099' })).bhs), '020a');
	t.false(peer.closed);
});

test('session-wide keys are refused where the session goes on (§13, LO)', async (t) => {
	const world = new World();
	const old = await world.connect().open();
	const answer = await world.connect().login({ MaxBurstLength: '512' }, { tsih: old.connection.session!.tsih });
	t.is(keysOf(answer.data)['MaxBurstLength'], 'Reject');
});

test('a new login while the old one still waits for the device: one of them is left', async (t) => {
	const world = new World();
	const old = await world.connect().open();
	world.device.held = true;
	old.send(old.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	const second = world.connect();
	await t.throwsAsync(second.login());
	const third = world.connect();
	await t.throwsAsync(third.login());
	world.device.releaseAll();
	await third.answers();
	t.is(world.environment.sessions.live().length, 1);
	t.is([second, third].filter((peer) => peer.connection.inFullFeaturePhase).length, 1);
	t.is(world.target.unit(Buffer.alloc(8)), world.unit);
});

test('a connection that breaks in the middle of everything gives all memory back', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.cold = true;
	world.device.held = true;
	peer.blocked = true;
	for (let tag = 0; tag < 20; tag++) {
		peer.send(peer.command({ cdb: read10(0, 256), tag: 100 + tag, read: 131072 }));
		peer.send(peer.command({ cdb: write10(0, 2048), tag: 200 + tag, write: MiB, data: Buffer.alloc(65536) }));
	}
	await peer.answers();
	world.device.release();
	t.true(world.budget.usedBytes > 4 * MiB);
	peer.cut();
	world.device.releaseAll();
	t.is(world.budget.usedBytes, 0);
	t.is(world.environment.plan.share.usedBytes + world.environment.plan.reads.usedBytes, 0);
	t.is(world.budget.waiting + world.environment.plan.reads.waiting, 0);
	t.is(world.environment.sessions.size, 0);
});

test('memory that is short: R2Ts are withheld in line, sessions take turns, and every write ends', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB, deviceBytes: 4 * MiB });
	const peers: Peer[] = [];
	for (let index = 0; index < 4; index++)
		peers.push(await world.connect().open({ ImmediateData: 'No', MaxOutstandingR2T: '8' }, { isid: `0000000000${10 + index}` }));
	for (const peer of peers) for (const tag of [1, 2, 3]) peer.send(peer.command({ cdb: write10(0, 8192), tag, write: 4 * MiB }));
	let done = 0;
	const part = Buffer.alloc(65536);
	for (let round = 0; done < 12 && round < 200; round++) {
		let progress = 0;
		for (const peer of peers) {
			for (const { bhs, opcode } of await peer.answers()) {
				progress++;
				if (opcode === pdu.opcode.scsiResponse) {
					t.is(bhs[3], 0);
					done++;
					continue;
				}
				const start = pdu.R2T.bufferOffset.get(bhs, 0);
				const end = start + pdu.R2T.desiredDataTransferLength.get(bhs, 0);
				const transferTag = pdu.R2T.targetTransferTag.get(bhs, 0);
				for (let offset = start; offset < end; offset += part.length) {
					peer.send(
						peer.dataOut({
							tag: bhs.readUInt32BE(16),
							transferTag,
							offset,
							dataSN: (offset - start) / part.length,
							final: offset + part.length === end,
							data: part,
						}),
					);
				}
			}
		}
		if (progress === 0) break;
	}
	t.is(done, 12);
	t.is(world.budget.usedBytes, 0);
	t.true(world.budget.peakBytes <= 4 * MiB);
});

test('unsolicited data without memory: the connection is not read until there is some, and then all is well', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	t.true(world.budget.tryTake(4 * MiB));
	const data = Buffer.alloc(4096, 5);
	peer.send(peer.command({ cdb: write10(0, 8), tag: 1, write: 4096, data }));
	peer.send(peer.command({ cdb: '00', tag: 2 }));
	t.deepEqual(await peer.answers(), []);
	t.true(peer.unreadBytes > 0);
	world.budget.give(4 * MiB);
	t.deepEqual((await peer.answers()).map(statusOf).toSorted(), ['00', '00']);
	t.true(world.device.medium.subarray(0, 4096).equals(data));
	t.is(peer.unreadBytes, 0);
});

test('a task that is aborted while it stands in line for memory leaves its place and what it had of the share', async (t) => {
	for (const full of ['budget', 'share'] as const) {
		const world = new World({ budgetBytes: 4 * MiB });
		const peer = await world.connect().open({ ImmediateData: 'No' });
		const { plan } = world.environment;
		const others = plan.share.join('others');
		t.true(full === 'share' ? plan.share.tryTake(others, plan.share.limitBytes) : plan.budget.tryTake(plan.budget.limitBytes));
		for (const tag of [1, 2]) peer.send(peer.command({ cdb: write10(0, 8), tag, write: 4096 }));
		t.deepEqual(await peer.answers(), []);
		peer.send(peer.manage(pdu.taskManagementFunction.abortTask, 9, { referenced: 1 }));
		t.is((await peer.answer()).opcode, pdu.opcode.taskManagementResponse);
		if (full === 'share') plan.share.give(others, plan.share.limitBytes);
		else plan.budget.give(plan.budget.limitBytes);
		t.is((await peer.answer()).bhs.readUInt32BE(16), 2);
		t.is(plan.share.usedBytes, 4096);
		peer.cut();
		t.is(plan.share.usedBytes, 0);
		t.is(world.budget.usedBytes, 0);
		t.is(world.budget.waiting + plan.share.waiting, 0);
	}
});

test('a connection that waits for memory is aborted cleanly: the rest of its data goes nowhere, what follows is read', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	const other = await world.connect().open({}, { isid: '00023d000002' });
	t.true(world.budget.tryTake(4 * MiB));
	peer.send(peer.command({ cdb: write10(0, 8), tag: 1, write: 4096, data: Buffer.alloc(4096, 5) }));
	peer.send(peer.command({ cdb: '00', tag: 2 }));
	other.send(other.manage(pdu.taskManagementFunction.clearTaskSet, 1));
	await other.answer();
	t.deepEqual((await peer.answers()).map(statusOf), ['40', '00']);
	t.is(world.budget.waiting, 0);
	t.deepEqual(world.device.writes, []);
});

test('a connection that holds memory for data still to be read gets TASK SET FULL instead of waiting for itself', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0, 16), tag: 1, write: 8192, final: false, data: Buffer.alloc(4096, 1) }));
	const rest = 4 * MiB - world.budget.usedBytes;
	t.true(world.budget.tryTake(rest));
	peer.send(peer.command({ cdb: write10(8, 16), tag: 2, write: 8192, final: false, data: Buffer.alloc(4096, 2) }));
	peer.send(peer.dataOut({ tag: 2, offset: 4096, dataSN: 0, final: true, data: Buffer.alloc(4096, 2) }));
	t.deepEqual((await peer.answers()).map(statusOf), ['28']);
	peer.send(peer.dataOut({ tag: 1, offset: 4096, dataSN: 0, final: true, data: Buffer.alloc(4096, 1) }));
	t.deepEqual((await peer.answers()).map(statusOf), ['00']);
	t.is(world.statistics.taskSetFull, 1);
	world.budget.give(rest);
	t.is(world.budget.usedBytes, 0);
});

test('memory for only the unsolicited part: the rest is solicited later and the write reaches the device whole', async (t) => {
	const world = new World({ budgetBytes: 4 * MiB });
	const peer = await world.connect().open();
	t.true(world.budget.tryTake(4 * MiB - 16384));
	const data = Buffer.alloc(65536);
	for (let at = 0; at < data.length; at++) data[at] = (at * 7) & 0xff;
	peer.send(peer.command({ cdb: write10(0, 128), tag: 1, write: 65536, data: data.subarray(0, 8192) }));
	t.deepEqual(await peer.answers(), []);
	world.budget.give(4 * MiB - 16384);
	const { bhs } = await peer.answer();
	t.is(pdu.R2T.bufferOffset.get(bhs, 0), 8192);
	peer.send(
		peer.dataOut({
			tag: 1,
			transferTag: pdu.R2T.targetTransferTag.get(bhs, 0),
			offset: 8192,
			dataSN: 0,
			final: true,
			data: data.subarray(8192),
		}),
	);
	t.is(statusOf(await peer.answer()), '00');
	t.is(world.device.writes.length, 1);
	t.true(world.device.medium.subarray(0, 65536).equals(data));
	t.is(world.budget.usedBytes, 0);
});

test('a peer that holds memory and sends no data loses its connection after limits.stalledSeconds, pings or not', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512 }));
	await peer.answers();
	for (let second = 0; second < limits.stalledSeconds; second++) peer.connection.tick(true);
	t.is(peer.destroyed, 'stalled');
	t.is(world.budget.usedBytes, 0);
});

test('a peer that does not read what was sent loses its connection after limits.stalledSeconds', async (t) => {
	const peer = await new World().connect().open();
	peer.blocked = true;
	peer.send(peer.command({ cdb: read10(0, 1), tag: 1, read: 512 }));
	for (let second = 0; second <= limits.stalledSeconds; second++) peer.connection.tick(true);
	t.is(peer.destroyed, 'stalled');
});

test('limits.sessions: one login more gets 0302', async (t) => {
	const world = new World();
	for (let index = 0; index < limits.sessions; index++) {
		const peer = world.connect();
		peer.remoteAddress = `192.0.2.${index % 4}`;
		t.is(loginStatusOf((await peer.login({}, { isid: index.toString(16).padStart(12, '0') })).bhs), '0000');
	}
	const refused = world.connect();
	t.is(loginStatusOf((await refused.login({}, { isid: 'ffffffffffff' })).bhs), '0302');
	t.true(refused.ended);
});

test('limits.sessionsPerAddress: one login more of that address gets 0302, another address has its own, and who goes makes room', async (t) => {
	const world = new World();
	const peers: Peer[] = [];
	const login = async (index: number, remoteAddress: string): Promise<string> => {
		const peer = world.connect();
		peer.remoteAddress = remoteAddress;
		peers.push(peer);
		return loginStatusOf((await peer.login({}, { isid: index.toString(16).padStart(12, '0') })).bhs);
	};
	for (let index = 0; index < limits.sessionsPerAddress; index++) t.is(await login(index, '192.0.2.1'), '0000');
	t.is(await login(1000, '192.0.2.1'), '0302');
	t.is(await login(1001, '192.0.2.2'), '0000');
	t.is(await login(1002, '2001:db8::1'), '0000');
	// The same nexus again takes its own place.
	t.is(await login(5, '192.0.2.1'), '0000');
	t.is(await login(1003, '192.0.2.1'), '0302');
	peers[7]!.cut();
	t.is(await login(1004, '192.0.2.1'), '0000');
});

test('§6.3: a login that takes longer than limits.loginSeconds is dropped', async (t) => {
	const world = new World();
	const peer = world.connect();
	for (let second = 0; second < limits.loginSeconds; second++) peer.connection.tick(true);
	t.false(peer.closed);
	peer.connection.tick(true);
	t.is(peer.destroyed, 'login took too long');
});

test('a target that goes away during login is not logged in to', async (t) => {
	const world = new World();
	world.strangers.add(initiatorName);
	t.is(loginStatusOf((await world.connect().login({ TargetName: targetName })).bhs), '0202');
});

test('§11.9: asked to log out, an initiator reads an asynchronous message with the time it has', async (t) => {
	const peer = await new World().connect().open();
	peer.connection.control.askForLogout(7);
	const { bhs, opcode } = await peer.answer();
	t.is(opcode, pdu.opcode.asyncMessage);
	t.is(pdu.AsyncMessage.asyncEvent.get(bhs, 0), pdu.asyncEvent.logoutRequest);
	t.is(pdu.AsyncMessage.parameter3.get(bhs, 0), 7);
	t.is(pdu.AsyncMessage.initiatorTaskTag.get(bhs, 0), pdu.noTag);
});

test('sessions that announce unsolicited data and keep it back do not stop the short writes of another', async (t) => {
	const world = new World({ deviceBytes: 16 * 1024 * 1024 });
	const hostile = await Promise.all(
		Array.from({ length: 8 }, (_, index) => world.connect().open({}, { initiator: `iqn.2026-11.test:hostile${index}` })),
	);
	for (const peer of hostile) {
		for (let tag = 1; tag <= 100; tag++) {
			if (peer.connection.stopped || peer.destroyed !== undefined) break;
			peer.send(peer.command({ cdb: write10(0, 2048), tag, write: 1024 * 1024, final: false, data: Buffer.alloc(4096, 1) }));
		}
	}
	t.true(world.budget.usedBytes <= world.budget.limitBytes * limits.unsolicitedShare);
	const honest = await world.connect().open();
	honest.send(honest.command({ cdb: write10(8, 8), tag: 1, write: 4096, data: Buffer.alloc(4096, 7) }));
	t.is((await honest.answer()).opcode, pdu.opcode.scsiResponse);
	t.is(world.device.medium[8 * 512], 7);
});

test('who keeps memory while another waits for it has limits.stalledContendedSeconds', async (t) => {
	const world = new World({ deviceBytes: 16 * 1024 * 1024, budgetBytes: 4 * 1024 * 1024 });
	const holder = await world.connect().open({}, { initiator: 'iqn.2026-11.test:holder' });
	for (let tag = 1; tag <= 6; tag++)
		holder.send(holder.command({ cdb: write10(0, 2048), tag, write: 1024 * 1024, final: false, data: Buffer.alloc(4096, 1) }));
	// What is kept for those that hold nothing goes to the first two that come.
	for (const name of ['first', 'second']) {
		const early = await world.connect().open({}, { initiator: `iqn.2026-11.test:${name}` });
		early.send(early.command({ cdb: write10(0, 2048), tag: 1, write: 1024 * 1024, final: false, data: Buffer.alloc(4096, 2) }));
		t.false(early.connection.stopped);
	}
	const waiter = await world.connect().open({}, { initiator: 'iqn.2026-11.test:waiter' });
	waiter.send(waiter.command({ cdb: write10(0, 2048), tag: 1, write: 1024 * 1024, final: false, data: Buffer.alloc(4096, 2) }));
	t.true(waiter.connection.stopped);
	for (let second = 0; second <= limits.stalledContendedSeconds; second++) holder.connection.tick(true);
	t.is(holder.destroyed, 'stalled');
	t.false(waiter.connection.stopped);
});
