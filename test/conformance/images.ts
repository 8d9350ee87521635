/**
 * Images that come in and go out, judged by qemu-img: convert, compare and check both ways, of a sparse and a dense disk; the appliance and its clients killed in the middle of an export and
 * of an import, which then go on or leave nothing.
 *
 *     node test/conformance/images.ts         IMAGES_MIB: size of the disks (1024)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ApiClient } from '../../src/cli/api-client.ts';
import { Upload } from '../../src/cli/stream-upload.ts';
import { check, expect, finish } from './checks.ts';
import { Blockport } from './servers/blockport.ts';
import { inFolder } from './servers/choose.ts';
import { run } from './servers/server-process.ts';

const sizeMiB = Number(process.env['IMAGES_MIB'] ?? '1024');
const mebibyte = 1024 * 1024;
const launcher = join(import.meta.dirname, '../../bin/blockport');

/** Random bytes in some of its 4 MiB pieces. */
async function image(path: string, hasData: (piece: number) => boolean): Promise<void> {
	const file = await open(path, 'wx');
	const piece = Buffer.alloc(4 * mebibyte);
	await file.truncate(sizeMiB * mebibyte);
	for (let index = 0; index < sizeMiB / 4; index++) {
		if (!hasData(index)) continue;
		randomFillSync(piece);
		await file.write(piece, 0, piece.length, index * piece.length);
	}
	await file.close();
}

function rate(milliseconds: number): string {
	return `${Math.round(sizeMiB / (milliseconds / 1000))} MiB/s`;
}

async function timed(action: () => Promise<unknown>): Promise<string> {
	const startMs = performance.now();
	await action();
	return rate(performance.now() - startMs);
}

await inFolder('images', async (folder, started) => {
	const data = join(folder, 'data');
	await mkdir(data);
	const server = new Blockport({ folder: data, units: [], initiators: [] });
	started.push(server);
	await server.start();
	const at = (name: string): string => join(folder, name);
	for (const [name, hasData] of [
		['sparse', (piece: number) => piece % 16 === 3 || piece === sizeMiB / 4 - 1],
		['dense', () => true],
	] as const) {
		const raw = at(`${name}.raw`);
		await image(raw, hasData);
		await check(
			`${name} disk of ${sizeMiB} MiB: raw in, qcow2 and raw out; qemu-img finds no error, no leak and the same bytes`,
			async () => {
				const into = await timed(() => server.cli('volume', 'import', name, raw));
				await server.cli('snapshot', 'create', name, 'one');
				const out = await timed(() => server.cli('snapshot', 'export', `${name}@one`, at('out.raw'), '--force'));
				const qcow2 = await timed(() => server.cli('snapshot', 'export', `${name}@one`, at('out.qcow2'), '--format', 'qcow2', '--force'));
				const found = await run('qemu-img', ['check', '-f', 'qcow2', at('out.qcow2')]);
				expect(found.includes('No errors were found'), found);
				await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', at('out.qcow2'), raw]);
				await run('cmp', [at('out.raw'), raw]);
				const blocks = (await stat(at('out.raw'))).blocks * 512;
				expect(name === 'dense' || blocks <= (sizeMiB / 4) * mebibyte, `the raw file takes ${blocks} bytes`);
				await rm(at('out.raw'));
				return `import ${into}, export raw ${out}, qcow2 ${qcow2}`;
			},
		);
		await check(`${name} disk: what qemu-img makes of our image, compressed and plain, comes in again, bit for bit`, async () => {
			for (const [options, more] of [
				['compat=0.10', []],
				['compat=1.1,cluster_size=2M', []],
				['compat=1.1', ['-c']],
				['compat=1.1,compression_type=zstd', ['-c']],
			] as const) {
				await run('qemu-img', ['convert', '-O', 'qcow2', '-o', options, ...more, at('out.qcow2'), at('again.qcow2')]);
				await server.cli('volume', 'import', 'again', at('again.qcow2'));
				await server.cli('snapshot', 'create', 'again', 'one');
				await server.cli('snapshot', 'export', 'again@one', at('again.raw'));
				await run('cmp', [at('again.raw'), raw]);
				await rm(at('again.raw'));
				await server.cli('volume', 'delete', 'again', '--yes');
			}
			await rm(at('again.qcow2'));
		});
	}
	await killed(server, folder);
	await check('a clean stop ends with exit code 0', async () => {
		const how = await server.stop();
		expect(how === 'exit code 0', `it ended with ${how}:\n${server.process.output}`);
	});
});
finish();

/** With the dense disk and its snapshot. */
async function killed(server: Blockport, folder: string): Promise<void> {
	const at = (name: string): string => join(folder, name);
	const volumes = async (): Promise<number> => (await readdir(join(server.folder, 'volumes'))).length;
	const client = new ApiClient({ dataDir: server.folder });
	const start = (...words: string[]): ChildProcess =>
		spawn(launcher, [...words, '--data-dir', server.folder], { stdio: ['ignore', 'ignore', 'pipe'] });

	for (const format of ['raw', 'qcow2']) {
		await check(
			`export of ${format}: the client is killed in the middle and --resume goes on; the appliance is killed and the export waits for it`,
			async () => {
				const words = ['snapshot', 'export', 'dense@one', at('cut'), '--format', format];
				const first = start(...words);
				const part = await growing(folder, 'cut.', 40 * mebibyte);
				await end(first);
				const before = (await stat(join(folder, part))).size;
				const { fetchedBytes } = JSON.parse(await server.cli(...words, '--resume', '--json')) as { fetchedBytes: number };
				const whole = (await stat(at('cut'))).size;
				expect(
					before >= 40 * mebibyte && fetchedBytes === whole - before,
					`${fetchedBytes} of ${whole} bytes fetched, ${before} were there`,
				);
				await run('qemu-img', ['compare', '-f', format, '-F', 'raw', at('cut'), at('dense.raw')]);
				await rm(at('cut'));

				const second = start(...words);
				await growing(folder, 'cut.', 40 * mebibyte);
				await server.kill();
				await restarted(server);
				expect((await exitCode(second)) === 0, 'the export did not outlive the death of the appliance');
				await run('qemu-img', ['compare', '-f', format, '-F', 'raw', at('cut'), at('dense.raw')]);
				await rm(at('cut'));
				return `${Math.round(before / mebibyte)} MiB were there`;
			},
		);
	}
	await check('import: the client is killed in the middle and --resume goes on; nobody sees the volume before', async () => {
		const words = ['volume', 'import', 'cut', at('dense.raw')];
		const first = start(...words);
		const came = await received(client, 'cut', 40 * mebibyte);
		await end(first);
		const { volumes: seen } = await client.get<{ volumes: { name: string }[] }>('/v1/volumes');
		expect(!seen.some(({ name }) => name === 'cut'), 'the volume is there');
		const { importedBytes } = JSON.parse(await server.cli(...words, '--resume', '--json')) as { importedBytes: number };
		expect(importedBytes === sizeMiB * mebibyte, `${importedBytes} bytes`);
		await same(server, 'cut', at('dense.raw'), at('cut.out'));
		await server.cli('volume', 'delete', 'cut', '--yes');
		return `${Math.round(came / mebibyte)} MiB were there`;
	});
	await check('import: the appliance is killed in the middle: nothing is left, the client says so, and it begins anew', async () => {
		const before = await volumes();
		const words = ['volume', 'import', 'cut', at('dense.raw')];
		const first = start(...words);
		let said = '';
		first.stderr?.on('data', (text: Buffer) => (said += text.toString()));
		await received(client, 'cut', 40 * mebibyte);
		expect((await volumes()) === before + 1, 'the directory is not there');
		await server.kill();
		await restarted(server);
		expect((await volumes()) === before, 'the directory is there still');
		expect((await exitCode(first)) === 1 && /There is no import/.test(said), said);
		await server.cli(...words, '--resume');
		await same(server, 'cut', at('dense.raw'), at('cut.out'));
		await server.cli('volume', 'delete', 'cut', '--yes');
		const findings = await server.cli('volume', 'list');
		expect(!findings.includes('faulted'), findings);
	});
	await check(
		'import over a volume: killed before the end the old one is there, and after it the new one, with the old beside it',
		async () => {
			await rename(at('sparse.raw'), at('new.raw'));
			const words = ['volume', 'import', 'dense', at('new.raw'), '--overwrite', '--keep-as', 'dense-old'];
			const begun = await Upload.begin(client, {
				name: 'dense',
				sizeBytes: sizeMiB * mebibyte,
				blockSize: 512,
				overwrite: { keepAs: 'dense-old' },
				source: '',
			});
			const upload = new Upload(client, begun);
			await upload.add({ lengthBytes: 8 * mebibyte, data: (await readFile(at('new.raw'))).subarray(0, 8 * mebibyte) });
			await server.kill();
			await restarted(server);
			await same(server, 'dense', at('dense.raw'), at('cut.out'), 'killed');
			await server.cli(...words);
			await server.kill();
			await restarted(server);
			await same(server, 'dense', at('new.raw'), at('cut.out'));
			await same(server, 'dense-old', at('dense.raw'), at('cut.out'), 'again');
		},
	);
}

/** A start that replays much on a busy machine takes its time. */
async function restarted(server: Blockport): Promise<void> {
	await server.spawn();
	await server.process.line(/^blockport ready/, 120_000);
}

async function same(server: Blockport, volume: string, raw: string, out: string, snapshot = 'after'): Promise<void> {
	await server.cli('snapshot', 'create', volume, snapshot);
	await server.cli('snapshot', 'export', `${volume}@${snapshot}`, out);
	await run('cmp', [out, raw]);
	await rm(out);
}

/** The name of a part file when it has grown so far. */
async function growing(folder: string, prefix: string, sizeBytes: number): Promise<string> {
	for (let round = 0; round < 6000; round++) {
		for (const name of await readdir(folder)) {
			if (name.startsWith(prefix) && name.endsWith('.part') && (await sizeOf(join(folder, name))) >= sizeBytes) return name;
		}
		await pause(10);
	}
	throw new Error('the part file did not grow');
}

async function sizeOf(path: string): Promise<number> {
	return (await stat(path).catch(() => undefined))?.size ?? 0;
}

/** How much of an import came, when it is so far. */
async function received(client: ApiClient, name: string, sizeBytes: number): Promise<number> {
	for (let round = 0; round < 6000; round++) {
		const found = await Upload.find(client, name);
		if (found !== undefined && found.offsetBytes >= sizeBytes) return found.offsetBytes;
		await pause(10);
	}
	throw new Error('the import did not go on');
}

async function end(child: ChildProcess): Promise<void> {
	const ended = exitCode(child);
	child.kill('SIGKILL');
	await ended;
}

async function exitCode(child: ChildProcess): Promise<number | null> {
	if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
	return await new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
