import { randomBytes } from 'node:crypto';
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict';
import { type ObjectInfo, type ObjectStore, StoreError, type StoreErrorCode } from '../../../src/archive/store/object-store.ts';

export interface Claim {
	readonly title: string;
	/** Takes a store in which nothing begins with its folder; leaves what it likes there. */
	readonly run: (store: ObjectStore, folder: string) => Promise<void>;
}

export async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
	return (await infos(store, prefix)).map(({ key }) => key);
}

export async function infos(store: ObjectStore, prefix: string): Promise<ObjectInfo[]> {
	const found: ObjectInfo[] = [];
	for await (const info of store.list(prefix)) found.push(info);
	return found;
}

/** An assertion that a StoreError of this code comes out. */
export function storeError(code: StoreErrorCode, message?: RegExp) {
	return (error: unknown): boolean => {
		ok(error instanceof StoreError, `${String(error)} is no StoreError`);
		strictEqual(error.code, code, error.message);
		if (message !== undefined) ok(message.test(error.message), error.message);
		return true;
	};
}

const keysThatAreNone = [
	'',
	'/',
	'/a',
	'a/',
	'a//b',
	'..',
	'a/../b',
	'./a',
	'a/.b',
	'a b',
	'a\\b',
	'a\0',
	'ä',
	'a%2f',
	'x'.repeat(201),
	'x/'.repeat(256) + 'x',
];

/** What every store has to do; test/archive/store runs it against memory, folder and S3, test/conformance/archive-s3.ts against real servers. */
export const contract: readonly Claim[] = [
	{
		title: 'what is put is got, byte for byte, from nothing to more than one part',
		run: async (store, folder) => {
			for (const size of [0, 1, 4096, 1 << 20, 9 << 20]) {
				const bytes = randomBytes(size);
				strictEqual(await store.put(`${folder}/size-${size}`, bytes), 'stored');
				const got = await store.get(`${folder}/size-${size}`);
				ok(got?.equals(bytes), `${size} bytes came back as ${got?.length}`);
				strictEqual((await store.head(`${folder}/size-${size}`))?.sizeBytes, size);
			}
		},
	},
	{
		title: 'what is not there is undefined, and deleting it is done',
		run: async (store, folder) => {
			strictEqual(await store.get(`${folder}/none`), undefined);
			strictEqual(await store.head(`${folder}/none`), undefined);
			await store.delete(`${folder}/none`);
			await store.delete(`${folder}/none/deeper`);
			deepStrictEqual(await keys(store, `${folder}/none`), []);
		},
	},
	{
		title: 'an object that is put again is the new one, and one that is deleted is gone',
		run: async (store, folder) => {
			const key = `${folder}/again`;
			await store.put(key, Buffer.from('one, longer'));
			await store.put(key, Buffer.from('two'));
			strictEqual(String(await store.get(key)), 'two');
			await store.delete(key);
			strictEqual(await store.get(key), undefined);
			deepStrictEqual(await keys(store, key), []);
			await store.put(key, Buffer.from('three'));
			strictEqual(String(await store.get(key)), 'three');
		},
	},
	{
		title: 'a put if absent: the first is stored, every later one finds it and changes nothing; or it is refused where it is not atomic',
		run: async (store, folder) => {
			const key = `${folder}/absent`;
			if (!store.canPutIfAbsent) {
				await rejects(store.put(key, Buffer.from('x'), { ifAbsent: true }), storeError('invalid'));
				strictEqual(await store.get(key), undefined);
				return;
			}
			const results = await Promise.all(
				Array.from({ length: 8 }, (_, index) => store.put(key, Buffer.from(`writer ${index}`), { ifAbsent: true })),
			);
			deepStrictEqual(results.toSorted(), [...Array.from({ length: 7 }, () => 'exists'), 'stored']);
			strictEqual(String(await store.get(key)), `writer ${results.indexOf('stored')}`);
			strictEqual(await store.put(key, Buffer.from('late'), { ifAbsent: true }), 'exists');
			strictEqual(String(await store.get(key)), `writer ${results.indexOf('stored')}`);
			await store.delete(key);
			strictEqual(await store.put(key, Buffer.from('new'), { ifAbsent: true }), 'stored');
		},
	},
	{
		title: 'a list is whole, ascending by the bytes of the keys, and takes any beginning of a key',
		run: async (store, folder) => {
			const names = ['a-b', 'a.b', 'a/b-c', 'a/b.c', 'a/b/c', 'a/b0', 'a0', 'aa', 'B', 'b', '0', 'z/z/z/z', '_', '-'];
			for (const name of names.toReversed()) await store.put(`${folder}/list/${name}`, Buffer.from(name));
			const sorted = names.toSorted((a, b) => (a < b ? -1 : 1));
			const listed = await infos(store, `${folder}/list/`);
			deepStrictEqual(
				listed.map(({ key }) => key),
				sorted.map((name) => `${folder}/list/${name}`),
			);
			deepStrictEqual(
				listed.map(({ sizeBytes }) => sizeBytes),
				sorted.map((name) => name.length),
			);
			for (const prefix of ['a', 'a/', 'a/b', 'a-', 'z/z', 'none', 'a/b/c', 'a/b/c/']) {
				deepStrictEqual(
					await keys(store, `${folder}/list/${prefix}`),
					sorted.filter((name) => name.startsWith(prefix)).map((name) => `${folder}/list/${name}`),
					prefix,
				);
			}
			for (const { key, modifiedMs } of listed)
				ok(Math.abs(store.nowMs() - modifiedMs) < 120_000, `${key} is of ${modifiedMs}, now is ${store.nowMs()}`);
		},
	},
	{
		title: 'what is deleted while a list runs disturbs nobody',
		run: async (store, folder) => {
			const names = Array.from({ length: 20 }, (_, index) => `${folder}/sweep/${String(index).padStart(2, '0')}/x`);
			await Promise.all(names.map((name) => store.put(name, Buffer.from(name))));
			const seen: string[] = [];
			for await (const { key } of store.list(`${folder}/sweep/`)) {
				seen.push(key);
				await store.delete(key);
			}
			deepStrictEqual(seen, names);
			deepStrictEqual(await keys(store, `${folder}/sweep/`), []);
		},
	},
	{
		title: 'what is no key is refused by every operation',
		run: async (store) => {
			for (const key of keysThatAreNone) {
				await rejects(store.put(key, Buffer.from('x')), storeError('invalid'), JSON.stringify(key));
				await rejects(store.get(key), storeError('invalid'), JSON.stringify(key));
				await rejects(store.head(key), storeError('invalid'), JSON.stringify(key));
				await rejects(store.delete(key), storeError('invalid'), JSON.stringify(key));
				if (key === '' || key === 'a/') continue;
				await rejects(keys(store, key), storeError('invalid'), JSON.stringify(key));
			}
		},
	},
	{
		title: 'readers beside writers of one key see one of its values, whole',
		run: async (store, folder) => {
			const key = `${folder}/torn`;
			const value = (index: number): Buffer => Buffer.alloc(300_000, index);
			await store.put(key, value(0));
			const writes = { underWay: true };
			const read = async (): Promise<void> => {
				while (writes.underWay) {
					const got = await store.get(key);
					ok(got !== undefined, 'it was gone');
					ok(got.length === 300_000 && got.equals(value(got[0] ?? 0)), 'a mixture');
				}
			};
			const write = async (): Promise<void> => {
				for (let index = 1; index <= 10; index++) await store.put(key, value(index));
			};
			const writer = write().finally(() => {
				writes.underWay = false;
			});
			await Promise.all([writer, read(), read()]);
			ok((await store.get(key))?.equals(value(10)));
		},
	},
	{
		title: 'a signal that was given ends an operation with its reason, and nothing is stored',
		run: async (store, folder) => {
			const reason = new Error('enough');
			const signal = AbortSignal.abort(reason);
			const key = `${folder}/aborted`;
			await rejects(store.put(key, Buffer.from('x'), { signal }), reason);
			await rejects(store.get(key, { signal }), reason);
			await rejects(store.head(key, { signal }), reason);
			await rejects(store.delete(key, { signal }), reason);
			await rejects(async () => {
				for await (const info of store.list(folder, { signal })) ok(info);
			}, reason);
			strictEqual(await store.get(key), undefined);
		},
	},
	{
		title: 'cleaning up uploads leaves objects alone',
		run: async (store, folder) => {
			await store.put(`${folder}/kept`, Buffer.alloc(9 << 20, 7));
			await store.cleanUploads(0);
			strictEqual((await store.get(`${folder}/kept`))?.length, 9 << 20);
		},
	},
];
