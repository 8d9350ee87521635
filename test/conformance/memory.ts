/**
 * Memory under large writes: 32 outstanding writes of 4 MiB from one session, and 8 sessions of 8 each. The server's RSS grows by at most 96 MiB over
 * its idle figure and stays within 192 MiB.
 *
 *     node test/conformance/memory.ts        MEMORY_SECONDS: length of each load (60)
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { runLoad } from '../../bench/load.ts';
import { check, expect, finish } from './checks.ts';
import { inFolder, makeServer } from './servers/choose.ts';

const seconds = Number(process.env.MEMORY_SECONDS ?? '60');
const mebibyte = 1024 * 1024;
const growthMaxBytes = 96 * mebibyte;
const rssMaxBytes = 192 * mebibyte;
const sampleMs = 100;
const target = 'iqn.2026-11.dev.blockport.test:memory';

const inMiB = (bytes: number): string => `${Math.round(bytes / mebibyte)} MiB`;

async function underLoad(sessions: number, depth: number): Promise<string> {
	let report = '';
	await inFolder('memory', async (folder, started) => {
		const data = join(folder, 'data');
		await mkdir(data);
		const server = makeServer({ folder: data, initiators: [], units: [{ target, lun: 0, sizeBytes: 4096 * mebibyte }] });
		started.push(server);
		await server.start();
		// Configured by CLI commands so far: from a fresh start the idle figure is the server's alone.
		await server.stop();
		await server.start();
		await pause(2000);
		const idleBytes = server.process.rssBytes();
		let peakBytes = 0;
		const sampler = setInterval(() => {
			peakBytes = Math.max(peakBytes, server.process.rssBytes());
		}, sampleMs);
		const load = await runLoad({
			protocol: 'iscsi',
			port: server.port,
			target,
			unit: server.units[0]!.lun,
			seconds,
			warmUpSeconds: 0,
			rangeBytes: 0,
			shape: { op: 'write', sizeBytes: 4 * mebibyte, depth, lanes: sessions, pattern: 'random', flushEvery: 0 },
		}).finally(() => clearInterval(sampler));
		// VmHWM is the kernel's own peak: what happened between two samples is in it.
		peakBytes = Math.max(peakBytes, server.process.peakRSSBytes());
		report = `idle ${inMiB(idleBytes)}, peak ${inMiB(peakBytes)}, growth ${inMiB(peakBytes - idleBytes)}; ${Math.round((load.ops * 4) / load.seconds)} MiB/s`;
		expect(load.ops > seconds, `hardly anything was written: ${report}`);
		expect(peakBytes - idleBytes <= growthMaxBytes, `grew by more than ${inMiB(growthMaxBytes)}: ${report}`);
		expect(peakBytes <= rssMaxBytes, `more than ${inMiB(rssMaxBytes)}: ${report}`);
	});
	return report;
}

await check(`one session, 32 outstanding writes of 4 MiB, ${seconds} s: RSS stays in its bounds`, async () => await underLoad(1, 32));
await check(`8 sessions of 8 outstanding writes of 4 MiB, ${seconds} s: RSS stays in its bounds`, async () => await underLoad(8, 8));
finish();
