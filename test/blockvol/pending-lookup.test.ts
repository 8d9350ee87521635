import test from 'ava';
import fc from 'fast-check';
import { Generation, placeWal } from '../../src/blockvol/generation.ts';
import { PendingLookup } from '../../src/blockvol/pending-lookup.ts';

interface Pending {
	readonly generation: Generation;
}

const pages = 200;

/** The newest generation that knows a page, by asking all. */
function asked(pending: readonly Pending[], page: number): number {
	return pending.findLastIndex(({ generation }) => generation.find(page) >= 0 || generation.zeros.lsnOf(page) >= 0);
}

const step = fc.oneof(
	{ weight: 6, arbitrary: fc.record({ kind: fc.constant('cut' as const), seed: fc.nat(), entries: fc.nat(1500), zeros: fc.nat(2) }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant('flushed' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant('rejoined' as const) }) },
	{ weight: 4, arbitrary: fc.record({ kind: fc.constant('look' as const), times: fc.nat(6) }) },
);

test('any sequence of cuts, flushes and look-ups: the answer is that of asking every generation', (t) => {
	fc.assert(
		fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
			const lookup = new PendingLookup();
			const pending: Pending[] = [];
			let lsn = 0;
			for (const it of steps) {
				if (it.kind === 'cut') {
					const generation = new Generation();
					for (let at = 0; at < it.entries; at++) generation.put((it.seed + at * 7919) % (pages + (it.seed % 5000)), lsn++, 3, placeWal);
					for (let at = 0; at < it.zeros; at++) generation.zeros.add((it.seed + at) % pages, ((it.seed + at) % pages) + 3, lsn++);
					pending.push({ generation });
				} else if (it.kind === 'flushed') {
					const count = Math.floor(pending.length * it.share);
					pending.splice(0, count);
					lookup.flushed(count, pending.length === 0);
				} else if (it.kind === 'rejoined') {
					pending.pop();
					lookup.reset();
				} else {
					for (let time = 0; time <= it.times; time++)
						for (let page = time; page < pages; page += 11) if (lookup.newest(pending, page) !== asked(pending, page)) return false;
				}
			}
			for (let page = 0; page < pages; page++) if (lookup.newest(pending, page) !== asked(pending, page)) return false;
			return true;
		}),
		{ numRuns: 150 },
	);
	t.pass();
});

test('after a thousand cuts a look-up asks a few generations, not a thousand', (t) => {
	const lookup = new PendingLookup();
	let finds = 0;
	const pending = Array.from({ length: 1000 }, (_, number) => {
		const generation = new Generation();
		generation.put(number, number, 3, placeWal);
		const find = generation.find.bind(generation);
		generation.find = (page) => {
			finds++;
			return find(page);
		};
		return { generation };
	});
	for (let page = 0; page < 10; page++) t.is(lookup.newest(pending, page), page);
	finds = 0;
	for (let page = 0; page < 1000; page++) t.is(lookup.newest(pending, page), page);
	t.true(finds < 10_000, `${finds}`);
});
