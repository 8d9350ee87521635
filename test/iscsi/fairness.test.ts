import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, pattern, type Peer, read10, statusOf, World, write10 } from './peer.ts';

const MiB = 1024 * 1024;

interface Asked {
	tag: number;
	transferTag: number;
	offset: number;
	length: number;
}

function r2t({ bhs }: Answer): Asked {
	return {
		tag: pdu.R2T.initiatorTaskTag.get(bhs, 0),
		transferTag: pdu.R2T.targetTransferTag.get(bhs, 0),
		offset: pdu.R2T.bufferOffset.get(bhs, 0),
		length: pdu.R2T.desiredDataTransferLength.get(bhs, 0),
	};
}

function fulfil(peer: Peer, { tag, transferTag, offset, length }: Asked, data: Buffer): void {
	const pieceBytes = limits.maxRecvDataSegmentLength;
	for (let at = offset, dataSN = 0; at < offset + length; at += pieceBytes, dataSN++) {
		const end = Math.min(at + pieceBytes, offset + length);
		peer.send(peer.dataOut({ tag, transferTag, offset: at, dataSN, final: end === offset + length, data: data.subarray(at, end) }));
	}
}

interface Trickler {
	peer: Peer;
	asked: Asked[];
	sentBytes: number;
	dataSN: number;
}

/** Sessions with writes of 4 MiB, of which only so much comes as has to. */
async function tricklers(world: World, initiators: readonly string[]): Promise<Trickler[]> {
	const made: Trickler[] = [];
	for (const [index, name] of initiators.entries()) {
		const peer = await world.connect().open({ InitialR2T: 'Yes', MaxOutstandingR2T: '8' }, { initiator: name, isid: hex(index) });
		for (let tag = 1; tag <= 8; tag++) peer.send(peer.command({ cdb: write10(0, 8192), tag, write: 4 * MiB }));
		made.push({ peer, asked: (await peer.answers()).map(r2t), sentBytes: 0, dataSN: 0 });
	}
	return made;
}

function hex(index: number): string {
	return index.toString(16).padStart(12, '0');
}

/** A second's data of the first R2T. */
function trickle(of: Trickler, bytes: number): void {
	const [first] = of.asked;
	if (first === undefined || of.peer.closed || bytes === 0) return;
	const { tag, transferTag, offset } = first;
	of.peer.send(
		of.peer.dataOut({ tag, transferTag, offset: offset + of.sentBytes, dataSN: of.dataSN++, final: false, data: Buffer.alloc(bytes) }),
	);
	of.sentBytes += bytes;
}

/** A write of 4 MiB, all whose R2Ts are fulfilled at once; the clock stands still. */
async function write(peer: Peer, data: Buffer): Promise<string> {
	peer.send(peer.command({ cdb: write10(0, data.length / 512), tag: 77, write: data.length }));
	for (let round = 0; round < 32; round++) {
		for (const answer of await peer.answers()) {
			if (answer.opcode !== pdu.opcode.r2t) return statusOf(answer);
			fulfil(peer, r2t(answer), data);
		}
	}
	return 'waits';
}

const newcomer = { ImmediateData: 'No', InitialR2T: 'Yes' };

test('one initiator with four sessions that trickle: another’s first write of 4 MiB goes through at once', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const slow = await tricklers(world, ['slow', 'slow', 'slow', 'slow']);
	const { share } = world.environment.plan;
	t.is(
		slow.reduce((sum, { peer }) => sum + peer.connection.session!.grants.heldBytes, 0),
		share.limitBytes - share.reserveBytes,
	);
	for (const name of ['a', 'b', 'c']) {
		const other = await world.connect().open(newcomer, { initiator: name });
		t.is(await write(other, pattern(4 * MiB, 1)), '00', name);
	}
});

test('unsolicited data: one initiator’s sessions announce all that they may, and another’s still comes', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	for (let index = 0; index < 4; index++) {
		const hostile = await world.connect().open({}, { initiator: 'hostile', isid: hex(index) });
		for (let tag = 1; tag <= 100 && !hostile.connection.stopped; tag++)
			hostile.send(hostile.command({ cdb: write10(0, 2048), tag, write: MiB, final: false, data: Buffer.alloc(4096, 1) }));
	}
	const { unsolicited } = world.environment.plan;
	t.is(unsolicited.usedBytes, unsolicited.limitBytes - unsolicited.reserveBytes);
	const good = await world.connect().open({}, { initiator: 'good' });
	const data = pattern(256 * 1024, 4);
	good.send(good.command({ cdb: write10(0, 512), tag: 1, write: data.length, final: false, data: data.subarray(0, 4096) }));
	good.send(good.dataOut({ tag: 1, offset: 4096, dataSN: 0, final: true, data: data.subarray(4096) }));
	t.is(statusOf(await good.answer()), '00');
	t.true(world.device.medium.subarray(0, data.length).equals(data));
});

test('reads of one initiator that it does not take, over many sessions: another’s go on, and so do writes', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	world.device.cold = true;
	for (let index = 0; index < 20; index++) {
		const hostile = await world.connect().open({}, { initiator: 'hostile', isid: hex(index) });
		hostile.blocked = true;
		for (let tag = 1; tag <= 100; tag++) hostile.send(hostile.command({ cdb: read10(0, 8192), tag, read: 4 * MiB }));
		await hostile.answers();
	}
	const { plan } = world.environment;
	t.is(plan.reads.usedBytes, plan.reads.limitBytes - plan.reads.reserveBytes);
	t.is(world.budget.usedBytes, plan.reads.usedBytes);
	const good = await world.connect().open(newcomer, { initiator: 'good' });
	for (let tag = 1; tag <= 16; tag++) {
		good.send(good.command({ cdb: read10(0, 2048), tag, read: MiB }));
		const answers = await good.answers();
		t.is(
			answers.reduce((sum, { data }) => sum + data.length, 0),
			MiB,
		);
	}
	t.is(await write(good, pattern(4 * MiB, 1)), '00');
});

test('a read that is aborted while it stands in line for memory leaves its place and what it had of the share', async (t) => {
	for (const full of ['budget', 'share'] as const) {
		const world = new World({ deviceBytes: MiB });
		world.device.cold = true;
		const peer = await world.connect().open();
		const { budget, reads } = world.environment.plan;
		const others = reads.join('others');
		t.true(full === 'share' ? reads.tryTake(others, reads.limitBytes) : budget.tryTake(budget.limitBytes));
		for (const tag of [1, 2]) peer.send(peer.command({ cdb: read10(0, 8), tag, read: 4096 }));
		t.deepEqual(await peer.answers(), []);
		peer.send(peer.manage(pdu.taskManagementFunction.abortTask, 9, { referenced: 1 }));
		t.is((await peer.answer()).opcode, pdu.opcode.taskManagementResponse);
		if (full === 'share') reads.give(others, reads.limitBytes);
		else budget.give(budget.limitBytes);
		const answer = await peer.answer();
		t.is(answer.bhs.readUInt32BE(16), 2);
		t.is(answer.data.length, 4096);
		t.is(reads.usedBytes + budget.usedBytes + reads.waiting + budget.waiting, 0);
	}
});

test('many initiators that trickle take even the reserve: only who sends what was asked for in time goes on', async (t) => {
	const enough = MiB / limits.starvedSeconds;
	for (const bytes of [1, 80 * 1024, enough]) {
		const world = new World({ deviceBytes: 4 * MiB });
		const slow = await tricklers(
			world,
			Array.from({ length: 12 }, (_, index) => `slow ${index}`),
		);
		const { share } = world.environment.plan;
		t.is(share.usedBytes, share.limitBytes);
		const good = await world.connect().open(newcomer, { initiator: 'good' });
		t.is(await write(good, pattern(4 * MiB, 1)), 'waits');
		// The last one that got something holds as little as can be.
		const last = slow.findLast(({ asked }) => asked.length > 0)!;
		t.is(last.asked.length, 1);
		for (let second = 0; second <= limits.stalledContendedSeconds; second++) {
			for (const each of slow) {
				trickle(each, bytes);
				each.peer.connection.tick(true);
			}
		}
		// With memory for all, the rate that is demanded is the lower one.
		t.is(last.peer.destroyed, bytes === 1 ? 'stalled' : undefined, `${bytes}`);
		t.is(slow[0]!.peer.destroyed, 'stalled', `${bytes}`);
		t.is((await good.answers())[0]!.opcode, pdu.opcode.r2t);
	}
});

test('while others wait, who holds memory has to send limits.contendedBytesPerSecond, in data that was asked for', async (t) => {
	for (const [bytes, immediate, isEnded] of [
		[0, false, true],
		[1, false, true],
		[0, true, true],
		[limits.contendedBytesPerSecond, false, false],
	] as const) {
		const world = new World({ deviceBytes: 4 * MiB });
		const [holder, other] = await tricklers(world, ['holder', 'other']);
		const { session } = holder!.peer.connection;
		t.true(session!.isContended);
		t.false(session!.isStarved);
		for (let second = 0; second <= limits.stalledContendedSeconds; second++) {
			trickle(holder!, bytes);
			for (let count = immediate ? 0 : 20; count < 20; count++)
				holder!.peer.send(
					holder!.peer.command({ cdb: write10(0, 128), tag: 100 + second * 20 + count, write: 65536, data: Buffer.alloc(65536) }),
				);
			if (immediate) await holder!.peer.answers();
			holder!.peer.connection.tick(true);
		}
		t.is(holder!.peer.destroyed, isEnded ? 'stalled' : undefined, `${bytes}`);
		if (isEnded) t.true(other!.peer.connection.session!.grants.heldBytes > 4 * MiB);
	}
});

test('slow data ends no session while nobody else wants the memory', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const slow = await tricklers(world, ['slow', 'slow']);
	for (let second = 0; second < 100; second++) {
		for (const each of slow) {
			if (second % 20 === 0) trickle(each, 4);
			each.peer.connection.tick(true);
		}
	}
	t.deepEqual(
		slow.map(({ peer }) => peer.destroyed),
		[undefined, undefined],
	);
});
