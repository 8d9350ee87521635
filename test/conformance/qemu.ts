/**
 * Other people's initiators: libiscsi's tools, qemu-img and qemu-io. Images survive a clean restart and kill -9; patterns with FUA, discard and
 * write zeroes read back; two targets and two LUNs of one target work at once.
 *
 *     node test/conformance/qemu.ts         QEMU_IMAGE_MIB: size of the random image (1024)
 */
import { randomFillSync } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { check, expect, finish } from './checks.ts';
import { inFolder, makeServer } from './servers/choose.ts';
import { run } from './servers/server-process.ts';
import { foreignInitiatorName, type OfferedUnit, type TargetServer } from './servers/target-server.ts';

const imageMiB = Number(process.env.QEMU_IMAGE_MIB ?? '1024');
const mebibyte = 1024 * 1024;
/** QEMU's own name when it is given no other. */
const qemuInitiatorName = 'iqn.2008-11.org.linux-kvm';
const targets = ['iqn.2026-11.dev.blockport.test:one', 'iqn.2026-11.dev.blockport.test:two'] as const;

async function randomImage(path: string, sizeMiB: number): Promise<void> {
	const file = await open(path, 'wx');
	const piece = Buffer.alloc(4 * mebibyte);
	for (let written = 0; written < sizeMiB; written += 4) {
		randomFillSync(piece);
		await file.write(piece);
	}
	await file.close();
}

await inFolder('qemu', async (folder, started) => {
	const data = join(folder, 'data');
	await mkdir(data);
	const server = makeServer({
		folder: data,
		initiators: [foreignInitiatorName, qemuInitiatorName],
		units: [
			{ target: targets[0], lun: 0, sizeBytes: imageMiB * mebibyte },
			{ target: targets[0], lun: 1, sizeBytes: 256 * mebibyte },
			{ target: targets[1], lun: 0, sizeBytes: 128 * mebibyte },
		],
	});
	started.push(server);
	await server.start();
	await tools(server);
	await images(server, folder);
	await patterns(server);
	await manyAtOnce(server, folder);
	await check('a clean stop ends with exit code 0', async () => {
		const how = await server.stop();
		expect(server.name === 'tgtd' || how === 'exit code 0', `it ended with ${how}:\n${server.process.output}`);
	});
});
finish();

function portal(server: TargetServer): string {
	return `iscsi://127.0.0.1:${server.port}`;
}

function urlOf(server: TargetServer, unit: OfferedUnit): string {
	return `${portal(server)}/${unit.target}/${unit.lun}`;
}

async function tools(server: TargetServer): Promise<void> {
	await check('iscsi-ls -s shows both targets and every LUN with its size', async () => {
		const output = await run('iscsi-ls', ['-i', foreignInitiatorName, '-s', portal(server)]);
		for (const target of targets) expect(output.includes(`Target:${target} Portal:127.0.0.1:${server.port},1`), output);
		expect((output.match(/^Lun:\d+\s+Type:DIRECT_ACCESS/gm) ?? []).length === server.units.length, output);
	});
	await check('iscsi-ls shows nothing to a stranger', async () => {
		if (server.name === 'tgtd') return;
		const output = await run('iscsi-ls', ['-i', 'iqn.2026-11.dev.blockport.test:stranger', portal(server)], { okCodes: [0, 1, 10] });
		for (const target of targets) expect(!output.includes(target), output);
	});
	for (const unit of server.units) {
		await check(`iscsi-readcapacity16 of ${unit.target}/${unit.lun}: size, block size, thin, unmapped reads zeros`, async () => {
			const output = await run('iscsi-readcapacity16', ['-i', foreignInitiatorName, urlOf(server, unit)]);
			expect(output.includes(`RETURNED LOGICAL BLOCK ADDRESS:${unit.sizeBytes / 512 - 1}`), output);
			expect(output.includes('LOGICAL BLOCK LENGTH IN BYTES:512'), output);
			expect(/LBPME:1\b/.test(output) && /LBPRZ:1\b/.test(output), output);
			expect(output.includes(`Total size:${unit.sizeBytes}`), output);
		});
	}
	await check('iscsi-inq: a direct-access device, and each supported VPD page', async () => {
		const url = urlOf(server, server.units[0]!);
		const standard = await run('iscsi-inq', ['-i', foreignInitiatorName, url]);
		expect(standard.includes('Peripheral Device Type:DIRECT_ACCESS'), standard);
		expect(/CmdQue:1/.test(standard), standard);
		const supported = await run('iscsi-inq', ['-i', foreignInitiatorName, '-e', '1', '-c', '0', url]);
		for (const page of [0x80, 0x83, 0xb0, 0xb1, 0xb2]) {
			if (server.name === 'tgtd' && page === 0xb1) continue;
			expect(
				new RegExp(`Page:${page.toString(16)}h?\\b|0x${page.toString(16)}\\b|${page.toString(16)}`, 'i').test(supported),
				`page ${page.toString(16)}h is missing:\n${supported}`,
			);
			const output = await run('iscsi-inq', ['-i', foreignInitiatorName, '-e', '1', '-c', String(page), url]);
			expect(!/failed|error/i.test(output), output);
		}
	});
	await check('the identities of three units are three', async () => {
		const all = await Promise.all(
			server.units.map(
				async (unit) => await run('iscsi-inq', ['-i', foreignInitiatorName, '-e', '1', '-c', String(0x83), urlOf(server, unit)]),
			),
		);
		expect(new Set(all).size === server.units.length, all.join('\n'));
	});
}

async function images(server: TargetServer, folder: string): Promise<void> {
	const image = join(folder, 'random.img');
	const unit = server.units[0]!;
	const url = urlOf(server, unit);
	const compare = async (): Promise<void> => {
		const output = await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, url]);
		expect(output.includes('Images are identical'), output);
	};
	await randomImage(image, imageMiB);
	await check(`qemu-img convert of ${imageMiB} MiB, SIGTERM, restart, qemu-img compare: identical`, async () => {
		await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, url]);
		await server.stop();
		await server.start();
		await compare();
	});
	await run('rm', [image]);
	await randomImage(image, imageMiB);
	await check(`qemu-img convert of ${imageMiB} MiB over it, kill -9, restart, qemu-img compare: identical`, async () => {
		await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, url]);
		await server.kill();
		await server.start();
		await compare();
	});
}

async function qemuIO(url: string, ...commands: string[]): Promise<string> {
	const output = await run('qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), url]);
	expect(!/failed|error/i.test(output), output);
	return output;
}

async function patterns(server: TargetServer): Promise<void> {
	const url = urlOf(server, server.units[1]!);
	const written = [
		'write -f -P 0x5a 0 64k',
		'write -P 0x11 64k 4M',
		'write -f -P 0x22 1536 512',
		'write -P 0x33 16M 16M',
		'write -z 17M 1M',
		'discard 20M 2M',
		'write -f -P 0x44 21M 4k',
		'flush',
	];
	const expected = [
		'read -P 0x5a 0 1536',
		'read -P 0x22 1536 512',
		'read -P 0x5a 2k 62k',
		'read -P 0x11 64k 4M',
		'read -P 0x33 16M 1M',
		'read -P 0 17M 1M',
		'read -P 0x33 18M 2M',
		'read -P 0 20M 1M',
		'read -P 0x44 21M 4k',
		'read -P 0 22016k 500k',
		'read -P 0x33 22M 10M',
		'read -P 0 32M 8M',
	];
	await check('qemu-io: patterns with FUA, discard, write zeroes and flush read back', async () => {
		await qemuIO(url, ...written, ...expected);
	});
	await check('qemu-io: the same patterns after kill -9', async () => {
		await server.kill();
		await server.start();
		await qemuIO(url, ...expected);
	});
	await check('qemu-io: the same patterns after a clean restart', async () => {
		await server.stop();
		await server.start();
		await qemuIO(url, ...expected);
	});
	await check('qemu-io: a wrong pattern is noticed', async () => {
		const output = await run('qemu-io', ['-f', 'raw', '-c', 'read -P 0x5b 0 1536', url], { okCodes: [0, 1] });
		expect(output.includes('Pattern verification failed'), output);
	});
}

async function manyAtOnce(server: TargetServer, folder: string): Promise<void> {
	const sources = server.units.map((_unit, index) => join(folder, `part${index}.img`));
	await check('two targets and two LUNs of one at once: each keeps its own image, also after kill -9', async () => {
		await Promise.all(sources.map(async (source) => await randomImage(source, 128)));
		const wide = ['-f', 'raw', '-O', 'raw'];
		await Promise.all(
			server.units.map(
				async (unit, index) => await run('qemu-img', ['convert', '-n', '-W', '-m', '8', ...wide, sources[index]!, urlOf(server, unit)]),
			),
		);
		const compareAll = async (): Promise<void> => {
			await Promise.all(
				server.units.map(async (unit, index) => {
					// A larger LUN than its image is compared over the image's length.
					const bytes = 128 * mebibyte;
					const output = await run('qemu-img', [
						'compare',
						'--image-opts',
						`driver=raw,file.driver=file,file.filename=${sources[index]!}`,
						`driver=raw,size=${bytes},file.driver=iscsi,file.transport=tcp,file.portal=127.0.0.1:${server.port},file.target=${unit.target},file.lun=${unit.lun}`,
					]);
					expect(output.includes('Images are identical'), `${unit.target}/${unit.lun}: ${output}`);
				}),
			);
		};
		await compareAll();
		await server.kill();
		await server.start();
		await compareAll();
	});
}
