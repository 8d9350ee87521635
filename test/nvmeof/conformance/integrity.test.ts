import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import * as commands from '../../nvme-host/commands.ts';
import type { Command } from '../../nvme-host/command.ts';
import { content, World } from './world.ts';

const mebibyte = 1024 * 1024;
const digests = [
	[false, false],
	[true, false],
	[false, true],
	[true, true],
] as const;

/** One block to 4 MiB: every power of two, and each with a block more or less. */
const sizes = [
	512, 1024, 1536, 3584, 4096, 4608, 7680, 8192, 8704, 16_384, 65_024, 65_536, 66_048, 131_072, 131_584, 262_144, 524_288, 1_048_576,
	1_049_088, 2_097_152, 4_194_304,
];

for (const [headerDigest, dataDigest] of digests) {
	for (const ioQueues of [1, 4]) {
		test(`every size from a block to 4 MiB is read as it was written: ${ioQueues} queues, header digest ${headerDigest}, data digest ${dataDigest}`, async (t) => {
			const world = await World.open(t);
			const namespace = await world.namespace({ ioQueues, headerDigest, dataDigest, maxR2Ts: ioQueues });
			for (const [index, size] of sizes.entries()) {
				const data = content(size, index);
				const lba = 1 + index * 3;
				const result = await namespace.write(lba, data, { queueIndex: index % ioQueues });
				t.is(result.r2ts === 0, size <= limits.inCapsuleBytes);
				t.true(world.device.bytes(lba * 512, size).equals(data));
				t.true((await namespace.read(lba, size / 512, (index + 1) % ioQueues)).equals(data), `${size} bytes`);
			}
			t.true(namespace.association.io.every(({ dataDigestErrors }) => dataDigestErrors === 0));
			await world.until(() => world.budget.usedBytes === 0);
		});
	}
}

for (const cold of [false, true]) {
	test(`short writes by R2T, and reads that have to wait for the medium: ${cold ? 'cold' : 'warm'}`, async (t) => {
		const world = await World.open(t, { cold });
		const namespace = await world.namespace({ ioQueues: 2, dataDigest: true });
		for (const [index, size] of [512, 4096, 8192, 131_072, 1_048_576].entries()) {
			const data = content(size, index + 77);
			t.is((await namespace.write(index * 4096, data, { solicited: true })).r2ts > 0, true);
			t.true((await namespace.read(index * 4096, size / 512)).equals(data));
		}
	});
}

for (const [headerDigest, dataDigest] of [digests[0], digests[3]]) {
	test(`four full queues of mixed sizes: every block holds what was last acknowledged: header digest ${headerDigest}, data digest ${dataDigest}`, async (t) => {
		const world = await World.open(t);
		const namespace = await world.namespace({ ioQueues: 4, depth: 32, commandsMax: 31, headerDigest, dataDigest });
		// Slots of 64 KiB, each with one command at a time; a slot's content is known whenever it is idle.
		const slots = 512;
		const slotBytes = 65_536;
		const seeds = new Uint32Array(slots);
		const lengths = new Uint32Array(slots);
		const busy = new Set<number>();
		let x = 12_345;
		const random = (below: number): number => {
			x ^= x << 13;
			x ^= x >>> 17;
			x ^= x << 5;
			return (x >>> 0) % below;
		};
		let started = 0;
		const total = 4000;
		await new Promise<void>((resolve, reject) => {
			const next = (command: Command): void => {
				let slot = random(slots);
				while (busy.has(slot)) slot = (slot + 1) % slots;
				busy.add(slot);
				started++;
				command.a = slot;
				const blocks = 1 + random(slotBytes / 512);
				if (lengths[slot] === 0 || random(2) === 0) {
					command.b = started;
					command.dataIn = undefined;
					command.dataOut = content(blocks * 512, started);
					namespace.submitWrite(command, (slot * slotBytes) / 512, blocks);
				} else {
					command.b = 0;
					command.dataIn = Buffer.alloc(lengths[slot]!);
					namespace.submitRead(command, (slot * slotBytes) / 512, lengths[slot]! / 512);
				}
			};
			const finished = (command: Command): void => {
				const slot = command.a;
				busy.delete(slot);
				if (command.status !== 0) reject(new Error(`status ${command.status} of command ${started}`));
				if (command.b > 0) {
					seeds[slot] = command.b;
					lengths[slot] = command.dataOutBytes;
				} else if (!command.dataIn!.equals(content(lengths[slot]!, seeds[slot]))) {
					reject(new Error(`slot ${slot} does not hold write ${seeds[slot]}`));
				}
				if (started < total) next(command);
				else if (namespace.outstanding === 0) resolve();
			};
			for (let command = namespace.take(); command !== undefined; command = namespace.take()) {
				command.owner = { finished };
				next(command);
			}
		});
		for (let slot = 0; slot < slots; slot++) {
			if (lengths[slot] === 0) continue;
			t.true(world.device.bytes(slot * slotBytes, lengths[slot]!).equals(content(lengths[slot]!, seeds[slot])));
		}
		t.true(namespace.association.io.every(({ dataDigestErrors }) => dataDigestErrors === 0));
		await world.until(() => world.budget.usedBytes === 0);
	});
}

test('32 writes of 4 MiB at once stay within the memory budget, and all are whole', async (t) => {
	const world = await World.open(t, { sizeBytes: 128 * mebibyte });
	const namespace = await world.namespace({ ioQueues: 2, maxR2Ts: 8 });
	const pieces = Array.from({ length: 32 }, (_none, index) => content(4 * mebibyte, index));
	await Promise.all(pieces.map(async (piece, index) => await namespace.write((index * 4 * mebibyte) / 512, piece)));
	t.true(world.budget.peakBytes <= world.budget.limitBytes);
	for (const [index, piece] of pieces.entries()) t.true(world.device.bytes(index * 4 * mebibyte, piece.length).equals(piece));
	await world.until(() => world.budget.usedBytes === 0);
});

test('two hosts, one namespace: each reads what the other wrote', async (t) => {
	const world = await World.open(t);
	const one = await world.namespace({ hostid: Buffer.alloc(16, 1) });
	const two = await world.namespace({ hostid: Buffer.alloc(16, 2), headerDigest: true, dataDigest: true });
	for (let round = 0; round < 20; round++) {
		const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
		const data = content(20_480, round);
		await writer.write(round, data);
		t.true((await reader.read(round, 40)).equals(data));
	}
});

test('a queue of depth 128 takes 128 commands at once', async (t) => {
	const world = await World.open(t);
	const namespace = await world.namespace({ depth: 128, commandsMax: 128 });
	world.device.held = true;
	const results = Array.from({ length: 128 }, async () => await namespace.execute((sqe) => commands.flush(sqe, 1)));
	await world.until(() => world.device.calls.filter(({ operation }) => operation === 'flush').length === 128);
	world.device.held = false;
	while (world.device.release());
	t.true((await Promise.all(results)).every(({ status }) => status === 0));
});
