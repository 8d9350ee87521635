import test, { type ExecutionContext } from 'ava';
import { checkVolume } from '../../src/blockvol/check.ts';
import { pageChecksum } from '../../src/blockvol/page-checksums.ts';
import { headerBytes, recordBytes, recordType, sealHeader, tableBytes } from '../../src/blockvol/wal-record.ts';
import { segmentName } from '../../src/blockvol/wal-segment.ts';
import { SuperblockFile, type Superblock } from '../../src/blockvol/superblock.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import type { DiskFile } from '../../src/os/disk.ts';
import { silent } from '../../src/os/logger.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import {
	filled,
	flush,
	kib,
	makeVolume,
	mib,
	openVolume,
	page,
	read,
	serveInMemory,
	serveVolume,
	write,
	zero,
	type Served,
} from './volume-fixture.ts';

const recordUnits = recordBytes(recordType.write, 1) / 64;
const isData = (call: { path: string }): boolean => call.path.endsWith('.data');

/** A volume that was killed with a log of our own making. */
interface Killed extends Served {
	superblock: Readonly<Superblock>;
	/** Writes a record of one page into the first segment. */
	put(
		lsn: number,
		options: { page: number; fill: number; epoch?: number; walGeneration?: number; durableLSN?: number; type?: number },
	): Promise<void>;
	/** Opens the volume and reads one byte of each page. */
	pages(count: number): Promise<number[]>;
}

async function killed(t: ExecutionContext, writes: number, options: { synced?: number } = {}): Promise<Killed> {
	const served = await serveVolume(t);
	for (let at = 0; at < writes; at++) {
		await write(served.volume, at * page, filled(page, at + 1));
		if (at + 1 === options.synced) await flush(served.volume);
	}
	served.volume.abandon();
	const file = await SuperblockFile.open(served.disk, `${served.directory}/superblock`, 'readOnly');
	const superblock = file.current;
	await file.close();
	return {
		...served,
		superblock,
		put: async (
			lsn,
			{ page: first, fill, epoch = superblock.epoch, walGeneration = superblock.walGeneration, durableLSN = 0, type = recordType.write },
		) => {
			const bytes = Buffer.alloc(recordBytes(type, 1));
			const data = filled(page, fill);
			if (type === recordType.write) bytes.writeUInt32LE(pageChecksum(data), headerBytes);
			if (type === recordType.write) data.copy(bytes, headerBytes + tableBytes(1));
			sealHeader(bytes, 0, { walGeneration, epoch }, type, lsn, first, 1, bytes.length / 64, 0, durableLSN);
			await onLog(served, async (log) => {
				await log.write(bytes, lsn * 64);
			});
		},
		pages: async (count) => {
			const volume = await openVolume(served.disk, served.directory);
			const seen: number[] = [];
			for (let at = 0; at < count; at++) seen.push((await read(volume, at * page, page)).readUInt8(17));
			volume.abandon();
			return seen;
		},
	};
}

async function onLog({ disk, directory }: Served, work: (log: DiskFile) => Promise<void>): Promise<void> {
	const log = await disk.open(`${directory}/wal/${segmentName(0)}`, 'existing');
	await work(log);
	await log.close();
}

async function spoil(served: Served, positionBytes: number): Promise<void> {
	await onLog(served, async (log) => {
		const byte = Buffer.alloc(1);
		await log.read(byte, positionBytes);
		byte.writeUInt8(byte.readUInt8(0) ^ 0x10, 0);
		await log.write(byte, positionBytes);
	});
}

test('replay stops at a record whose header, table or data is damaged, and takes nothing behind it', async (t) => {
	for (const within of [20, headerBytes + 1, headerBytes + tableBytes(1) + 4000]) {
		const volume = await killed(t, 4);
		await spoil(volume, 2 * recordUnits * 64 + within);
		t.deepEqual(await volume.pages(4), [1, 2, 0, 0], `byte ${within} of the record`);
	}
});

test('replay stops at a gap, whatever stands behind it', async (t) => {
	const volume = await killed(t, 2);
	await volume.put(3 * recordUnits, { page: 3, fill: 9 });
	t.deepEqual(await volume.pages(4), [1, 2, 0, 0]);
	// And in a later opening, when the gap has been written: what was cut off stays cut off.
	await volume.put(2 * recordUnits, { page: 2, fill: 8 });
	t.deepEqual(await volume.pages(4), [1, 2, 0, 0], 'a record of an epoch that had been cut off');
});

test('a record of another log does not count, nor one of an earlier epoch', async (t) => {
	const foreign = await killed(t, 2);
	await foreign.put(2 * recordUnits, { page: 2, fill: 9, walGeneration: foreign.superblock.walGeneration + 1 });
	t.deepEqual(await foreign.pages(3), [1, 2, 0]);
	const stale = await killed(t, 2);
	await stale.put(2 * recordUnits, { page: 2, fill: 9, epoch: stale.superblock.epoch - 1 });
	t.deepEqual(await stale.pages(3), [1, 2, 0]);
	const good = await killed(t, 2);
	await good.put(2 * recordUnits, { page: 2, fill: 9 });
	t.deepEqual(await good.pages(3), [1, 2, 9]);
});

test('a record that stands in another place than its LSN says does not count', async (t) => {
	const volume = await killed(t, 2);
	await onLog(volume, async (log) => {
		const copy = Buffer.alloc(recordUnits * 64);
		await log.read(copy, 0);
		await log.write(copy, 2 * recordUnits * 64);
	});
	t.deepEqual(await volume.pages(2), [1, 2]);
	const again = await openVolume(volume.disk, volume.directory);
	t.is(again.statistics().replayedRecords, 2);
	await again.close();
});

test('damage below what was known to be durable is a fault and not the end of the log', async (t) => {
	const volume = await killed(t, 5, { synced: 3 });
	await spoil(volume, recordUnits * 64 + 500);
	await t.throwsAsync(openVolume(volume.disk, volume.directory), { name: 'VolumeFault', message: /damaged at LSN 66: .*up to LSN 198/ });
	const findings = await checkVolume(volume.disk, volume.directory);
	t.true(findings.some(({ message }) => message.includes('damaged at LSN')));
});

test('damage above what was known to be durable ends the log there', async (t) => {
	const volume = await killed(t, 5, { synced: 3 });
	await spoil(volume, 4 * recordUnits * 64 + 500);
	t.deepEqual(await volume.pages(5), [1, 2, 3, 4, 0]);
});

test('a record of an unknown type, and one beyond the end of the volume, are faults', async (t) => {
	const unknown = await killed(t, 1);
	await unknown.put(recordUnits, { page: 1, fill: 1, type: 99 });
	await t.throwsAsync(openVolume(unknown.disk, unknown.directory), { name: 'VolumeFault', message: /type 99/ });
	const beyond = await killed(t, 1);
	await beyond.put(recordUnits, { page: (16 * mib) / page, fill: 1 });
	await t.throwsAsync(openVolume(beyond.disk, beyond.directory), { name: 'VolumeFault', message: /page 4096 of 4096/ });
});

test('one misread of the log does not end it', async (t) => {
	const disk = new SimulatedDisk({ seed: 2, wouldBlockChance: 0, shortChance: 0 });
	await disk.makeDirectory('/data');
	await makeVolume(disk, '/data/volume');
	const volume = await openVolume(disk, '/data/volume');
	for (let at = 0; at < 4; at++) await write(volume, at * page, filled(page, at + 1));
	volume.abandon();
	let reads = 0;
	disk.faultRule = ({ kind, path }) =>
		kind === 'read' && path.endsWith('.wal') && reads++ === 0
			? { kind: 'flippedBit', byteIndex: 2 * recordUnits * 64 + 300, bit: 1 }
			: undefined;
	const again = await openVolume(disk, '/data/volume');
	t.is(again.statistics().replayedRecords, 4);
	await again.close();
});

test('what replay took that was not known to be durable is written again, so that the next datasync means it', async (t) => {
	const volume = await killed(t, 4, { synced: 2 });
	volume.disk.forget();
	t.deepEqual(await volume.pages(4), [1, 2, 3, 4]);
	const written = volume.disk.of('write', segmentName(0));
	const from = Math.min(...written.map(({ positionBytes }) => positionBytes));
	const to = Math.max(...written.map(({ positionBytes, lengthBytes }) => positionBytes + lengthBytes));
	t.true(from <= 2 * recordUnits * 64 && to >= 4 * recordUnits * 64, `${from} to ${to}`);
});

test('a log that cannot be read is a fault', async (t) => {
	const volume = await killed(t, 4);
	volume.disk.fail((call) => call.kind === 'read' && call.path.endsWith('.wal'), 'EIO');
	await t.throwsAsync(openVolume(volume.disk, volume.directory), { name: 'VolumeFault', message: /cannot be read/ });
});

test('a segment of the log that is missing ends it; what was durable behind it is a fault', async (t) => {
	const served = await serveVolume(t, { segmentBytes: 64 * kib });
	for (let at = 0; at < 40; at++) await write(served.volume, at * page, filled(page, at + 1));
	await flush(served.volume);
	await write(served.volume, 0, filled(page, 99));
	served.volume.abandon();
	await served.disk.remove(`${served.directory}/wal/${segmentName(1024)}`);
	await t.throwsAsync(openVolume(served.disk, served.directory), { name: 'VolumeFault', message: /damaged at LSN/ });
});

test('zeros and writes are replayed in the order of the log', async (t) => {
	const { volume, reopen } = await serveVolume(t);
	await write(volume, 0, filled(4 * page, 1));
	await zero(volume, 0, 2 * page);
	await write(volume, page, filled(page, 2));
	await zero(volume, 3 * page, page);
	const again = await reopen('killed');
	const seen = await read(again, 0, 4 * page);
	t.deepEqual(
		[0, 1, 2, 3].map((at) => seen.readUInt8(at * page)),
		[0, 2, 1, 0],
	);
	await again.close();
});

test('a direct record whose data never reached the layer was never written, and what follows it neither', async (t) => {
	const { disk, directory, volume } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	await write(volume, 8 * mib, filled(page, 1));
	await write(volume, 0, filled(64 * kib, 2));
	await write(volume, 9 * mib, filled(page, 3));
	volume.abandon();
	const file = await disk.open(`${directory}/layers/1.data`, 'existing');
	await file.write(Buffer.alloc(512), 7 * page);
	await file.close();
	const again = await openVolume(disk, directory);
	t.is((await read(again, 8 * mib, page)).readUInt8(0), 1);
	t.true((await read(again, 0, 64 * kib)).equals(Buffer.alloc(64 * kib)), 'all of it or none');
	t.is((await read(again, 9 * mib, page)).readUInt8(0), 0);
	await again.close();
	t.deepEqual(await checkVolume(disk, directory), []);
});

test('a direct record that was durable keeps its checksums: damage is a medium error, not zeros', async (t) => {
	const { disk, directory, volume } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	await write(volume, 0, filled(64 * kib, 2));
	await flush(volume);
	await write(volume, mib, filled(page, 3));
	volume.abandon();
	const file = await disk.open(`${directory}/layers/1.data`, 'existing');
	await file.write(Buffer.alloc(512), 7 * page);
	await file.close();
	const again = await openVolume(disk, directory);
	t.is((await read(again, 0, 7 * page)).readUInt8(0), 2);
	await t.throwsAsync(read(again, 7 * page, page), { message: /mediumError/ });
	t.is((await read(again, mib, page)).readUInt8(0), 3);
	again.abandon();
});

test('a direct page that the flusher had overwritten with a later record says nothing against its own record', async (t) => {
	const { disk, directory, volume } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	await write(volume, 0, filled(64 * kib, 2));
	await write(volume, 3 * page, filled(page, 9));
	volume.abandon();
	const file = await disk.open(`${directory}/layers/1.data`, 'existing');
	await file.write(filled(page, 9), 3 * page);
	await file.close();
	const again = await openVolume(disk, directory);
	t.is((await read(again, 0, page)).readUInt8(0), 2);
	t.is((await read(again, 3 * page, page)).readUInt8(0), 9);
	await again.close();
});

test('after kill -9 the first flush makes direct data durable, before it is acknowledged', async (t) => {
	const { disk, volume, reopen } = await serveVolume(t, {}, { directBytesMin: 64 * kib });
	await write(volume, 0, filled(64 * kib, 2));
	const again = await reopen('killed');
	disk.forget();
	t.is(await flush(again), 'good');
	const syncs = disk.calls.filter((call) => call.kind === 'datasync');
	t.true(syncs.findIndex(isData) >= 0 && syncs.findIndex(isData) < syncs.findIndex((call) => call.path.endsWith('.wal')));
	await again.close();
});

test('an opening tells how far the log is replayed, ascending, to its end', async (t) => {
	const served = await serveInMemory({ segmentBytes: 8 * mib });
	for (let at = 0; at < 40; at++) await write(served.volume, at * 60 * 1024, filled(60 * 1024, at + 1));
	served.volume.abandon();
	const shares: number[] = [];
	const volume = await Volume.open(served.disk, served.directory, { log: silent, replaying: (share) => shares.push(share) });
	t.true(shares.length > 1);
	t.deepEqual(
		shares,
		shares.toSorted((a, b) => a - b),
	);
	t.true((shares[0] ?? 1) < 0.5);
	t.is(shares.at(-1), 1);
	await volume.close();
});
