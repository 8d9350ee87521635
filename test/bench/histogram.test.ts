import test from 'ava';
import { LatencyHistogram } from '../../bench/histogram.ts';

test('quantiles are exact below 64 µs and within 1/32 above', (t) => {
	const histogram = new LatencyHistogram();
	for (let us = 1; us <= 50; us++) histogram.record(us);
	t.is(histogram.quantileUs(0.5), 25);
	t.is(histogram.quantileUs(1), 50);
	for (const us of [64, 65, 127, 128, 1000, 12_345, 999_999, 50_000_000]) {
		const one = new LatencyHistogram();
		one.record(us);
		const quantile = one.quantileUs(0.99);
		t.true(quantile >= us && quantile <= us * (1 + 1 / 32), `${us} → ${quantile}`);
	}
});

test('nothing recorded: zero; the maximum and the count are kept; clear forgets', (t) => {
	const histogram = new LatencyHistogram();
	t.is(histogram.quantileUs(0.5), 0);
	histogram.record(7);
	histogram.record(-3);
	t.deepEqual([histogram.total, histogram.maxUs], [2, 7]);
	histogram.clear();
	t.deepEqual([histogram.total, histogram.maxUs], [0, 0]);
});
