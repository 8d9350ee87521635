import test from 'ava';
import { openingLines } from '../../src/cli/status-commands.ts';

test('status while volumes are opened: those that are replayed come first, and sixteen are named at most', (t) => {
	t.deepEqual(openingLines([]), []);
	t.deepEqual(openingLines([{ volume: 'a' }, { volume: 'b', replayed: 0.435 }]), [
		['opening', 'b, replaying, 43 %'],
		['opening', 'a'],
	]);
	const many = (count: number) => Array.from({ length: count }, (_, index) => ({ volume: `v${index}` }));
	t.is(openingLines(many(16)).length, 16);
	const lines = openingLines([...many(1000), { volume: 'last', replayed: 0 }]);
	t.is(lines.length, 17);
	t.deepEqual(
		[lines[0], lines[16]],
		[
			['opening', 'last, replaying, 0 %'],
			['opening', 'and 985 more'],
		],
	);
});
