import test from 'ava';
import { EventLog } from '../../src/appliance/event-log.ts';
import { StreamExports, exportsMax } from '../../src/appliance/streams-exports.ts';
import type { Volumes } from '../../src/appliance/volumes.ts';
import type { Allocation } from '../../src/blockvol/block-device.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { silent } from '../../src/os/logger.ts';
import { MemoryDevice } from '../scsi/memory-device.ts';

const mib = 2 ** 20;
const gib = 2 ** 30;
const pageBytes = 4096;

/** A snapshot of 200 GiB, with a page in each of its first 5,000 MiB. */
class ScatteredSnapshot extends MemoryDevice {
	closed = 0;
	looks = 0;

	constructor() {
		super({ sizeBytes: 200 * gib });
	}

	override async allocation(offsetBytes: number, extentsMax: number): Promise<Allocation> {
		this.looks++;
		const extents: Allocation['extents'] = [];
		for (let at = offsetBytes; at < this.sizeBytes && extents.length < extentsMax;) {
			const isMapped = at % mib < pageBytes && at < 5000 * mib;
			const end = isMapped ? at - (at % mib) + pageBytes : at < 4999 * mib ? at - (at % mib) + mib : this.sizeBytes;
			extents.push({ lengthBytes: end - at, isMapped });
			at = end;
		}
		return { outcome: 'good', extents };
	}

	async close(): Promise<void> {
		this.closed++;
	}
}

function world() {
	const opened: ScatteredSnapshot[] = [];
	const volume = {
		uuid: 'u',
		snapshots: () => [{ id: 7, name: 'one' }],
		openSnapshot: async () => {
			const device = new ScatteredSnapshot();
			opened.push(device);
			return device;
		},
	};
	const volumes = { openVolume: () => volume } as unknown as Volumes;
	return { opened, exports: new StreamExports({ volumes, events: new EventLog(silent) }) };
}

test('a list of extents is so long and goes so far, and the next one goes on there; all of them together leave nothing out', async (t) => {
	const { exports, opened } = world();
	const found: number[] = [];
	const ends: (number | undefined)[] = [];
	for (let from: number | undefined = 0; from !== undefined;) {
		const { ranges, nextBytes }: Awaited<ReturnType<typeof exports.extents>> = await exports.extents('data', 'one', from);
		t.true(ranges.length <= 4096);
		for (const { offsetBytes, lengthBytes } of ranges) {
			t.is(lengthBytes, pageBytes);
			found.push(offsetBytes);
		}
		ends.push(nextBytes);
		from = nextBytes;
	}
	t.deepEqual(
		found,
		Array.from({ length: 5000 }, (_, index) => index * mib),
	);
	t.deepEqual(ends, [4096 * mib, 4 * gib + 64 * gib, 4 * gib + 128 * gib, 4 * gib + 192 * gib, undefined]);
	// One opening for all the requests.
	t.is(opened.length, 1);
});

test('a snapshot stays open for the next request, until its volume goes or the appliance stops; while one is read, that is told', async (t) => {
	const { exports, opened } = world();
	const first = await exports.open('data', 'one', 'raw');
	t.true(exports.isReading('u'));
	t.true(exports.isExporting('u', 'one'));
	t.false(exports.isExporting('u', 'two'));
	await exports.letGo('u');
	t.is(opened[0]?.closed, 0);
	first.close();
	first.close();
	t.false(exports.isReading('u'));
	t.is(opened[0]?.closed, 0);
	await exports.letGo('u');
	t.is(opened[0]?.closed, 1);
	const all = await Promise.all(Array.from({ length: exportsMax }, () => exports.open('data', 'one', 'raw')));
	t.is(opened.length, 2);
	const refused = await t.throwsAsync(() => exports.open('data', 'one', 'raw'), { instanceOf: UsageError });
	t.is(refused?.code, 'inUse');
	const stopped = exports.closeAll();
	for (const one of all) one.close();
	await stopped;
	t.is(opened[1]?.closed, 1);
	await t.throwsAsync(() => exports.open('data', 'one', 'raw'), { instanceOf: UsageError });
	await t.throwsAsync(() => exports.open('data', 'none', 'raw'), { instanceOf: UsageError });
});
