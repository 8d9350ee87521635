import test from 'ava';
import { readFully, writeEachFully, writeFully, writeFullySync, writevFully } from '../../src/os/transfer.ts';
import { ScriptedFile } from './scripted-file.ts';

const data = Buffer.from(Array.from({ length: 100 }, (_, index) => index + 1));

test('writeFully goes on where a short write ended', async (t) => {
	const file = new ScriptedFile(200, [1, 40, 2]);
	await writeFully(file, data, 50);
	t.deepEqual(file.bytes.subarray(50, 150), data);
	t.deepEqual(
		file.calls.map(({ positionBytes, lengthBytes }) => [positionBytes, lengthBytes]),
		[
			[50, 100],
			[51, 99],
			[91, 59],
			[93, 57],
		],
	);
});

test('writeFullySync goes on where a short write ended', (t) => {
	const file = new ScriptedFile(200, [33, 33]);
	writeFullySync(file, data, 7);
	t.deepEqual(file.bytes.subarray(7, 107), data);
	t.is(file.calls.length, 3);
});

test('a write that makes no progress is EIO and not a loop', async (t) => {
	await t.throwsAsync(writeFully(new ScriptedFile(200, [10, 0]), data, 0), { code: 'EIO' });
	t.throws(() => writeFullySync(new ScriptedFile(200, [0]), data, 0), { code: 'EIO' });
	await t.throwsAsync(writevFully(new ScriptedFile(200, [0]), [data], 0), { code: 'EIO' });
});

test("the kernel's own error comes through with its code", async (t) => {
	await t.throwsAsync(writeFully(new ScriptedFile(200, [10, 'ENOSPC']), data, 0), { code: 'ENOSPC' });
	await t.throwsAsync(readFully(new ScriptedFile(200, [10, 'EIO']), Buffer.alloc(100), 0), { code: 'EIO' });
});

test('writevFully ends in the middle of a part and goes on there, and drops what was written', async (t) => {
	const parts = [data.subarray(0, 10), data.subarray(10, 11), data.subarray(11, 60), data.subarray(60)];
	for (let first = 1; first <= 100; first++) {
		const file = new ScriptedFile(200, [first, 3]);
		await writevFully(file, parts, 20);
		t.deepEqual(file.bytes.subarray(20, 120), data, `${first} bytes, then 3`);
	}
});

test('writevFully hands over at most 1,024 parts at once (IOV_MAX)', async (t) => {
	const parts = Array.from({ length: 2500 }, (_, index) => Buffer.of(index % 251));
	const file = new ScriptedFile(2500, [1024, 100]);
	await writevFully(file, parts, 0);
	t.deepEqual(file.bytes, Buffer.concat(parts));
	t.true(file.calls.every((call) => call.parts <= 1024));
});

test('readFully reads on after a short read, and zeros stand behind the end of the file', async (t) => {
	const file = new ScriptedFile(60, [1, 20]);
	file.bytes.fill(7);
	const target = Buffer.alloc(100, 0xee);
	t.is(await readFully(file, target, 10), 50);
	t.deepEqual(target, Buffer.concat([Buffer.alloc(50, 7), Buffer.alloc(50)]));
	t.is(await readFully(file, target, 1000), 0);
	t.deepEqual(target, Buffer.alloc(100));
});

test('writeEachFully writes each source whole to its place on a disk that has no such call', async (t) => {
	const file = new ScriptedFile(100, [2, 1]);
	await writeEachFully(file, [data.subarray(0, 5), data.subarray(5, 9)], [50, 3]);
	t.deepEqual(file.bytes.subarray(50, 55), data.subarray(0, 5));
	t.deepEqual(file.bytes.subarray(3, 7), data.subarray(5, 9));
});
