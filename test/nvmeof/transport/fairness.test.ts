import test from 'ava';
import { transportLimits } from '../../../src/nvmeof/transport-limits.ts';
import { type AskedData, cidOf, opcode, pattern, type Peer, r2t, statusOf, World } from './peer.ts';

const MiB = 1024 * 1024;

interface Trickler {
	peer: Peer;
	asked: AskedData[];
	sentBytes: number;
}

/** A host that asks for as much as it gets and sends as little as it may: connections with writes of 4 MiB. */
async function tricklers(world: World, hosts: readonly string[]): Promise<Trickler[]> {
	const made: Trickler[] = [];
	for (const host of hosts) {
		const peer = await world.connect().openAs(host, { maxR2T: 7 });
		for (let cid = 0; cid < 16; cid++) peer.send(peer.command({ opcode: opcode.write, cid, blocks: 8192 }));
		made.push({ peer, asked: (await peer.answers()).map(r2t), sentBytes: 0 });
	}
	return made;
}

/** A second's data. */
function trickle({ peer, asked, ...rest }: Trickler, bytes: number): number {
	const first = asked[0];
	if (first !== undefined && !peer.closed) {
		const offset = first.offset + rest.sentBytes;
		peer.send(peer.h2cData({ cid: first.cid, ttag: first.ttag, offset, data: Buffer.alloc(bytes), last: false }));
	}
	return rest.sentBytes + bytes;
}

/** A write of 4 MiB, all whose R2Ts are fulfilled at once; the clock stands still. */
async function write(peer: Peer, data: Buffer): Promise<string> {
	peer.send(peer.command({ opcode: opcode.write, cid: 77, blocks: data.length / 512 }));
	for (let round = 0; round < 32; round++) {
		for (const answer of await peer.answers()) {
			try {
				peer.fulfil(r2t(answer), data);
			} catch {
				return statusOf(answer);
			}
		}
	}
	return 'waits';
}

test('one host with four connections that trickle: another host’s first write of 4 MiB goes through at once', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const slow = await tricklers(world, ['slow', 'slow', 'slow', 'slow']);
	const held = slow.reduce((sum, { peer }) => sum + peer.connection.solicited.heldBytes, 0);
	t.is(held, world.memory.solicited.limitBytes - world.memory.solicited.reserveBytes);
	for (const name of ['a', 'b', 'c']) {
		const other = await world.connect().openAs(name);
		t.is(await write(other, pattern(4 * MiB, 1)), '0', name);
	}
	// Also one that it asks for whole.
	const other = await world.connect().openAs('d');
	other.send(other.command({ opcode: opcode.parameters, cid: 1, cdw11: 4 * MiB, length: 4 * MiB }));
	t.is(statusOf((await other.answers())[0]!), 'R2T');
});

test('while others want more, a host comes to its part, whatever number of connections it has', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const [many] = await tricklers(world, ['many', 'many', 'many', 'many']);
	const [one] = await tricklers(world, ['one']);
	t.is(one!.peer.connection.solicited.heldBytes, MiB);
	t.true(many!.peer.connection.isContended);
	// The first host's connections end one by one; what they held goes to the second until it has as much as is left.
	for (let count = 0; count < 2; count++) many!.peer.world.logics[count]!.link.destroy('gone');
	await one!.peer.answers();
	const { heldBytes } = one!.peer.connection.solicited;
	t.true(heldBytes >= 3 * MiB && heldBytes <= 4 * MiB, `${heldBytes}`);
});

test('many hosts that trickle take even the reserve: they are ended soon, and who waited comes before them when they are back', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const names = Array.from({ length: 12 }, (_, index) => `slow ${index}`);
	const slow = await tricklers(world, names);
	t.is(world.memory.solicited.usedBytes, world.memory.solicited.limitBytes);
	const good = await world.connect().openAs('good');
	const data = pattern(4 * MiB, 3);
	t.is(await write(good, data), 'waits');
	const bytes = 80 * 1024;
	for (let second = 0; second < transportLimits.stalledContendedSeconds + 1; second++) {
		for (const each of slow) each.sentBytes = trickle(each, bytes);
		for (const { peer } of slow) if (!peer.closed) peer.connection.tick();
	}
	t.true(slow.filter(({ peer }) => peer.destroyed === 'stalled').length >= 1);
	// They are back before it has been served a second time.
	await tricklers(world, names);
	let answer = '';
	for (let round = 0; round < 32 && answer === ''; round++) {
		for (const each of await good.answers()) {
			if (statusOf(each) === 'R2T') good.fulfil(r2t(each), data);
			else answer = statusOf(each);
		}
		for (const { peer } of slow) if (!peer.closed) peer.destroy('the clock');
	}
	t.is(answer, '0');
});

test('data in capsules does not excuse what R2Ts wait for', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const slow = await tricklers(
		world,
		Array.from({ length: 12 }, (_, index) => `slow ${index}`),
	);
	const waiter = await world.connect().openAs('waiter');
	waiter.send(waiter.command({ opcode: opcode.write, cid: 1, blocks: 2048 }));
	const { peer } = slow[0]!;
	for (let second = 0; second < transportLimits.stalledContendedSeconds; second++) {
		for (let count = 0; count < 40; count++) {
			peer.send(peer.command({ opcode: opcode.write, cid: 100, blocks: 16, data: Buffer.alloc(8192) }));
			await peer.answers();
		}
		peer.connection.tick();
	}
	t.is(peer.destroyed, 'stalled');
	t.is(statusOf(await waiter.answer()), 'R2T');
});

test('newer data, however quick, does not excuse an R2T that is kept back while hosts wait that have nothing', async (t) => {
	const world = new World({ deviceBytes: 4 * MiB });
	const [{ peer, asked }] = (await tricklers(world, ['slow'])) as [Trickler];
	asked.shift();
	const { solicited } = world.memory;
	const starving = solicited.join('starving');
	let seconds = 0;
	for (; seconds < 100 && !peer.closed; seconds++) {
		for (const answer of asked.splice(0)) peer.fulfil(answer, pattern(4 * MiB, 1));
		for (const answer of await peer.answers()) {
			if (statusOf(answer) === 'R2T') asked.push(r2t(answer));
			else peer.send(peer.command({ opcode: opcode.write, cid: cidOf(answer), blocks: 8192 }));
		}
		// Somebody waits whenever the clock looks, and goes on in between.
		const waiter = { granted: () => undefined };
		solicited.take(starving, solicited.limitBytes, waiter);
		peer.connection.tick();
		solicited.forget(starving, waiter);
	}
	t.is(peer.destroyed, 'stalled');
	t.is(seconds, transportLimits.stalledSeconds);
});
