import { request } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { Appliance } from '../../src/appliance.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { VolumeFault, VolumeFullError, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { silent } from '../../src/os/logger.ts';
import { limits as policyLimits } from '../../src/schedule/limits.ts';
import { temporaryDirectory } from '../temporary.ts';
import { SnappingEngine } from './snapshot-stand-in.ts';
import { standIns } from './stand-in.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const subsystem = 'nqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };

async function start(t: ExecutionContext, dataDirectory: string, engine = new SnappingEngine()) {
	const made = standIns();
	const one = new Appliance(
		{
			dataDirectory,
			version: '1',
			log: silent,
			iscsi: anywhere,
			nvme: anywhere,
			nvmeDiscovery: anywhere,
			admin: anywhere,
			drainMs: 1,
		},
		{ ...made.parts, engine },
	);
	t.teardown(() => one.stop());
	await one.start();
	const volume = async (name: string) => {
		const found = engine.volumes.get((await one.operations.volume(name)).uuid);
		if (found === undefined) throw new Error(`no volume ${name}`);
		return found;
	};
	const { snapshots, schedules, events } = one.protection;
	return { one, engine, made, operations: one.operations, snapshots, schedules, events, volume };
}

async function fresh(t: ExecutionContext) {
	const path = await temporaryDirectory(t);
	const running = await start(t, path);
	for (const name of ['data', 'log']) await running.operations.createVolume({ name, sizeBytes: 2 ** 20, blockSize: 512 });
	await running.operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await running.operations.createSubsystem({ name: subsystem });
	return { path, ...running };
}

async function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown, message: RegExp = /^[^\n]+\.$/): Promise<void> {
	const error = await t.throwsAsync(async () => action(), { instanceOf: UsageError });
	t.is(error?.code, code, error?.message);
	t.regex(error?.message ?? '', message);
}

test('make, list, show and delete; what is made is an event', async (t) => {
	const { snapshots, events } = await fresh(t);
	const [one] = await snapshots.make({ volumes: ['data'], name: 'One' });
	t.deepEqual(one, { volume: 'data', name: 'One', id: 11, at: '2026-11-21T00:00:00.001Z', sizeBytes: 2 ** 20, mounts: [] });
	await snapshots.make({ volumes: ['data'], name: 'two' });
	t.is(snapshots.view('data', 'two').parent, 'One');
	await snapshots.make({ volumes: ['log'], name: 'One' });
	t.deepEqual(
		snapshots.views().map(({ volume, name }) => `${volume}@${name}`),
		['data@One', 'data@two', 'log@One'],
	);
	await snapshots.remove('data', 'One');
	t.deepEqual(
		snapshots.views('data').map(({ name }) => name),
		['two'],
	);
	t.deepEqual(
		events.after(0, 100).map(({ kind, volume, snapshot }) => `${kind} ${volume}@${snapshot}`),
		['snapshot-made data@One', 'snapshot-made data@two', 'snapshot-made log@One', 'snapshot-deleted data@One'],
	);
});

test('what is asked wrongly is refused with its kind, and nothing is made', async (t) => {
	const { snapshots, volume } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	for (const name of ['', '.a', 'a b', 'a@b', 'a/b', 'a'.repeat(policyLimits.snapshotNameLength + 1)]) {
		await refuses(t, 'invalid', () => snapshots.make({ volumes: ['data'], name }), /no name of a snapshot/);
	}
	await refuses(t, 'alreadyExists', () => snapshots.make({ volumes: ['data'], name: 'one' }));
	await refuses(t, 'alreadyExists', () => snapshots.make({ volumes: ['log', 'data'], name: 'one' }));
	await refuses(t, 'invalid', () => snapshots.make({ volumes: ['log', 'log'], name: 'two' }));
	await refuses(t, 'notFound', () => snapshots.make({ volumes: ['log', 'none'], name: 'two' }));
	await refuses(t, 'notFound', () => snapshots.view('data', 'two'));
	await refuses(t, 'notFound', () => snapshots.views('none'));
	await refuses(t, 'notFound', () => snapshots.remove('data', 'two'));
	await refuses(t, 'notFound', () => snapshots.restore('data', 'two', {}));
	await refuses(t, 'notFound', () => snapshots.clone('data', 'two', 'new'));
	await refuses(t, 'notFound', () => snapshots.changes('data', 'two', undefined, 1));
	await refuses(t, 'notFound', () => snapshots.changes('data', 'one', 'two', 1));
	await refuses(t, 'notFound', () => snapshots.mount('data', 'two', { target }));
	await refuses(t, 'alreadyExists', () => snapshots.restore('data', 'one', { keepLiveAs: 'one' }));
	await refuses(t, 'invalid', () => snapshots.restore('data', 'one', { keepLiveAs: 'a b' }));
	t.deepEqual(snapshots.views('log'), []);
	t.deepEqual((await volume('data')).calls, []);
});

test('what the engine refuses is told in its words, with the kind of fault', async (t) => {
	const { snapshots, volume } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const data = await volume('data');
	const cases: [Error, UsageErrorCode][] = [
		[new VolumeUsageError('the volume has too many snapshots: delete one'), 'inUse'],
		[new VolumeFullError('The file system is full: free some space.'), 'noSpace'],
		[new VolumeFault('the log failed'), 'unavailable'],
		[Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }), 'noSpace'],
		[Object.assign(new Error('EIO'), { code: 'EIO' }), 'unavailable'],
	];
	for (const [error, code] of cases) {
		data.before = () => {
			throw error;
		};
		await refuses(t, code, () => snapshots.make({ volumes: ['data'], name: 'two' }), /^[A-Z][^.]*\.$/);
		await refuses(t, code, () => snapshots.remove('data', 'one'), /^[A-Z][^.]*\.$/);
		await refuses(t, code, () => snapshots.restore('data', 'one', {}));
		await refuses(t, code, () => snapshots.mount('data', 'one', { target }));
		await refuses(t, code, () => snapshots.changes('data', 'one', undefined, 1));
	}
	data.fault = 'the disk fails';
	await refuses(t, 'unavailable', () => snapshots.make({ volumes: ['data'], name: 'two' }), /^Volume data is faulted: the disk fails\.$/);
	t.deepEqual(snapshots.views(), [], 'a volume that is faulted keeps the others from nothing');
	const broken = new Error('ours');
	data.fault = undefined;
	data.before = () => {
		throw broken;
	};
	t.is(await t.throwsAsync(() => snapshots.make({ volumes: ['data'], name: 'two' })), broken);
});

test('several volumes: one snapshot of each under one name', async (t) => {
	const { snapshots } = await fresh(t);
	const made = await snapshots.make({ volumes: ['log', 'data'], name: 'both' });
	t.deepEqual(
		made.map(({ volume, name }) => `${volume}@${name}`),
		['log@both', 'data@both'],
	);
});

test('restore: the size is the volume’s again, what was there is kept if it is given a name, and initiators look again', async (t) => {
	const { snapshots, operations, volume, made, events } = await fresh(t);
	await operations.map(target, { volume: 'data' });
	await snapshots.make({ volumes: ['data'], name: 'small' });
	await operations.resizeVolume('data', 2 ** 21);
	const data = await volume('data');
	data.restoredBytes = 2 ** 20;
	const unit = made.portal?.registry.find(target)?.units.get(0);
	let told = 0;
	t.teardown(unit?.device.onResize(() => told++) ?? (() => undefined));
	const view = await snapshots.restore('data', 'small', { keepLiveAs: 'large' });
	t.is(view.sizeBytes, 2 ** 20);
	t.is(told, 1);
	t.deepEqual(
		snapshots.views('data').map(({ name }) => name),
		['small', 'large'],
	);
	t.like(events.after(0, 100).at(-1), {
		severity: 'warning',
		kind: 'volume-restored',
		message: 'Volume data is what snapshot small holds. What it was is data@large.',
	});
	// The configuration has the smaller size too, so it may grow from there.
	t.is((await operations.resizeVolume('data', 2 ** 20 + 4096)).sizeBytes, 2 ** 20 + 4096);
	await snapshots.restore('data', 'large', {});
	t.is(told, 3, 'also when the size is what it was');
});

test('clone: a volume like any other, which a failure leaves no trace of', async (t) => {
	const { snapshots, operations, engine } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	await operations.resizeVolume('data', 2 ** 21);
	t.like(await snapshots.clone('data', 'one', 'copy'), { name: 'copy', sizeBytes: 2 ** 20, blockSize: 512, state: 'online' });
	t.deepEqual(engine.clones, ['one']);
	await refuses(t, 'alreadyExists', () => snapshots.clone('data', 'one', 'copy'));
	await refuses(t, 'invalid', () => snapshots.clone('data', 'one', 'Bad Name'));
	engine.before = (step) => {
		if (step === 'created') throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
	};
	await refuses(t, 'noSpace', () => snapshots.clone('data', 'one', 'full'));
	t.deepEqual(
		(await operations.volumes()).map(({ name }) => name),
		['copy', 'data', 'log'],
	);
});

test('space: of the volume, of each snapshot, of all', async (t) => {
	const { snapshots, volume } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	t.deepEqual(await snapshots.space('data'), {
		volume: 'data',
		referencedBytes: 12_288,
		exclusiveBytes: 4096,
		totalBytes: 16_384,
		snapshots: [{ name: 'one', referencedBytes: 8192, exclusiveBytes: 4096 }],
	});
	(await volume('data')).before = () => {
		throw new VolumeFault('the disk fails.');
	};
	await refuses(t, 'unavailable', () => snapshots.space('data'));
	await refuses(t, 'notFound', () => snapshots.space('none'));
});

test('flatten, and how far a merge is', async (t) => {
	const { snapshots, volume } = await fresh(t);
	t.deepEqual(await snapshots.flatten('data'), { isMerging: false });
	const data = await volume('data');
	t.deepEqual(data.calls, ['flatten']);
	data.merge = { done: 0.25 };
	t.deepEqual(await snapshots.merge('data'), { isMerging: true, done: 0.25 });
	data.before = () => {
		throw new VolumeFault('the disk fails.');
	};
	await refuses(t, 'unavailable', () => snapshots.flatten('data'));
	await refuses(t, 'notFound', () => snapshots.flatten('none'));
	await refuses(t, 'notFound', () => snapshots.merge('none'));
});

test('changes: ranges up to the limit, all bytes counted', async (t) => {
	const { snapshots, volume } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	(await volume('data')).ranges.push({ firstPage: 0, pages: 1 }, { firstPage: 2, pages: 2 });
	t.deepEqual(await snapshots.changes('data', 'one', undefined, 2), {
		from: 'one',
		fromLSN: 1,
		changedBytes: 12_288,
		truncated: false,
		ranges: [
			{ offsetBytes: 0, lengthBytes: 4096 },
			{ offsetBytes: 8192, lengthBytes: 8192 },
		],
	});
	t.like(await snapshots.changes('data', 'one', 'one', 1), { to: 'one', toLSN: 1, changedBytes: 12_288, truncated: true });
});

test('mount: a LUN and a namespace that are read-only and not the volume; unmount: they are gone and it is closed', async (t) => {
	const { snapshots, operations, made, volume } = await fresh(t);
	await operations.map(target, { volume: 'data' });
	await operations.mapNamespace(subsystem, { volume: 'data' });
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const mounted = await snapshots.mount('data', 'one', { target, subsystem, nsid: 9 });
	t.deepEqual(mounted.mounts, [
		{ target, lun: 1 },
		{ subsystem, nsid: 9 },
	]);
	t.deepEqual(operations.target(target).snapshots, [{ lun: 1, volume: 'data', snapshot: 'one' }]);
	t.deepEqual(operations.subsystem(subsystem).snapshots, [{ nsid: 9, volume: 'data', snapshot: 'one' }]);
	const device = made.portal?.registry.find(target);
	const unit = device?.units.get(1);
	const namespace = made.nvme?.registry.find(subsystem)?.namespaces.get(9);
	t.true(unit?.readOnly);
	t.true(namespace?.readOnly);
	t.not(unit?.device.uuid, device?.units.get(0)?.device.uuid);
	t.is(namespace?.device.uuid, unit?.device.uuid);
	const data = await volume('data');
	t.is(data.views.length, 1, 'opened once');
	await refuses(t, 'inUse', () => snapshots.remove('data', 'one'), /mounted/);
	await refuses(t, 'inUse', () => operations.deleteTarget(target), /unmount it first/);
	await refuses(t, 'inUse', () => operations.deleteSubsystem(subsystem), /unmount it first/);
	await refuses(t, 'alreadyExists', () => operations.map(target, { volume: 'log', lun: 1 }), /snapshot data@one/);
	await refuses(t, 'alreadyExists', () => operations.mapNamespace(subsystem, { volume: 'log', nsid: 9 }), /snapshot data@one/);
	t.is((await operations.map(target, { volume: 'log' })).lun, 2, 'the lowest that nobody has');

	await snapshots.unmount('data', 'one');
	t.is(device?.units.get(1), undefined);
	t.is(made.nvme?.registry.find(subsystem)?.namespaces.get(9), undefined);
	t.true(data.views[0]?.closed);
	t.deepEqual(snapshots.view('data', 'one').mounts, []);
	await refuses(t, 'notFound', () => snapshots.unmount('data', 'one'), /not mounted/);
	await snapshots.remove('data', 'one');
});

test('mount again: the same place is no error, another place is added, another number of the same place is refused', async (t) => {
	const { snapshots, volume, operations } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	await snapshots.mount('data', 'one', { target, lun: 5 });
	await snapshots.mount('data', 'one', { target });
	await refuses(t, 'alreadyExists', () => snapshots.mount('data', 'one', { target, lun: 6 }), /LUN 5 .* already/);
	t.is((await snapshots.mount('data', 'one', { subsystem })).mounts.length, 2);
	t.is((await volume('data')).views.length, 1);
	await refuses(t, 'inUse', () => operations.deleteVolume('data'), /is in use: unmount snapshot data@one first\.$/);
});

test('mount: where it cannot be is refused, and nothing stays open', async (t) => {
	const { snapshots, volume, operations } = await fresh(t);
	await operations.map(target, { volume: 'data', lun: 0 });
	await snapshots.make({ volumes: ['data'], name: 'one' });
	const cases: [UsageErrorCode, object][] = [
		['invalid', {}],
		['invalid', { lun: 1 }],
		['invalid', { nsid: 1 }],
		['invalid', { target, lun: 256 }],
		['invalid', { subsystem, nsid: 0 }],
		['notFound', { target: `${target}x` }],
		['notFound', { subsystem: `${subsystem}x` }],
		['alreadyExists', { target, lun: 0 }],
		['alreadyExists', { subsystem, nsid: 1, target, lun: 0 }],
	];
	for (const [code, wish] of cases) await refuses(t, code, () => snapshots.mount('data', 'one', wish));
	t.deepEqual(snapshots.view('data', 'one').mounts, [], 'all places or none');
	t.true((await volume('data')).views.every(({ closed }) => closed));
});

test('metrics: schedules that fail, snapshots, events and scrubs', async (t) => {
	const { one, snapshots, schedules } = await fresh(t);
	await snapshots.make({ volumes: ['data'], name: 'one' });
	await snapshots.make({ volumes: ['data'], name: 'two' });
	await schedules.create({ name: 'daily', volumes: ['log'], cron: '@daily', zone: 'UTC', keep: { last: 1 } });
	await one.protection.scrubs.setTimes('log', { cron: '@weekly', zone: 'UTC' });
	const text = await new Promise<string>((resolve, reject) => {
		request({ socketPath: one.socket, path: '/metrics', agent: false }, (response) => {
			let body = '';
			response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
			response.on('end', () => resolve(body));
		})
			.on('error', reject)
			.end();
	});
	t.regex(text, /^# TYPE blockport_events_total counter$/m);
	t.regex(text, /^blockport_events_total\{severity="info"\} 2$/m);
	t.regex(text, /^blockport_schedule_failing\{schedule="daily"\} 0$/m);
	t.regex(text, /^blockport_volume_snapshots\{volume="data"\} 2$/m);
	t.regex(text, /^blockport_scrub_unfinished\{volume="log"\} 0$/m);
});

test('a restart: mounted snapshots have their places from the beginning, and those that are gone are faulted', async (t) => {
	const { path, one, engine, snapshots, operations, volume } = await fresh(t);
	for (const name of ['one', 'two', 'three']) {
		await snapshots.make({ volumes: ['data'], name });
		await snapshots.mount('data', name, { target, subsystem });
	}
	const uuid = (await volume('data')).views[0]?.uuid;
	// Behind the appliance's back: one is gone, one is another.
	await (await volume('data')).deleteSnapshot('two');
	await (await volume('data')).deleteSnapshot('three');
	await (await volume('data')).createSnapshot('three');
	const views = (await volume('data')).views;
	await one.stop();
	t.true(views.every(({ closed }) => closed));
	void operations;

	const again = await start(t, path, engine);
	const device = again.made.portal?.registry.find(target);
	t.is(device?.units.size, 3);
	t.is(device?.units.get(0)?.device.uuid, uuid);
	t.is(device?.units.get(0)?.device.fault, undefined);
	t.regex(device?.units.get(1)?.device.fault ?? '', /data@two is gone/);
	t.regex(device?.units.get(2)?.device.fault ?? '', /data@three is gone/);
	t.deepEqual(again.snapshots.view('data', 'three').mounts, [], 'this one is not what was mounted');
	await refuses(t, 'inUse', () => again.snapshots.mount('data', 'three', { target }), /earlier snapshot/);
	await again.snapshots.unmount('data', 'two');
	await again.snapshots.unmount('data', 'three');
	t.is((await again.snapshots.mount('data', 'three', { target })).mounts.length, 1);
});

test('a restart with a volume that is faulted: what is mounted of it is faulted, the rest is served', async (t) => {
	const { path, one, engine, snapshots } = await fresh(t);
	for (const volume of ['data', 'log']) {
		await snapshots.make({ volumes: [volume], name: 'one' });
		await snapshots.mount(volume, 'one', { target });
	}
	const { uuid } = await one.operations.volume('data');
	await one.stop();
	engine.before = (step, identity) => {
		if (step === 'open' && identity.uuid === uuid) throw new VolumeFault('Both superblock slots are damaged.');
	};
	const again = await start(t, path, engine);
	const units = again.made.portal?.registry.find(target)?.units;
	t.regex(units?.get(0)?.device.fault ?? '', /data is faulted/);
	t.is(units?.get(1)?.device.fault, undefined);
});

test('a schedule through the appliance: it makes, prunes, spares what is mounted, and keeps its volume from being deleted', async (t) => {
	const { snapshots, schedules, operations } = await fresh(t);
	await schedules.create({
		name: 'often',
		volumes: ['data', 'log'],
		cron: '@yearly',
		zone: 'UTC',
		template: 's{utc:ss}',
		keep: { last: 1 },
	});
	const first = (await schedules.run('often')).name;
	t.is(snapshots.view('log', first).schedule, 'often');
	await snapshots.mount('data', first, { target });
	const second = await schedules.run('often');
	t.deepEqual(second.deleted, [{ volume: 'log', name: first }]);
	t.deepEqual(
		snapshots.views().map(({ volume, name }) => `${volume}@${name}`),
		[`data@${first}`, `data@${second.name}`, `log@${second.name}`],
	);
	await refuses(t, 'inUse', () => operations.deleteVolume('log'), /schedule often/);
	await schedules.delete('often');
	t.is(snapshots.view('log', second.name).schedule, undefined);
	await operations.deleteVolume('log');
});
