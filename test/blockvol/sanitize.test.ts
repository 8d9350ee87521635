import test from 'ava';
import { beginSanitize, exitSanitizeFailure, sanitize, SanitizeStopped, SanitizeUnfinished } from '../../src/blockvol/sanitize.ts';
import { firstPattern, inverted, repeated } from '../../src/blockvol/sanitize-pattern.ts';
import { decodeSanitize, encodeSanitize, type SanitizeOrder } from '../../src/blockvol/sanitize-record.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { FileDisk } from '../../src/os/file-disk.ts';
import { silent } from '../../src/os/logger.ts';
import { directory, keepSecret, mustNotTell, openSecret, shows } from '../simulation/sanitize.ts';
import { temporaryDirectory } from '../temporary.ts';
import { makeVolume, openVolume, page } from './volume-fixture.ts';

const blockErase: SanitizeOrder = { method: 'blockErase', passes: 1, invert: false, pattern: Buffer.alloc(1), mayExitFailure: false };
const overwrite: SanitizeOrder = { method: 'overwrite', passes: 2, invert: true, pattern: Buffer.from('blank'), mayExitFailure: true };

test('each pass writes what SBC-4 says: the pattern from the beginning of each block on, inverted in turn so that the last one is as it is', (t) => {
	const last = repeated(Buffer.from('abc'), 8, 24);
	t.is(last.toString(), 'abcabcab'.repeat(3));
	t.deepEqual(firstPattern(last, 3, true), last);
	t.deepEqual(firstPattern(last, 2, true), inverted(last));
	t.deepEqual(firstPattern(last, 2, false), last);
	t.deepEqual(inverted(Buffer.from([0x00, 0xff, 0x5a])), Buffer.from([0xff, 0x00, 0xa5]));
});

test('each pass overwrites every page that takes up space, and the log', async (t) => {
	const { disk } = await keepSecret(5);
	await beginSanitize(disk, directory, { ...overwrite, passes: 3 });
	const bytes = new Map<string, number>();
	disk.onOperation = ({ kind, path, lengthBytes }) => {
		if (kind === 'write') bytes.set(path, (bytes.get(path) ?? 0) + lengthBytes);
	};
	const data = `${directory}/layers/1.data`;
	const file = await disk.open(data, 'readOnly');
	const allocated = await file.allocatedBytes();
	await file.close();
	const moved: number[] = [];
	await sanitize(disk, directory, { moved: (done) => moved.push(done) });
	t.true((bytes.get(data) ?? 0) >= 3 * allocated, `${bytes.get(data)} of ${allocated}`);
	for (const [path, written] of bytes) if (path.includes('/wal/')) t.true(written >= 4 * 64 * 1024, path);
	t.true(moved.every((done, at) => done <= 1 && (at === 0 || done >= moved[at - 1]!)));
	t.is(moved.at(-1), 1);
});

test('what fails stays failed, in words and over openings, until it is sanitized again or, where the order allows that, made empty', async (t) => {
	for (const kind of ['write', 'datasync'] as const) {
		for (const order of [blockErase, overwrite]) {
			const { disk, needles } = await keepSecret(9);
			await beginSanitize(disk, directory, order);
			disk.faultRule = (operation) =>
				operation.kind === kind && operation.path.endsWith('.data') ? { kind: 'error', code: 'EIO' } : undefined;
			await t.throwsAsync(sanitize(disk, directory), { instanceOf: VolumeFault, message: /EIO/ });
			disk.faultRule = undefined;
			const left = disk.surviving(1);
			const error = await t.throwsAsync(openSecret(left), { instanceOf: SanitizeUnfinished, message: /failed/ });
			t.true(error?.order.hasFailed);
			t.is((await checkVolume(left, directory)).length, 1);
			if (order.mayExitFailure) {
				const other = disk.surviving(2);
				await exitSanitizeFailure(other, directory);
				const volume = await openSecret(other);
				t.true(await shows(volume, (_page, bytes) => bytes.every((byte) => byte === 0)));
				await volume.close();
				t.deepEqual(await checkVolume(other, directory), []);
			} else await t.throwsAsync(exitSanitizeFailure(left, directory), { instanceOf: VolumeUsageError });
			await beginSanitize(left, directory, blockErase);
			await sanitize(left, directory);
			await mustNotTell(left, needles, 'sanitized');
			await (await openSecret(left)).close();
		}
	}
});

test('an order cannot be exited before it has failed, nor carried out where there is none', async (t) => {
	const { disk } = await keepSecret(3);
	await t.throwsAsync(sanitize(disk, directory), { instanceOf: VolumeUsageError });
	await t.throwsAsync(exitSanitizeFailure(disk, directory), { instanceOf: VolumeUsageError });
	await beginSanitize(disk, directory, overwrite);
	await t.throwsAsync(exitSanitizeFailure(disk, directory), { instanceOf: VolumeUsageError });
});

test('the signal ends it between two pieces, and the order stays', async (t) => {
	const { disk } = await keepSecret(4);
	await beginSanitize(disk, directory, overwrite);
	const abort = new AbortController();
	const stopped = sanitize(disk, directory, { signal: abort.signal, moved: () => abort.abort() });
	await t.throwsAsync(stopped, { instanceOf: SanitizeStopped });
	const error = await t.throwsAsync(openSecret(disk), { instanceOf: SanitizeUnfinished });
	t.false(error?.order.hasFailed);
	await sanitize(disk, directory);
	await (await openSecret(disk)).close();
});

test('refused, and nothing changed: snapshots, a clone that shares, a hold on the log, a volume that was not closed', async (t) => {
	const disk = new FileDisk();
	const folder = await temporaryDirectory(t);
	const path = `${folder}/volume`;
	await makeVolume(disk, path);
	const change = async (work: (volume: Volume) => Promise<unknown>): Promise<void> => {
		const volume = await openVolume(disk, path);
		await work(volume);
		await volume.close();
	};
	const isRefused = async (words: RegExp): Promise<void> => {
		await t.throwsAsync(beginSanitize(disk, path, blockErase), { instanceOf: VolumeUsageError, message: words });
		await (await openVolume(disk, path)).close();
	};
	await change((volume) => volume.holdLog({ name: 'replica', fromLSN: 0, budgetBytes: page }));
	await isRefused(/held for replica/);
	await change((volume) => volume.releaseLog('replica'));
	await change((volume) => volume.createSnapshot('monday'));
	await isRefused(/snapshots.*monday/);
	await change(async (volume) => {
		await Volume.clone(disk, volume, 'monday', `${folder}/clone`, '2f0e9f5c-5b1d-4a6e-9a57-0d6c1f6f3b02');
		await volume.deleteSnapshot('monday');
	});
	await isRefused(/shares what it holds/);
	await t.throwsAsync(beginSanitize(disk, `${folder}/clone`, blockErase), { message: /shares what it holds/ });
	const fetched = `${folder}/fetched`;
	await makeVolume(disk, fetched);
	await (await disk.open(`${fetched}/remote`, 'create')).close();
	await t.throwsAsync(beginSanitize(disk, fetched, blockErase), { instanceOf: VolumeUsageError, message: /fetched from an archive/ });
	const open = await openVolume(disk, path);
	await t.throwsAsync(beginSanitize(disk, path, blockErase), { message: /good order/ });
	await open.close();
});

test('on the kernel’s files: the space of a block erase comes back, and files with no bytes of it are left', async (t) => {
	const disk = new FileDisk();
	const path = `${await temporaryDirectory(t)}/volume`;
	await makeVolume(disk, path);
	const volume = await openVolume(disk, path);
	await new Promise<void>((resolve) => volume.write(0, Buffer.alloc(16 * page, 'secret'), true, { complete: () => resolve() }));
	await volume.close();
	await beginSanitize(disk, path, blockErase);
	await t.throwsAsync(Volume.open(disk, path, { log: silent }), { instanceOf: SanitizeUnfinished });
	await sanitize(disk, path);
	t.deepEqual(await disk.list(`${path}/layers`), ['1.map']);
	t.deepEqual(await checkVolume(disk, path), []);
	const again = await openVolume(disk, path);
	t.is(await again.allocatedBytes(), 0);
	await again.close();
});

test('once it has ended, no damage to a slot of the superblock brings the order back', async (t) => {
	for (const order of [blockErase, overwrite]) {
		const { disk } = await keepSecret(6);
		await beginSanitize(disk, directory, order);
		await sanitize(disk, directory);
		for (const slot of [0, 1]) {
			const damaged = disk.killed(slot);
			damaged.flipBit(`${directory}/superblock`, slot * 65_536 + 20, 0);
			await t.notThrowsAsync(async () => (await openSecret(damaged)).close());
		}
	}
});

test('an order in the superblock: what is encoded is decoded, and what cannot be is refused', (t) => {
	const order = { ...overwrite, hasFailed: true };
	t.deepEqual(decodeSanitize(encodeSanitize(order)), { ...order, pattern: Uint8Array.from(order.pattern) });
	t.throws(() => encodeSanitize({ ...order, passes: 32 }), { instanceOf: RangeError });
	t.throws(() => encodeSanitize({ ...order, pattern: Buffer.alloc(4097) }), { instanceOf: RangeError });
	const refused = (encoded: Buffer, why: RegExp): void => {
		const decoded = decodeSanitize(encoded);
		t.regex(typeof decoded === 'string' ? decoded : '', why);
	};
	const bytes = encodeSanitize(order);
	refused(bytes.subarray(0, -1), /length/);
	refused(bytes.subarray(0, 4), /length/);
	bytes[0] = 9;
	refused(bytes, /no method/);
	bytes[0] = 1;
	bytes[1] = 0;
	refused(bytes, /0 passes/);
});
