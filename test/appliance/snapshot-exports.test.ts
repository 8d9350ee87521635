import test, { type ExecutionContext } from 'ava';
import { Appliance, realParts } from '../../src/appliance.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { Association, defaultHostNQN } from '../nvme-host/association.ts';
import * as commands from '../nvme-host/commands.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const subsystem = 'nqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const blockBytes = 512;

/** The appliance with its own engine and listeners. */
async function start(t: ExecutionContext, dataDirectory: string, parts = realParts()) {
	const one = new Appliance(
		{
			dataDirectory,
			version: '1',
			log: silent,
			iscsi: anywhere,
			nvme: anywhere,
			nvmeDiscovery: 'none',
			admin: anywhere,
			drainMs: 200,
		},
		parts,
	);
	t.teardown(() => one.stop());
	await one.start();
	const disks = async (...luns: number[]) => {
		const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target });
		t.teardown(() => session.destroy());
		const found = luns.map((lun) => new InitiatorDisk(session, lun));
		for (const disk of found) await attentions(disk);
		return found;
	};
	const host = async () => {
		const association = await Association.open({ port: one.nvme?.port ?? 0, subnqn: subsystem, katoMs: 120_000 });
		t.teardown(() => association.destroy());
		return association;
	};
	return { one, operations: one.operations, snapshots: one.protection.snapshots, disks, host };
}

/** One volume as LUN 0 and as namespace 1. */
async function exported(t: ExecutionContext, path: string, parts = realParts()) {
	const running = await start(t, path, parts);
	const { operations } = running;
	await operations.createVolume({ name: 'data', sizeBytes: 2 ** 26, blockSize: 512 });
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await operations.map(target, { volume: 'data' });
	await operations.allow(target, defaultInitiatorName, {});
	await operations.createSubsystem({ name: subsystem });
	await operations.mapNamespace(subsystem, { volume: 'data' });
	await operations.allowHost(subsystem, defaultHostNQN, {});
	return running;
}

/** Unit attentions that wait, as codes with qualifiers. */
async function attentions(disk: InitiatorDisk): Promise<number[]> {
	const found: number[] = [];
	for (;;) {
		const { status, sense } = await disk.execute((cdb) => void cdb.fill(0));
		if (status === 0) return found;
		const { key, code, qualifier } = senseCodes(sense);
		if (key !== 6) throw new Error(`status ${status}, sense key ${key}`);
		found.push(code * 256 + qualifier);
	}
}

function put(cdb: Uint8Array, bytes: readonly number[]): void {
	cdb.fill(0);
	cdb.set(bytes);
}

const write = (disk: InitiatorDisk, lba: number, byte: number) =>
	disk.execute((cdb) => put(cdb, [0x2a, 0, 0, 0, 0, lba, 0, 0, 8, 0]), { dataOut: Buffer.alloc(8 * blockBytes, byte) });

const read = async (disk: InitiatorDisk, lba: number) =>
	(await disk.execute((cdb) => put(cdb, [0x28, 0, 0, 0, 0, lba, 0, 0, 8, 0]), { dataInBytes: 8 * blockBytes })).data;

test.serial(
	'a mounted snapshot over both protocols: what it was, read-only, with an identity of its own, and the same after a restart',
	async (t) => {
		const path = await temporaryDirectory(t);
		const first = await exported(t, path);
		const [live] = await first.disks(0);
		t.is((await write(live!, 0, 1)).status, 0);
		await first.snapshots.make({ volumes: ['data'], name: 'before' });
		t.is((await write(live!, 0, 2)).status, 0);
		t.is((await write(live!, 8, 3)).status, 0);
		await first.snapshots.mount('data', 'before', { target, lun: 7, subsystem, nsid: 4 });

		const look = async ({ disks, host }: typeof first): Promise<string> => {
			const [volume, snapshot] = await disks(0, 7);
			t.true((await read(volume!, 0)).equals(Buffer.alloc(8 * blockBytes, 2)));
			t.true((await read(snapshot!, 0)).equals(Buffer.alloc(8 * blockBytes, 1)));
			t.true((await read(snapshot!, 8)).equals(Buffer.alloc(8 * blockBytes, 0)));
			const refused = await write(snapshot!, 0, 9);
			t.deepEqual([refused.status, senseCodes(refused.sense)], [2, { key: 7, code: 0x27, qualifier: 0 }], 'DATA PROTECT, WRITE PROTECTED');
			const mode = await snapshot!.execute((cdb) => put(cdb, [0x1a, 0, 0x3f, 0, 255, 0]), { dataInBytes: 255 });
			t.is(mode.data[2]! & 0x80, 0x80, 'WP in the mode parameter header');
			const association = await host();
			const namespace = await Namespace.attach(association, 4);
			t.deepEqual(await namespace.read(0, 8), Buffer.alloc(8 * blockBytes, 1));
			const { status } = await namespace.execute((sqe) => commands.range(sqe, commands.ioOpcode.write, 4, 0, 1), {
				dataOut: Buffer.alloc(blockBytes, 9),
			});
			t.is(status & 0x7ff, 0x020, 'Namespace is Write Protected');
			const nguids = [await Namespace.attach(association, 1), namespace].map(({ identity }) => identity.subarray(104, 120).toString('hex'));
			t.not(nguids[0], nguids[1]);
			association.destroy();
			const serial = async (disk: InitiatorDisk) =>
				(await disk.execute((cdb) => put(cdb, [0x12, 1, 0x80, 0, 255, 0]), { dataInBytes: 255 })).data.toString('latin1');
			t.not(await serial(volume!), await serial(snapshot!));
			return `${await serial(snapshot!)} ${nguids[1]}`;
		};
		const identity = await look(first);
		await first.one.stop();
		const again = await start(t, path);
		t.is(await look(again), identity);
		await again.snapshots.unmount('data', 'before');
		const [, gone] = await again.disks(0).then(async ([disk]) => [disk, new InitiatorDisk(disk!.session, 7)] as const);
		const refused = await gone.execute((cdb) => put(cdb, [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0]), { dataInBytes: 8 * blockBytes });
		t.deepEqual(senseCodes(refused.sense), { key: 5, code: 0x25, qualifier: 0 });
	},
);

test.serial('mounting and unmounting are told: REPORTED LUNS DATA HAS CHANGED, and a namespace attribute notice', async (t) => {
	const { snapshots, disks, host } = await exported(t, await temporaryDirectory(t));
	const [live] = await disks(0);
	const association = await host();
	await association.setFeature(0x0b, 0x100);
	association.watchEvents(1);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	for (const change of [() => snapshots.mount('data', 'one', { target, subsystem }), () => snapshots.unmount('data', 'one')]) {
		await change();
		t.true((await attentions(live!)).includes(0x3f0e));
		t.deepEqual(await association.nextEvent(), { type: 2, information: 0, lid: 4 });
		t.is((await association.logPage(0x04, 4096)).readUInt32LE(0), 2);
	}
});

test.serial(
	'a restore while a session and a host use the volume: both are told, and see the old data at the old size; what was there is kept',
	async (t) => {
		const { operations, snapshots, disks, host } = await exported(t, await temporaryDirectory(t));
		const [live] = await disks(0);
		t.is((await write(live!, 0, 1)).status, 0);
		await snapshots.make({ volumes: ['data'], name: 'one' });
		await snapshots.mount('data', 'one', { target, lun: 7 });
		await attentions(live!);
		t.is((await write(live!, 0, 2)).status, 0);
		await operations.resizeVolume('data', 2 ** 27);
		await attentions(live!);
		const association = await host();
		await association.setFeature(0x0b, 0x100);
		association.watchEvents(1);
		t.like(await snapshots.restore('data', 'one', { keepLiveAs: 'two' }), { sizeBytes: 2 ** 26, told: { sessions: 1, controllers: 1 } });
		t.deepEqual(await attentions(live!), [0x2a09]);
		t.deepEqual(await association.nextEvent(), { type: 2, information: 0, lid: 4 });
		t.is((await association.logPage(0x04, 4096)).readUInt32LE(0), 1);
		const capacity = await live!.execute((cdb) => put(cdb, [0x25]), { dataInBytes: 8 });
		t.is(capacity.data.readUInt32BE(0), 2 ** 26 / blockBytes - 1);
		t.is((await Namespace.attach(association, 1)).sizeBytes, 2 ** 26);
		t.true((await read(live!, 0)).equals(Buffer.alloc(8 * blockBytes, 1)));
		const mounted = new InitiatorDisk(live!.session, 7);
		await attentions(mounted);
		t.true((await read(mounted, 0)).equals(Buffer.alloc(8 * blockBytes, 1)), 'what is mounted stays what it is');
		await snapshots.mount('data', 'two', { target, lun: 8 });
		const kept = new InitiatorDisk(live!.session, 8);
		await attentions(kept);
		t.true((await read(kept, 0)).equals(Buffer.alloc(8 * blockBytes, 2)));

		await snapshots.restore('data', 'one', {});
		t.true((await attentions(live!)).includes(0x2a09), 'also when the size is what it was');
	},
);

test.serial(
	'a clone on the real engine: it holds what the snapshot does, goes its own way, and outlives snapshot, flatten and restart',
	async (t) => {
		const path = await temporaryDirectory(t);
		const first = await exported(t, path);
		const { operations, snapshots } = first;
		const [live] = await first.disks(0);
		t.is((await write(live!, 0, 1)).status, 0);
		await snapshots.make({ volumes: ['data'], name: 'one' });
		t.is((await write(live!, 0, 2)).status, 0);
		const made = await snapshots.clone('data', 'one', 'copy');
		t.like(made, { name: 'copy', sizeBytes: 2 ** 26, state: 'online' });
		t.not(made.uuid, (await operations.volume('data')).uuid);
		await operations.map(target, { volume: 'copy', lun: 5 });
		const copy = new InitiatorDisk(live!.session, 5);
		await attentions(copy);
		t.true((await read(copy, 0)).equals(Buffer.alloc(8 * blockBytes, 1)));
		t.is((await write(copy, 0, 3)).status, 0);
		await attentions(live!);
		t.true((await read(live!, 0)).equals(Buffer.alloc(8 * blockBytes, 2)), 'neither sees the other');
		await snapshots.remove('data', 'one');
		await snapshots.flatten('copy');
		await first.one.stop();
		const again = await start(t, path);
		const [volume, clone] = await again.disks(0, 5);
		t.true((await read(volume!, 0)).equals(Buffer.alloc(8 * blockBytes, 2)));
		t.true((await read(clone!, 0)).equals(Buffer.alloc(8 * blockBytes, 3)));
		await again.operations.unmap(target, 0);
		await again.operations.unmapNamespace(subsystem, 1);
		await again.operations.deleteVolume('data');
		await attentions(clone!);
		t.true((await read(clone!, 0)).equals(Buffer.alloc(8 * blockBytes, 3)));
	},
);

test.serial('several volumes in one moment, by hand and by a schedule; what changed since, and what is held', async (t) => {
	const { one, operations, snapshots, disks } = await exported(t, await temporaryDirectory(t));
	await operations.createVolume({ name: 'log', sizeBytes: 2 ** 26, blockSize: 512 });
	await operations.map(target, { volume: 'log', lun: 1 });
	const [data, log] = await disks(0, 1);
	for (const disk of [data!, log!]) t.is((await write(disk, 0, 1)).status, 0);
	t.is((await snapshots.make({ volumes: ['log', 'data'], name: 'both' })).length, 2);
	for (const disk of [data!, log!]) t.is((await write(disk, 16, 2)).status, 0);
	const { fromLSN, ...changed } = await snapshots.changes('data', 'both', undefined, 10);
	t.true(fromLSN > 0);
	t.deepEqual(changed, {
		from: 'both',
		changedBytes: 4096,
		truncated: false,
		ranges: [{ offsetBytes: 16 * blockBytes, lengthBytes: 4096 }],
	});
	await one.protection.schedules.create({ name: 'both', volumes: ['data', 'log'], cron: '@daily', zone: 'UTC', keep: { last: 1 } });
	const { name } = await one.protection.schedules.run('both');
	t.is((await snapshots.changes('log', 'both', name, 10)).changedBytes, 4096);
	t.is((await snapshots.changes('log', name, undefined, 10)).changedBytes, 0);
	t.like(await snapshots.space('log'), { referencedBytes: 8192, exclusiveBytes: 0, totalBytes: 8192 });
	const again = await one.protection.schedules.run('both');
	t.deepEqual(again.deleted, [
		{ volume: 'data', name },
		{ volume: 'log', name },
	]);
});

test.serial('a schedule on a real volume: one that no rule keeps is gone, the others read as they did', async (t) => {
	const { one, snapshots, disks } = await exported(t, await temporaryDirectory(t));
	const [live] = await disks(0);
	const { schedules } = one.protection;
	await schedules.create({ name: 'often', volumes: ['data'], cron: '@yearly', zone: 'UTC', keep: { last: 2 } });
	const made: string[] = [];
	for (let byte = 1; byte <= 4; byte++) {
		t.is((await write(live!, 0, byte)).status, 0);
		made.push((await schedules.run('often')).name);
	}
	t.deepEqual(
		snapshots.views('data').map(({ name }) => name),
		made.slice(2),
	);
	await snapshots.mount('data', made[2]!, { target, lun: 7 });
	const third = new InitiatorDisk(live!.session, 7);
	await attentions(third);
	t.true((await read(third, 0)).equals(Buffer.alloc(8 * blockBytes, 3)));
});
