import test from 'ava';
import { judge, slope, type Sample } from '../../bench/soak-samples.ts';
import { pageBytes, SoakVolume } from '../../bench/soak-volume.ts';

const segmentBytes = 64 * 2 ** 20;

function samples(count: number, of: (index: number) => Partial<Sample>): Sample[] {
	return Array.from({ length: count }, (_none, index) => ({
		seconds: index * 60,
		rssMiB: 100,
		fds: 40,
		walFds: 4,
		walBytes: 4 * segmentBytes,
		...of(index),
	}));
}

test('the slope is that of least squares', (t) => {
	t.is(
		slope([
			[0, 1],
			[1, 3],
			[2, 5],
		]),
		2,
	);
	t.is(
		slope([
			[0, 0],
			[1, 3],
			[2, 0],
		]),
		0,
	);
	t.is(slope([[1, 1]]), NaN);
});

test('a soak in which nothing grows is in order, whatever goes up and down', (t) => {
	const { faults, text } = judge(
		samples(60, (index) => ({
			rssMiB: 100 + (index % 7),
			fds: 40 + (index % 3),
			walFds: 4 + (index % 9),
			walBytes: (4 + (index % 5)) * segmentBytes,
		})),
		2,
	);
	t.deepEqual(faults, []);
	t.regex(text, /RSS 100–106 MiB/);
});

test('RSS that grows by more than 8 MiB an hour is a fault, by less is not', (t) => {
	const growing = (perHour: number) =>
		judge(
			samples(61, (index) => ({ rssMiB: 100 + (index / 60) * perHour })),
			2,
		).faults;
	t.deepEqual(growing(7.9), []);
	t.regex(growing(8.1).join(), /RSS grew by 8\.1 MiB/);
});

test('a soak that is too short for a slope may grow by 32 MiB while caches fill, and says that it is short', (t) => {
	const growing = (inAll: number) =>
		judge(
			samples(11, (index) => ({ rssMiB: 100 + (index / 10) * inAll })),
			2,
		);
	t.deepEqual(growing(31).faults, []);
	t.regex(growing(31).text, /too short/);
	t.regex(growing(33).faults.join(), /RSS grew by 33/);
});

test('one descriptor more than at the beginning, most of the time, is a fault', (t) => {
	const judged = (of: (index: number) => number) =>
		judge(
			samples(60, (index) => ({ fds: of(index) })),
			2,
		).faults;
	t.regex(judged((index) => (index < 30 ? 40 : 41) + (index % 2)).join(), /41 file descriptors at the end, 40/);
	t.deepEqual(
		judged((index) => (index === 3 ? 39 : 40)),
		[],
		'a session that was being replaced',
	);
});

test('RSS is shown over time', (t) => {
	t.regex(
		judge(
			samples(60, (index) => ({ rssMiB: index < 30 ? 100 : 104 })),
			2,
		).text,
		/tenth of that: (100\.0 ){5}(104\.0\s){5}/,
	);
});

test('a log that grows by more than a segment for each volume beyond what volumes usually have, or beyond its bound, is a fault', (t) => {
	const growing = (from: number, segments: number) =>
		judge(
			samples(60, (index) => ({ walBytes: (from + (index < 30 ? 0 : segments)) * segmentBytes })),
			2,
		).faults;
	t.deepEqual(growing(4, 20), [], 'two volumes have 24 files');
	t.deepEqual(growing(24, 2), []);
	t.regex(growing(24, 3).join(), /the log grew from at most 1536 to 1728 MiB/);
	t.regex(
		judge(
			samples(60, () => ({ walBytes: 65 * segmentBytes })),
			2,
		).faults.join(),
		/more than 4096/,
	);
});

test('too few samples are a fault, not a success', (t) => {
	t.is(
		judge(
			samples(5, () => ({})),
			2,
		).faults.length,
		1,
	);
});

test('SoakVolume: what was written is right everywhere it was written, and nothing else is', (t) => {
	const volume = new SoakVolume('v', 8 * pageBytes);
	const data = Buffer.alloc(2 * pageBytes);
	const number = volume.newWrite(data, 3);
	t.is(volume.fault(Buffer.alloc(8 * pageBytes), 0), undefined, 'zeros until a write was acknowledged');
	volume.written(3, 2, number);
	t.is(volume.fault(data, 3), undefined);
	t.regex(volume.fault(data, 2)!, /page 2, block 0 of it: bytes of no write where write 0/);
	const older = Buffer.from(data);
	const newer = volume.newWrite(data, 3);
	volume.written(3, 2, newer);
	t.regex(volume.fault(older, 3)!, /write 1 where write 2/);
	data[pageBytes + 600]! ^= 1;
	t.regex(volume.fault(data, 3)!, /page 4, block 1 of it: bytes of no write/);
	volume.written(3, 2, 0);
	t.is(volume.fault(Buffer.alloc(2 * pageBytes), 3), undefined);
	t.regex(volume.fault(older, 3)!, /write 1 where write 0/);
});

test('SoakVolume: claimed pages are nobody else’s until they are released', (t) => {
	const volume = new SoakVolume('v', 4 * pageBytes);
	t.is(
		volume.claim(2, () => 0),
		0,
	);
	t.is(
		volume.claim(2, () => 0.3),
		-1,
		'page 1 is taken',
	);
	t.is(
		volume.claim(2, () => 0.9),
		2,
	);
	t.is(
		volume.claim(1, () => 0.999),
		-1,
	);
	volume.release(2, 2);
	t.is(
		volume.claim(1, () => 0.999),
		3,
		'the last page can be had',
	);
});
