import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { EventLog } from '../../src/appliance/event-log.ts';
import { ApplianceSpaceLimits, type SpaceLimitsParts } from '../../src/appliance/space-limits.ts';
import { VolumeSlot } from '../../src/appliance/volume-slot.ts';
import { Configuration } from '../../src/config/configuration.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { temporaryDirectory } from '../temporary.ts';
import { StandInVolume } from './stand-in.ts';

const mib = 2 ** 20;
const uuid = '00000000-0000-4000-8000-000000000001';

/** A volume whose disk space the test says. */
class Sized extends StandInVolume {
	takenBytes = 0;
	quotaBytes: number | undefined = undefined;
	isQuotaReached = false;
	isFull = false;

	allocatedBytes(): Promise<number> {
		return Promise.resolve(this.takenBytes);
	}
}

async function fixture(t: ExecutionContext) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	const row = configuration.addVolume({ name: 'data', uuid, sizeBytes: 100 * mib, blockSize: 512 });
	const slot = new VolumeSlot(row);
	const events = new EventLog(silent);
	const fileSystem = { totalBytes: 1000, freeBytes: 900 };
	const volumes = { slot: () => slot } as unknown as SpaceLimitsParts['volumes'];
	const space = new ApplianceSpaceLimits({
		configuration,
		volumes,
		events,
		directory: path,
		inTurn: (change) => change(),
		clock: { now: () => 0, later: () => () => undefined },
		fileSystem: () => Promise.resolve(fileSystem),
	});
	/** The volume takes so much, and it is looked: the kinds of the events that this makes. */
	const kinds = async (volume: Sized, takenBytes: number): Promise<string[]> => {
		volume.takenBytes = takenBytes;
		// A slot of its own, whose first question is answered before the look.
		slot.end();
		slot.opened(volume);
		await new Promise((resolve) => setImmediate(resolve));
		const before = events.after(0, 1000).length;
		await space.look();
		return events
			.after(0, 1000)
			.slice(before)
			.map(({ kind }) => kind);
	};
	return { configuration, slot, events, space, kinds, fileSystem };
}

test('a threshold is told once, and again after it was left for good; of the quota, or of the size where there is none', async (t) => {
	const { space, slot, kinds } = await fixture(t);
	const volume = new Sized({ uuid, sizeBytes: 100 * mib, blockSize: 512 });
	t.deepEqual(await kinds(volume, 100 * mib), [], 'nobody asked to be told');
	await space.setLimits('data', { thresholdPercent: 80 });
	t.deepEqual(await kinds(volume, 79 * mib), []);
	t.deepEqual(await kinds(volume, 80 * mib), ['volume-space-low']);
	t.true(slot.isLow);
	t.like(space.limits('data'), { usedBytes: 80 * mib, thresholdPercent: 80, isLow: true, isRefusing: false });
	t.deepEqual(await kinds(volume, 81 * mib), []);
	t.deepEqual(await kinds(volume, 79 * mib), [], 'hardly less');
	t.deepEqual(await kinds(volume, 80 * mib), []);
	t.deepEqual(await kinds(volume, 70 * mib), ['volume-space-enough']);
	await space.setLimits('data', { quotaBytes: 50 * mib });
	t.is(volume.quotaBytes, 50 * mib);
	t.deepEqual(await kinds(volume, 30 * mib), []);
	t.deepEqual(await kinds(volume, 40 * mib), ['volume-space-low']);
	await space.setLimits('data', { thresholdPercent: null });
	t.deepEqual(await kinds(volume, 50 * mib), ['volume-space-enough']);
	t.is(space.limits('data').quotaBytes, 50 * mib, 'what is left out stays');
});

test('a volume that refuses writes is an event, by quota or for want of space, and its end is one', async (t) => {
	const { events, kinds } = await fixture(t);
	const volume = new Sized({ uuid, sizeBytes: 100 * mib, blockSize: 512 });
	t.deepEqual(await kinds(volume, 0), []);
	volume.isQuotaReached = true;
	t.deepEqual(await kinds(volume, 0), ['volume-full']);
	t.regex(events.after(0, 10).at(-1)?.message ?? '', /its quota is reached/);
	volume.isQuotaReached = false;
	volume.isFull = true;
	t.deepEqual(await kinds(volume, 0), []);
	volume.isFull = false;
	t.deepEqual(await kinds(volume, 0), ['volume-not-full']);
	volume.isFull = true;
	t.deepEqual(await kinds(volume, 0), ['volume-full']);
	t.regex(events.after(0, 10).at(-1)?.message ?? '', /file system is full/);
});

test('the data directory: 90 percent unless said, told once, and another threshold or none', async (t) => {
	const { space, events, fileSystem } = await fixture(t);
	const last = async (): Promise<string | undefined> => {
		await space.look();
		return events.after(0, 1000).at(-1)?.kind;
	};
	t.is(await last(), undefined);
	fileSystem.freeBytes = 100;
	t.is(await last(), 'directory-space-low');
	t.deepEqual(await space.directory(), { totalBytes: 1000, freeBytes: 100, usedPercent: 90, thresholdPercent: 90, isLow: true });
	fileSystem.freeBytes = 110;
	t.is(await last(), 'directory-space-low');
	fileSystem.freeBytes = 200;
	t.is(await last(), 'directory-space-enough');
	t.like(await space.setDirectory({ thresholdPercent: 80 }), { isLow: true });
	t.is(await last(), 'directory-space-low');
	t.like(await space.setDirectory({ thresholdPercent: null }), { isLow: false });
	t.is(await last(), 'directory-space-enough');
});

test('what is no quota and no threshold is refused, and nothing is changed; a restart keeps them, another volume of the name has none', async (t) => {
	const { space, configuration } = await fixture(t);
	await space.setLimits('data', { quotaBytes: mib, thresholdPercent: 100 });
	for (const wish of [{ quotaBytes: mib - 1 }, { quotaBytes: 2 ** 50 + 1 }, { thresholdPercent: 0 }, { thresholdPercent: 101 }])
		await t.throwsAsync(space.setLimits('data', wish), { instanceOf: UsageError });
	await t.throwsAsync(space.setDirectory({ thresholdPercent: 101 }), { instanceOf: UsageError });
	t.throws(() => space.limits('none'), { instanceOf: UsageError });
	t.deepEqual(configuration.space.of(uuid), { quotaBytes: mib, thresholdPercent: 100 });
	t.is(configuration.space.directoryThresholdPercent, 90);
	configuration.removeVolume('data');
	t.deepEqual(configuration.space.of(uuid), { quotaBytes: undefined, thresholdPercent: undefined });
});
