import test from 'ava';
import { deviceWriteBytes, difference, processWriteBytes } from '../../bench/disk-traffic.ts';
import { histogramText } from '../../bench/histogram-text.ts';
import { LatencyHistogram } from '../../bench/histogram.ts';
import { Meter } from '../../bench/meter.ts';
import { minutes, progressBar } from '../../bench/progress.ts';
import { shares, sharesInAll, sumFaults, sumRatio } from '../../bench/shares.ts';

test('Meter: completions in whole seconds, also in those without any; the longest gap, also the last one; a gap of 50 ms is no stall yet', (t) => {
	const meter = new Meter();
	meter.start(1000);
	for (const ms of [1010, 1060, 1999, 2001, 4100, 4900]) meter.completed(ms);
	meter.end(5050);
	t.deepEqual(meter.series, [3, 1, 0, 2]);
	t.is(meter.longestStallMs, 2099);
	t.is(meter.stalls, 4, '939, 2099, 800 and the 150 at the end');
	meter.start(9000);
	meter.end(9400);
	t.deepEqual([meter.series, meter.longestStallMs, meter.stalls], [[], 400, 1]);
});

test('histograms can be added, and taken apart into what was recorded', (t) => {
	const one = new LatencyHistogram();
	const other = new LatencyHistogram();
	for (const us of [3, 3, 40]) one.record(us);
	for (const us of [3, 1000]) other.record(us);
	one.add(other);
	t.deepEqual([one.total, one.maxUs], [5, 1000]);
	t.deepEqual(one.entries().slice(0, 2), [
		[3, 3],
		[40, 1],
	]);
	const [us, count] = one.entries()[2]!;
	t.true(count === 1 && us >= 1000 && us < 1032);
});

test('a histogram as text: powers of two without a gap, shares, quantiles', (t) => {
	const lines = histogramText([
		[3, 50],
		[40, 49],
		[300, 1],
	]).split('\n');
	t.deepEqual(
		lines.slice(0, -1).map((line) => line.trim().split(/\s+/).slice(0, 3).join(' ')),
		['2–3 µs 50', '4–7 µs 0', '8–15 µs 0', '16–31 µs 0', '32–63 µs 49', '64–127 µs 0', '128–255 µs 0', '256–511 µs 1'],
	);
	t.regex(lines.at(-1)!, /p50 3, p90 40, p99 40, p99.9 300, p99.99 300, longest 300/);
	t.is(histogramText([]), 'no latencies');
});

test('/proc/<pid>/io: what was taken back before it was written does not count, and a field that is missing is no zero', (t) => {
	t.is(processWriteBytes('rchar: 1\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n'), 4096);
	t.throws(() => processWriteBytes('rchar: 1\nwrite_bytes: 8192\n'), { message: /cancelled/ });
});

test('/proc/diskstats: the device by its number, in bytes; nothing for a device that is not there', (t) => {
	const text = ' 254       0 vda 1 2 3 4 5 6 700 8 0 0 0 0 0 0 0 0 0\n 259       3 nvme0n1p3 1 2 3 4 5 6 9 8 0 0 0\n';
	t.is(deviceWriteBytes(text, 254 << 8), 700 * 512);
	t.is(deviceWriteBytes(text, (259 << 8) | 3), 9 * 512);
	t.is(deviceWriteBytes(text, 43), undefined);
	t.deepEqual(difference({ processBytes: 9, deviceBytes: 8 }, { processBytes: 4, deviceBytes: 2 }), { processBytes: 5, deviceBytes: 6 });
	t.deepEqual(difference({ processBytes: 9, deviceBytes: undefined }, { processBytes: 4, deviceBytes: 2 }), {
		processBytes: 5,
		deviceBytes: undefined,
	});
});

test('shares and sums: a sum that falls by more than a tenth, a session with less than half, and no operations at all are faults', (t) => {
	t.deepEqual(shares([50, 100, 150]), { min: 0.5, max: 1.5 });
	const run = (sessions: number, iops: number, laneOps: number[]) => ({ sessions, rounds: [{ iops, laneOps }] });
	t.deepEqual(sumFaults('x', [run(1, 100, [1]), run(4, 91, [1, 1, 1, 1]), run(16, 200, [2, 1])]), []);
	t.regex(sumFaults('x', [run(4, 89, [1, 1]), run(1, 100, [1])]).join(), /0.89 times the IOPS with 4 sessions as with 1/);
	t.regex(sumFaults('x', [run(1, 100, [1]), run(4, 300, [1]), run(16, 200, [1])]).join(), /0.67 times the IOPS with 16 sessions as with 4/);
	t.regex(sumFaults('x', [run(2, 100, [49, 151])]).join(), /one had 0.49 of its share/);
	t.is(sumFaults('x', [run(2, 0, [0, 0])]).length, 1);
	t.is(sumFaults('x', [run(1, 0, [1]), run(2, 0, [1, 1])]).length, 1);
});

test('a sum is judged round by round, so that a disk that is slow for a while is slow for all; a share by the worst round', (t) => {
	const run = (sessions: number, ...iops: number[]) => ({ sessions, rounds: iops.map((one) => ({ iops: one, laneOps: [1, 1] })) });
	t.deepEqual(sumFaults('x', [run(1, 100, 300, 200), run(4, 95, 290, 50)]), [], 'one round of three says nothing');
	t.is(sumFaults('x', [run(1, 100, 300, 200), run(4, 80, 290, 50)]).length, 1);
	t.is(sumRatio(run(4, 80, 600, 50), run(1, 100, 300, 200)), 0.8);
	const uneven = {
		sessions: 2,
		rounds: [
			{ iops: 9, laneOps: [10, 10] },
			{ iops: 9, laneOps: [4, 16] },
		],
	};
	t.deepEqual(sharesInAll(uneven), { min: 0.4, max: 1.6 });
	t.regex(sumFaults('x', [uneven]).join(), /one had 0.40 of its share/);
});

test('progress: a bar of its share, and times that people read', (t) => {
	t.is(progressBar(0.5), `[${'#'.repeat(12)}${'.'.repeat(12)}]`);
	t.is(progressBar(1.5), `[${'#'.repeat(24)}]`);
	t.deepEqual([minutes(89), minutes(90), minutes(3600)], ['89 s', '2 min', '60 min']);
});
