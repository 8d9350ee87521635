import { readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openDatabase } from '../../src/config/database.ts';
import { Reserve, reserveBytes, withReserve } from '../../src/config/reserve.ts';
import { Transactions } from '../../src/config/transactions.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

async function kept(t: ExecutionContext): Promise<{ path: string; reserve: Reserve; given: () => number }> {
	const path = await temporaryDirectory(t);
	let given = 0;
	const reserve = new Reserve(path, () => given++);
	reserve.keep();
	return { path, reserve, given: () => given };
}

const full = (): UsageError => new UsageError('full', 'noSpace', { cause: Object.assign(new Error('full'), { code: 'SQLITE_FULL' }) });

test('the reserve takes real space and is made once; one that was cut short is made anew', async (t) => {
	const { path, reserve } = await kept(t);
	const made = await stat(join(path, 'reserve'));
	t.is(made.size, reserveBytes);
	t.is(made.mode & 0o777, 0o600);
	reserve.keep();
	t.is((await stat(join(path, 'reserve'))).mtimeMs, made.mtimeMs);
	await truncate(join(path, 'reserve'), 100);
	reserve.keep();
	t.is((await stat(join(path, 'reserve'))).size, reserveBytes);
});

test('work that finds no space is done once more with the reserve given up, and only then', async (t) => {
	const { path, reserve, given } = await kept(t);
	let calls = 0;
	const failing = (times: number) => () => {
		if (calls++ < times) throw full();
		return 'done';
	};
	t.is(withReserve(reserve, failing(1)), 'done');
	t.deepEqual([calls, given()], [2, 1]);
	t.deepEqual(await readdir(path), []);
	calls = 0;
	t.throws(() => withReserve(reserve, failing(1)), { message: 'full' });
	t.deepEqual([calls, given()], [1, 1], 'there is nothing left to give');
	reserve.keep();
	calls = 0;
	t.throws(() => withReserve(reserve, failing(2)), { message: 'full' });
	t.is(calls, 2);
});

test('what fails for another reason leaves the reserve alone', async (t) => {
	const { path, reserve } = await kept(t);
	for (const code of ['SQLITE_BUSY', 'ENOSPC']) {
		t.throws(() =>
			withReserve(reserve, () => {
				throw Object.assign(new Error(code), { code });
			}),
		);
	}
	t.deepEqual(await readdir(path), ['reserve']);
});

test('a directory in which nothing can be made, or a folder in its place, is no error: there is no reserve then', async (t) => {
	const path = await temporaryDirectory(t);
	await writeFile(join(path, 'file'), '');
	const nowhere = new Reserve(join(path, 'file'), () => t.fail());
	t.notThrows(() => nowhere.keep());
	t.false(nowhere.giveUp());
});

test('a change that finds no space is rolled back and made once more, the outer one whole', async (t) => {
	const path = await temporaryDirectory(t);
	const database = openDatabase(join(path, 'config.db'));
	t.teardown(() => database.close());
	database.exec('CREATE TABLE filling (row INTEGER, bytes BLOB)');
	// The pages that SQLite may use stand for the file system.
	const reserve = new Reserve(path, () => database.pragma('max_page_count = 100000'));
	reserve.keep();
	const transactions = new Transactions(join(path, 'config.db'), database, reserve);
	const insert = database.prepare('INSERT INTO filling VALUES (?, ?)');
	const count = (): unknown => database.prepare('SELECT count(*) FROM filling').pluck().get();
	let outer = 0;
	const fill = (): void =>
		transactions.change(() => {
			outer++;
			insert.run(1, Buffer.alloc(10));
			transactions.change(() => insert.run(2, Buffer.alloc(1_000_000)));
		});
	database.pragma(`max_page_count = ${String(database.pragma('page_count', { simple: true }))}`);
	fill();
	t.deepEqual([outer, count()], [2, 2]);
	database.pragma(`max_page_count = ${String(database.pragma('page_count', { simple: true }))}`);
	t.throws(fill, { instanceOf: UsageError, message: /the file system is full/ });
	t.deepEqual([outer, count()], [3, 2], 'nothing was left to give up, and nothing is half done');
});
