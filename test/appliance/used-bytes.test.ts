import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { UsedBytes } from '../../src/appliance/used-bytes.ts';
import { VolumeUsageError } from '../../src/blockvol/volume-fault.ts';

test('asks at once, then at most once a second and once at a time, and gives the last answer meanwhile', async (t) => {
	let nowMs = 0;
	const questions: ((bytes: number) => void)[] = [];
	const used = new UsedBytes(
		() =>
			new Promise((resolve) => {
				questions.push(resolve);
			}),
		() => nowMs,
	);
	t.is(questions.length, 1);
	t.is(used.latest, undefined);
	nowMs = 5000;
	t.is(used.latest, undefined);
	t.is(questions.length, 1, 'the first is not answered yet');
	questions[0]?.(10);
	await turn();
	t.is(used.latest, 10);
	t.is(questions.length, 2);
	questions[1]?.(20);
	await turn();
	t.is(used.latest, 20);
	nowMs = 5999;
	t.is(used.latest, 20);
	t.is(questions.length, 2);
	nowMs = 6000;
	t.is(used.latest, 20);
	t.is(questions.length, 3);
});

test('a volume that is being closed, or a disk that fails, leaves the old answer', async (t) => {
	let nowMs = 0;
	const answers = [
		() => Promise.resolve(7),
		() => Promise.reject(new VolumeUsageError('closing')),
		() => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })),
		() => Promise.resolve(8),
	];
	const used = new UsedBytes(
		() => answers.shift()!(),
		() => nowMs,
	);
	const seen = [];
	for (let step = 0; step < 3; step++) {
		await turn();
		nowMs += 1000;
		seen.push(used.latest);
	}
	await turn();
	t.deepEqual([...seen, used.latest], [7, 7, 7, 8]);
});
