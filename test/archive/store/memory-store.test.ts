import test from 'ava';
import { StoreError } from '../../../src/archive/store/object-store.ts';
import { MemoryStore } from '../memory-store.ts';
import { contract, keys } from './contract.ts';

for (const { title, run } of contract) {
	test(`memory: ${title}`, async (t) => {
		await run(new MemoryStore(), 'test');
		t.pass();
	});
}

test('memory that cannot put if absent refuses it', async (t) => {
	for (const { run } of contract) await run(new MemoryStore({ canPutIfAbsent: false }), 'test');
	t.pass();
});

test('the nth call from now fails without effect, once', async (t) => {
	const store = new MemoryStore();
	await store.put('zero', Buffer.from('x'));
	store.failAt(2);
	await store.put('one', Buffer.from('x'));
	await t.throwsAsync(store.put('two', Buffer.from('x')), { instanceOf: StoreError });
	await store.put('three', Buffer.from('x'));
	t.deepEqual(await keys(store, ''), ['one', 'three', 'zero']);
});

test('a lost answer: the effect is there', async (t) => {
	const store = new MemoryStore();
	store.loseAnswerAt(1);
	await t.throwsAsync(store.put('one', Buffer.from('x')), { instanceOf: StoreError });
	t.is(String(await store.get('one')), 'x');
	store.loseAnswerAt(1);
	await t.throwsAsync(store.delete('one'), { instanceOf: StoreError });
	t.is(await store.get('one'), undefined);
});

test('stale lists show what was there, hooks see each call, and two clients share one bucket', async (t) => {
	const one = new MemoryStore();
	const other = new MemoryStore({ sharing: one });
	one.staleLists();
	const seen: string[] = [];
	one.before = ({ number, kind, key }) => void seen.push(`${number} ${kind} ${key}`);
	await other.put('a', Buffer.from('x'));
	t.deepEqual(await keys(one, ''), []);
	t.deepEqual(await keys(other, ''), ['a']);
	t.is(String(await one.get('a')), 'x');
	one.staleLists(false);
	t.deepEqual(await keys(one, ''), ['a']);
	t.deepEqual(seen, ['1 list ', '2 get a', '3 list ']);
	one.damage('a', () => Buffer.from('y'));
	t.is(String(await other.get('a')), 'y');
	await one.close();
	await t.throwsAsync(one.get('a'), { instanceOf: StoreError });
});
