import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { VolumeView } from '../../src/admin/schemas.ts';
import { hasQemuImg, noise, qemuImg } from '../archive/stream/image-file.ts';
import { temporaryDirectory } from '../temporary.ts';
import { launcher, serve } from './process.ts';

const mib = 2 ** 20;

/** A line of the shell in a folder; `blockport` is ours. */
function shell(line: string, cwd: string): Promise<{ code: number; stderr: string }> {
	return new Promise((resolve) => {
		execFile('sh', ['-c', `blockport() { ${launcher} "$@"; }; ${line}`], { cwd }, (error, _stdout, stderr) =>
			resolve({ code: error === null ? 0 : Number(error.code), stderr }),
		);
	});
}

/** 24 MiB with holes: some data at the front, across the border of two parts that are sent, and in the last pages. */
function content(): Buffer {
	const bytes = Buffer.alloc(24 * mib);
	noise(200_000, 1).copy(bytes, 1000);
	noise(3 * mib, 2).copy(bytes, 7 * mib);
	noise(5000, 3).copy(bytes, bytes.length - 5000);
	return bytes;
}

test('an image goes in and comes out: raw with holes and qcow2, by file and by pipe', async (t) => {
	const folder = await temporaryDirectory(t);
	const { run, json, dataDirectory } = await serve(t, folder, '--log-level', 'error');
	const bytes = content();
	const raw = join(folder, 'in.raw');
	await writeFile(raw, bytes);
	const sha256 = createHash('sha256').update(bytes).digest('hex');
	const imported = await run('volume', 'import', 'data', raw, '--sha256', sha256);
	t.regex(imported.stdout, /^volume data imported: 24 MiB, uuid [0-9a-f-]{36}\n$/, imported.stderr);
	t.is((await run('snapshot', 'create', 'data', 'one')).code, 0);

	const out = join(folder, 'out.raw');
	t.is((await run('snapshot', 'export', 'data@one', out)).stdout, `snapshot data@one exported: ${out}, 24 MiB\n`);
	t.true((await readFile(out)).equals(bytes));
	t.true((await stat(out)).blocks * 512 < 6 * mib);
	const again = await run('snapshot', 'export', 'data@one', out);
	t.is(again.code, 1);
	t.regex(again.stderr, /there already: replace it with --force/);
	await writeFile(out, 'something else');
	t.is((await run('snapshot', 'export', 'data@one', out, '--force')).code, 0);
	t.true((await readFile(out)).equals(bytes));

	const where = `--data-dir ${dataDirectory}`;
	t.like(await shell(`blockport snapshot export data@one - ${where} > pipe.raw`, folder), { code: 0, stderr: '' });
	t.true((await readFile(join(folder, 'pipe.raw'))).equals(bytes));
	t.is((await run('snapshot', 'export', 'data@one', join(folder, 'out.qcow2'), '--format', 'qcow2')).code, 0);
	t.like(await shell(`blockport snapshot export data@one - --format qcow2 ${where} | cat > pipe.qcow2`, folder), { code: 0, stderr: '' });
	t.true((await readFile(join(folder, 'pipe.qcow2'))).equals(await readFile(join(folder, 'out.qcow2'))));
	if (await hasQemuImg()) {
		t.regex(await qemuImg('check', join(folder, 'out.qcow2')), /No errors/);
		await qemuImg('compare', join(folder, 'out.qcow2'), raw);
	} else t.log('qemu-img is not installed');

	// By a pipe, with a size of its own; by redirection a qcow2 image can be read too.
	t.is((await shell(`cat in.raw | blockport volume import piped - --size 32M --block-size 4096 ${where}`, folder)).code, 0);
	t.is((await shell(`blockport volume import redirected - ${where} < out.qcow2`, folder)).code, 0);
	t.is((await shell(`mkfifo fifo; cat in.raw > fifo & blockport volume import fifo fifo --size 24M ${where}`, folder)).code, 0);
	t.like(await shell(`blockport volume import closed - --size 24M ${where} <&-`, folder), {
		code: 2,
		stderr: 'blockport: Nothing came, which is no image.\n',
	});
	t.like(await json<VolumeView>('volume', 'show', 'piped'), { sizeBytes: 32 * mib, blockSize: 4096 });
	t.is((await run('snapshot', 'create', 'piped,redirected,fifo', 'one')).code, 0);
	for (const name of ['piped', 'redirected', 'fifo']) {
		const file = join(folder, `${name}.raw`);
		t.is((await run('snapshot', 'export', `${name}@one`, file)).code, 0);
		t.true((await readFile(file)).subarray(0, bytes.length).equals(bytes), name);
	}
	t.deepEqual(
		(await readdir(folder)).filter((name) => name.endsWith('.part')),
		[],
	);
	// Whoever reads the pipe goes away.
	const head = await shell(`blockport snapshot export data@one - ${where} | head -c 100 > head; echo`, folder);
	t.is(head.code, 0);
	t.is((await stat(join(folder, 'head'))).size, 100);
});

test('import: what cannot be is refused with its mend and leaves nothing; overwrite keeps the old volume', async (t) => {
	const folder = await temporaryDirectory(t);
	const { run, json, dataDirectory } = await serve(t, folder, '--log-level', 'error');
	const where = `--data-dir ${dataDirectory}`;
	const raw = join(folder, 'odd.raw');
	await writeFile(raw, noise(10_000, 1));
	const refused = async (code: number, message: RegExp, ...words: string[]): Promise<void> => {
		const result = await run('volume', 'import', ...words);
		t.is(result.code, code, result.stderr);
		t.regex(result.stderr, message);
		t.regex(result.stderr, /^blockport: [^\n]+\n$/);
	};
	await refused(2, /say --size 12288; what is behind the image is zeros/, 'data', raw);
	await refused(2, /nothing is cut off/, 'data', raw, '--size', '4096');
	await refused(1, /There is no file/, 'data', join(folder, 'none'));
	await refused(2, /is no file/, 'data', folder);
	await refused(2, /--keep-as is for --overwrite/, 'data', raw, '--size', '12K', '--keep-as', 'x');
	await refused(1, /another SHA-256/, 'data', raw, '--size', '12K', '--sha256', '0'.repeat(64));
	await refused(1, /is no qcow2 image/, 'data', raw, '--format', 'qcow2');
	t.is((await shell(`echo x | blockport volume import data - ${where}`, folder)).code, 2);
	const long = await shell(`cat odd.raw | blockport volume import data - --size 8K ${where}`, folder);
	t.is(long.code, 2);
	t.regex(long.stderr, /longer than 8 KiB/);
	await writeFile(join(folder, 'magic'), Buffer.concat([Buffer.from('514649fb00000003', 'hex'), Buffer.alloc(200)]));
	const pipe = await shell(`cat magic | blockport volume import data - --size 8K ${where}`, folder);
	t.regex(pipe.stderr, /qcow2 image is read here and there/);
	t.deepEqual(await readdir(join(dataDirectory, 'volumes')), []);

	t.is((await run('volume', 'import', 'data', raw, '--size', '12K')).code, 0);
	await refused(1, /There is a volume data already/, 'data', raw, '--size', '12K');
	const bytes = noise(8192, 2);
	await writeFile(join(folder, 'new.raw'), bytes);
	const replaced = await json<VolumeView & { keepAs: string }>('volume', 'import', 'data', join(folder, 'new.raw'), '--overwrite');
	t.regex(replaced.keepAs, /^data-before-\d{8}t\d{6}z$/);
	await run('snapshot', 'create', `data,${replaced.keepAs}`, 's');
	await run('snapshot', 'export', 'data@s', join(folder, 'a'));
	await run('snapshot', 'export', `${replaced.keepAs}@s`, join(folder, 'b'));
	t.true((await readFile(join(folder, 'a'))).equals(bytes));
	t.true((await readFile(join(folder, 'b'))).equals(Buffer.concat([noise(10_000, 1), Buffer.alloc(2288)])));
});
