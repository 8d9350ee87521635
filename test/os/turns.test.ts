import test from 'ava';
import { Turns } from '../../src/os/turns.ts';

/** Work that ends when it is told, in a list of what has begun. */
function gated(turns: Turns): { begun: number[]; submit: (name: number) => Promise<number>; end: (name: number, error?: Error) => void } {
	const begun: number[] = [];
	const ends = new Map<number, (error?: Error) => void>();
	return {
		begun,
		submit: (name) =>
			turns.run(
				() =>
					new Promise((resolve, reject) => {
						begun.push(name);
						ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error)));
					}),
			),
		end: (name, error) => ends.get(name)?.(error),
	};
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('so many run at once; the others begin in their order, as room is made', async (t) => {
	const turns = new Turns(2);
	const { begun, submit, end } = gated(turns);
	const all = [0, 1, 2, 3, 4].map(submit);
	t.deepEqual(begun, [0, 1]);
	t.is(turns.waiting, 3);
	end(1);
	await settle();
	t.deepEqual(begun, [0, 1, 2]);
	end(0);
	end(2);
	await settle();
	t.deepEqual(begun, [0, 1, 2, 3, 4]);
	end(3);
	end(4);
	t.deepEqual(await Promise.all(all), [0, 1, 2, 3, 4]);
});

test('a failure reaches its own caller, and makes room like any end', async (t) => {
	const turns = new Turns(1);
	const { begun, submit, end } = gated(turns);
	const [first, second, third] = [submit(0), submit(1), turns.run(() => Promise.reject(new Error('at once')))];
	const failure = t.throwsAsync(first, { message: 'ill' });
	end(0, new Error('ill'));
	await failure;
	await settle();
	t.deepEqual(begun, [0, 1]);
	end(1);
	t.is(await second, 1);
	await t.throwsAsync(third, { message: 'at once' });
	t.is(turns.waiting, 0);
	t.is(await turns.run(async () => 7), 7);
});
