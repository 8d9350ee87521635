import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import test from 'ava';
import { BoundedTasks } from '../../src/archive/bounded-tasks.ts';
import { chunksByList } from '../../src/archive/changed-chunks.ts';
import { CodecPool } from '../../src/archive/codec-pool.ts';
import { InlineCodec } from '../../src/archive/codec.ts';
import { letGo } from '../../src/archive/let-go.ts';
import { GenerationSet } from '../../src/archive/generation-set.ts';
import { entryBytes, treeOfEntries, treeOfRoots, treeOfZeros } from '../../src/archive/merkle-tree.ts';
import { NameIndex } from '../../src/archive/name-index.ts';
import { deriveKeys, isKeyEnvelope } from '../../src/archive/repository-keys.ts';
import { ArchiveError } from '../../src/archive/repository-types.ts';
import { seal, unseal } from '../../src/archive/sealed-object.ts';
import { Semaphore } from '../../src/archive/semaphore.ts';
import { TokenBucket } from '../../src/archive/token-bucket.ts';
import { noise } from './repository-fixture.ts';

test('token bucket: a second is free, then the rate holds, and a pause earns no more than a second', (t) => {
	const bucket = new TokenBucket(1000, 0);
	t.is(bucket.take(1000, 0), 0);
	t.is(bucket.take(500, 0), 0, 'what is in debt is paid for by the next one');
	t.is(bucket.take(500, 0), 500);
	t.is(bucket.take(100, 500), 500);
	t.is(bucket.take(1, 100_000), 0);
	t.is(bucket.take(999, 100_000), 0);
	t.is(bucket.take(10_000, 100_000), 0, 'one that is larger than all is let go');
	t.is(bucket.take(1, 100_000), 10_000);
	t.is(bucket.take(1, 99_000), 10_001, 'a clock that goes back gives nothing');
	t.is(new TokenBucket(Infinity, 0).take(1e12, 0), 0);
});

test('token bucket: what is let through in any time is the rate times the time, and a second’s worth', (t) => {
	const bucket = new TokenBucket(5000, 0);
	let nowMs = 0;
	let total = 0;
	for (let step = 0; step < 1000; step++) {
		nowMs += bucket.take(700, nowMs);
		total += 700;
		t.true(total - 700 <= 5000 + 5 * nowMs + 1e-6, `${total} in ${nowMs} ms`);
	}
	t.true(Math.abs(nowMs - 139_000) < 1500, `${nowMs}`);
});

test('a set of generations holds what was added, and nothing else, also when it has grown', (t) => {
	const set = new GenerationSet(4);
	const all = Array.from({ length: 5000 }, (_, index) => createHash('sha256').update(String(index)).digest().subarray(0, 8));
	// Neighbours in one place: the second half decides.
	for (let low = 0; low < 50; low++) all.push(Buffer.from([7, 0, 0, 0, low, 0, 0, 1]));
	for (const [index, generation] of all.entries()) if (index % 2 === 0) t.true(set.add(generation, 0));
	for (const [index, generation] of all.entries()) t.is(set.has(generation, 0), index % 2 === 0);
	t.is(set.size, 2525);
	t.false(set.add(all[0] as Buffer, 0));
	t.false(set.add(Buffer.alloc(8), 0), 'zeros have no object');
	t.false(set.has(Buffer.alloc(8), 0));
	t.true(set.hasHex((all[0] as Buffer).toString('hex')));
	const other = new GenerationSet();
	other.addAll(set);
	t.is(other.size, set.size);
});

test('an index of names tells chunks from lists, and takes the later generation', (t) => {
	const index = new NameIndex();
	const names = Array.from({ length: 3000 }, (_, at) => createHash('sha256').update(String(at)).digest('hex'));
	for (const [at, name] of names.entries()) index.set('chunk', name, Buffer.from(at.toString(16).padStart(15, '0') + '1', 'hex'));
	t.is(index.size, 3000);
	for (const [at, name] of names.entries()) t.is(index.get('chunk', name)?.toString('hex'), at.toString(16).padStart(15, '0') + '1');
	t.is(index.get('list', names[0] as string), undefined);
	index.set('chunk', names[0] as string, Buffer.from('ff'.repeat(8), 'hex'));
	t.is(index.get('chunk', names[0] as string)?.toString('hex'), 'ff'.repeat(8));
	t.is(index.size, 3000);
});

/** RFC 9162 §2.1.1, as it is written. */
function slowTree(leaves: readonly Buffer[]): Buffer {
	if (leaves.length === 0) return createHash('sha256').digest();
	if (leaves.length === 1)
		return createHash('sha256')
			.update(Buffer.concat([Buffer.of(0), leaves[0] as Buffer]))
			.digest();
	let left = 1;
	while (left * 2 < leaves.length) left *= 2;
	return createHash('sha256')
		.update(Buffer.concat([Buffer.of(1), slowTree(leaves.slice(0, left)), slowTree(leaves.slice(left))]))
		.digest();
}

test('the tree is that of RFC 9162, and lists are its subtrees', (t) => {
	for (const count of [1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100]) {
		const hashes = Array.from({ length: count }, (_, index) => createHash('sha256').update(`${count}/${index}`).digest());
		const entries = Buffer.concat(hashes.map((hash) => Buffer.concat([hash, Buffer.alloc(8, 9)])));
		t.true(treeOfEntries(entries).equals(slowTree(hashes)), `${count}`);
		const roots: Buffer[] = [];
		for (let at = 0; at < count; at += 8) roots.push(treeOfEntries(entries.subarray(at * entryBytes, (at + 8) * entryBytes)));
		t.true(treeOfRoots(roots).equals(slowTree(hashes)), `${count} by lists`);
	}
	t.true(treeOfZeros(5).equals(slowTree(Array.from({ length: 5 }, () => Buffer.alloc(32)))));
});

test('bounded tasks: never more at once than the bound, and the first failure is told after all have ended', async (t) => {
	const tasks = new BoundedTasks(3);
	let running = 0;
	let most = 0;
	const work = async (): Promise<void> => {
		most = Math.max(most, ++running);
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
		running--;
	};
	for (let count = 0; count < 20; count++) await tasks.run(work);
	await tasks.idle();
	t.is(most, 3);
	const failing = new BoundedTasks(2);
	const reason = new Error('no');
	let ended = false;
	const turn = (): Promise<void> =>
		new Promise((resolve) => {
			setImmediate(resolve);
		});
	await failing.run(async () => {
		await turn();
		throw reason;
	});
	await failing.run(async () => {
		await turn();
		await turn();
		ended = true;
	});
	await t.throwsAsync(failing.idle(), { is: reason });
	t.true(ended);
	await t.throwsAsync(
		failing.run(() => Promise.resolve(t.fail())),
		{ is: reason },
	);
});

test('a semaphore gives turns in order and survives failures', async (t) => {
	const semaphore = new Semaphore(2);
	const order: number[] = [];
	let running = 0;
	const results = await Promise.allSettled(
		Array.from({ length: 10 }, (_, index) =>
			semaphore.use(async () => {
				t.true(++running <= 2);
				order.push(index);
				await Promise.resolve();
				running--;
				if (index % 3 === 0) throw new Error('no');
			}),
		),
	);
	t.deepEqual(
		order,
		order.toSorted((a, b) => a - b),
	);
	t.is(results.filter(({ status }) => status === 'rejected').length, 4);
});

test('ranges become chunks by list: each chunk once, whatever the ranges overlap', async (t) => {
	const ranges = async function* (list: readonly [number, number][]): AsyncGenerator<{ offsetBytes: number; lengthBytes: number }> {
		for (const [offsetBytes, lengthBytes] of list) yield { offsetBytes, lengthBytes };
	};
	const all: { list: number; chunks: readonly number[] }[] = [];
	const source = ranges([
		[0, 1],
		[5, 10],
		[40_950 * 10, 100],
		[40_959 * 10 + 5, 10],
	]);
	for await (const one of chunksByList(source, 10, 50_000, [0, 3, 41_000, 49_999])) all.push(one);
	t.deepEqual(all, [
		{ list: 0, chunks: [0, 1, 3] },
		{ list: 9, chunks: [40_950, 40_951, 40_952, 40_953, 40_954, 40_955, 40_956, 40_957, 40_958, 40_959] },
		{ list: 10, chunks: [40_960, 41_000] },
		{ list: 12, chunks: [49_999] },
	]);
});

const keys = deriveKeys(Buffer.alloc(32, 5), '00'.repeat(16));

test('an encrypted object is convergent within its repository, and not across repositories', (t) => {
	const plain = noise(10_000, 1);
	t.true(seal('chunk', plain, keys).equals(seal('chunk', plain, keys)));
	const nonce = (object: Buffer): string => object.toString('hex', 16, 28);
	const other = Buffer.from(plain);
	other[9999] = (other[9999] ?? 0) ^ 1;
	t.not(nonce(seal('chunk', plain, keys)), nonce(seal('chunk', other, keys)));
	t.not(nonce(seal('chunk', plain, keys)), nonce(seal('list', plain, keys)), 'nor across kinds');
	const elsewhere = deriveKeys(Buffer.alloc(32, 5), '11'.repeat(16));
	t.not(nonce(seal('chunk', plain, keys)), nonce(seal('chunk', plain, elsewhere)));
	const error = t.throws<ArchiveError>(() => unseal('chunk', seal('chunk', plain, elsewhere), keys, 'a/key', 1 << 20), {
		instanceOf: ArchiveError,
	});
	t.is(error?.object, 'a/key');
	t.is(error?.code, 'corrupt');
	// Who writes to the bucket cannot pass off what is not encrypted.
	t.throws(() => unseal('chunk', seal('chunk', plain, undefined), keys, 'a/key', 1 << 20), { message: /not encrypted/ });
});

test('what unpacks to more than it may is refused, whatever its header says', (t) => {
	const bomb = seal('chunk', Buffer.alloc(1 << 20), undefined);
	t.true(bomb.length < 1000);
	t.throws(() => unseal('chunk', bomb, undefined, 'k', (1 << 20) - 1), { message: /lengths/ });
	t.is(unseal('chunk', bomb, undefined, 'k', 1 << 20).length, 1 << 20);
	t.is(unseal('chunk', seal('chunk', Buffer.alloc(0), undefined), undefined, 'k', 0).length, 0);
});

test('a key that would take the machine’s memory is not tried', (t) => {
	const envelope = { kdf: 'scrypt', salt: '00'.repeat(32), n: 65_536, r: 8, p: 2, nonce: '00'.repeat(12), wrapped: '00'.repeat(48) };
	t.true(isKeyEnvelope(envelope));
	for (const wrong of [
		{ n: 2 ** 21 },
		{ n: 65_537 },
		{ n: 2 ** 20, r: 9 },
		{ r: 33 },
		{ p: 17 },
		{ p: 0 },
		{ salt: '00' },
		{ kdf: 'none' },
		{ wrapped: 'xy'.repeat(48) },
	])
		t.false(isKeyEnvelope({ ...envelope, ...wrong }), JSON.stringify(wrong));
	t.false(isKeyEnvelope(null));
});

test('threads give what the calling thread gives, move buffers, pass on what is wrong with an object, and end', async (t) => {
	const pool = new CodecPool(keys, 2);
	const inline = new InlineCodec(keys);
	await Promise.all(
		Array.from({ length: 20 }, async (_, seed) => {
			const bytes = new Uint8Array(noise(50_000, seed));
			const mine = await inline.hash(new Uint8Array(bytes));
			const moved = new Uint8Array(bytes);
			const theirs = await pool.hash(moved);
			t.is(moved.length, 0, 'the buffer has moved');
			t.deepEqual(theirs.hash, new Uint8Array(mine.hash));
			const { object } = await pool.seal('chunk', theirs.plain);
			t.true(Buffer.from(object).equals((await inline.seal('chunk', mine.plain)).object));
			// A small object stands in a buffer that Node shares: that one must not move.
			const { plain } = await pool.unseal('chunk', Buffer.from(object), 'k', 1 << 20);
			t.true(plain.equals(bytes));
			const small = Buffer.from('small');
			await pool.hash(small);
			t.is(small.toString(), 'small');
		}),
	);
	t.true((await pool.hash(new Uint8Array(100_000))).isZero);
	const entries = noise(40 * 7, 1);
	t.deepEqual(Buffer.from(await pool.tree(entries)), Buffer.from(await inline.tree(entries)));
	const damaged = Buffer.from(seal('chunk', Buffer.from('x'), keys));
	damaged[40] = (damaged[40] ?? 0) ^ 1;
	const error = await t.throwsAsync<ArchiveError>(pool.unseal('chunk', damaged, 'a/key', 100), { instanceOf: ArchiveError });
	t.deepEqual([error?.code, error?.object], ['corrupt', 'a/key']);
	const late = pool.hash(new Uint8Array(10_000_000));
	const closing = pool.close();
	t.is((await t.throwsAsync<ArchiveError>(late, { instanceOf: ArchiveError }))?.code, 'closed');
	await closing;
	t.is((await t.throwsAsync<ArchiveError>(pool.hash(new Uint8Array(1)), { instanceOf: ArchiveError }))?.code, 'closed');
});

/** Threads of this process: how many the kernel has in the background (SCHED_IDLE), and how many at niceness 10 or lower. */
async function threadsAside(): Promise<{ background: number; low: number }> {
	const found = { background: 0, low: 0 };
	for (const thread of await readdir('/proc/self/task')) {
		const text = await readFile(`/proc/self/task/${thread}/stat`, 'utf8').catch(() => '');
		const fields = text.replace(/^.*\) /s, '').split(' ');
		if (fields[38] === '5') found.background++;
		else if (Number(fields[16]) >= Math.max(10, getPriority() + 1)) found.low++;
	}
	return found;
}

test('threads work in the background, and once a task has taken too long there, the next ones have a share; who reads has one from the beginning', async (t) => {
	if (process.platform !== 'linux') {
		t.pass('priorities are those of processes here');
		return;
	}
	const background = new CodecPool(keys, 2, { starvedMs: 1e9 });
	await background.hash(new Uint8Array(10_000));
	const before = await threadsAside();
	t.true(before.background >= 1);
	await background.close();
	const impatient = new CodecPool(keys, 2, { starvedMs: -1 });
	const bytes = new Uint8Array(noise(50_000, 1));
	const hashes = await Promise.all(Array.from({ length: 6 }, () => impatient.hash(new Uint8Array(bytes))));
	// By now every thread of the beginning has ended a task.
	const again = await impatient.hash(new Uint8Array(bytes));
	t.true(
		hashes.every(({ hash }) => Buffer.compare(hash, again.hash) === 0),
		'nothing of what waited was lost',
	);
	// Those of the beginning end as soon as they have nothing to do: if they did not, this would not end.
	while ((await threadsAside()).background > 0) await impatient.hash(new Uint8Array(bytes));
	await impatient.close();
	const reads = new CodecPool(keys, 1, { urgency: 'low' });
	await reads.hash(new Uint8Array(10_000));
	const { background: none, low } = await threadsAside();
	t.is(none, 0);
	t.true(getPriority() >= 10 || low >= 1);
	await reads.close();
});

test('letGo frees bytes that have their buffer to themselves, and leaves all others alone', (t) => {
	const own = new Uint8Array(1000);
	letGo(own);
	t.is(own.byteLength, 0);
	t.notThrows(() => letGo(own));
	const [part, pooled] = [new Uint8Array(1000).subarray(1), Buffer.from('a part of a pool')];
	letGo(part);
	letGo(pooled);
	t.deepEqual([part.byteLength, pooled.toString()], [999, 'a part of a pool']);
	const shared = new Uint8Array(new SharedArrayBuffer(8));
	letGo(shared);
	t.is(shared.byteLength, 8);
});

test('names and generations that somebody has chosen to have one place take no longer than others', (t) => {
	const count = 20_000;
	const timeMs = (chosen: boolean): number => {
		const generations = new GenerationSet();
		const names = new NameIndex();
		const others = noise(8 * count, 3);
		const startedMs = performance.now();
		for (let index = 0; index < count; index++) {
			const generation = Buffer.alloc(8);
			if (chosen) generation.writeUInt32LE(index + 1, 4);
			else others.copy(generation, 0, 8 * index);
			generations.add(generation, 0);
			const last = chosen ? (2 * index).toString(16).padStart(16, '0') : generation.toString('hex');
			names.set('chunk', last + '0'.repeat(48), Buffer.alloc(8, 1));
		}
		t.is(generations.size, count);
		t.true(names.size >= count - 1);
		return performance.now() - startedMs;
	};
	timeMs(false);
	const ordinaryMs = timeMs(false);
	const chosenMs = timeMs(true);
	t.true(chosenMs < 10 * ordinaryMs + 300, `${chosenMs} ms, and ${ordinaryMs} ms`);
});
