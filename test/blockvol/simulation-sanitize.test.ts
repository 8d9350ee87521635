import test from 'ava';
import type { SanitizeOrder } from '../../src/blockvol/sanitize-record.ts';
import { exploreSanitize } from '../simulation/sanitize.ts';

const blockErase: SanitizeOrder = { method: 'blockErase', passes: 1, invert: false, pattern: Buffer.alloc(1), mayExitFailure: false };
const overwrite: SanitizeOrder = { method: 'overwrite', passes: 2, invert: true, pattern: Buffer.from('blank'), mayExitFailure: true };

/** More of the simulation: SANITIZE_SEEDS=20 looks at every operation of so many volumes. */
const seeds = Number(process.env.SANITIZE_SEEDS ?? 1);
const share = process.env.SANITIZE_SEEDS === undefined ? 0.3 : 1;

for (const [name, order] of [
	['block erase', blockErase],
	['overwrite, two passes, inverted', overwrite],
	['overwrite with zeros', { ...overwrite, pattern: Buffer.alloc(512) }],
] as const) {
	test(`power loss at every operation of ${name}: as before, or not to be opened until it is sanitized; nothing of it is left anywhere`, async (t) => {
		const sum = { before: 0, unfinished: 0, sanitized: 0 };
		for (let seed = 1; seed <= seeds; seed++) {
			const counts = await exploreSanitize(seed, order, share);
			for (const key of ['before', 'unfinished', 'sanitized'] as const) sum[key] += counts[key];
		}
		t.log(sum);
		t.true(sum.before > 0 && sum.unfinished > 10 && sum.sanitized > 0);
	});
}
