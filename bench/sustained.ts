/**
 * 4 KiB random writes, 32 outstanding, for two minutes: `npm run bench:sustained -- [options]`.
 *
 *     --seconds N       (120)                               --size-mib N    of the volume, filled first (4096)
 *     --protocol P      iscsi or nvme (nvme)                --folder DIR    where the data lies (the system's temporary folder)
 *     --rate N          at most N writes a second (0: as many as there can be)
 *     --unpinned        no taskset                          --append        adds what is printed to bench/results.md
 *
 * Prints the latencies, the writes of each second and the longest time without an answer, which must not exceed 50 ms on a disk that keeps up: one that takes, written and
 * synced like a log, 2.2 times what the client wrote (each byte goes to the log and then to its place). Exit 1 when it does; 2 when that cannot be judged, because the disk does
 * not keep up (--rate helps) or the machine had no time for the client.
 */
import { parseArgs } from 'node:util';
import { untilIdle } from './cell.ts';
import { diskPace } from './disk-probe.ts';
import { histogramText } from './histogram-text.ts';
import { loadProcess } from './load-process.ts';
import { stallMs } from './meter.ts';
import { goOver } from './prefill.ts';
import { Progress } from './progress.ts';
import { appendResults, preformatted } from './results-file.ts';
import { cpusFor, inRig } from './rig.ts';

const { values } = parseArgs({
	options: {
		seconds: { type: 'string', default: '120' },
		'size-mib': { type: 'string', default: '4096' },
		protocol: { type: 'string', default: 'nvme' },
		folder: { type: 'string' },
		rate: { type: 'string', default: '0' },
		append: { type: 'boolean', default: false },
		unpinned: { type: 'boolean', default: false },
	},
});

const writeBytes = 4096;
const diskBytesPerClientByte = 2.2;
const probeSecondsMax = 5;
/** A client that was itself kept waiting so long has nothing to say about the server. */
const clientPauseMaxMs = stallMs / 2;
const seconds = Number(values.seconds);
const rate = Number(values.rate);
const volumeBytes = Number(values['size-mib']) * 1024 * 1024;
const cpus = cpusFor(!values.unpinned);

const { load, disk } = await inRig({ volumes: 1, volumeBytes, cpu: cpus.server, under: values.folder }, async (rig) => {
	const progress = new Progress(3);
	const access = values.protocol === 'iscsi' ? rig.iscsi : rig.nvme;
	progress.step(`filling ${values['size-mib']} MiB`);
	await goOver('write', { ...access, unit: access.units[0]! }, volumeBytes, (share) => progress.share(share));
	await untilIdle(rig.server, 3000);
	progress.done('ready');
	progress.step('the disk by itself');
	const disk = await diskPace(rig.server.folder, Math.min(probeSecondsMax, seconds));
	progress.done(`${disk.megabytesPerSecond.toFixed(0)} MB/s, longest fdatasync ${disk.longestSyncMs.toFixed(0)} ms`);
	progress.step(`${seconds} s of 4 KiB random writes, 32 outstanding`);
	const startMs = performance.now();
	const ticking = setInterval(() => progress.share((performance.now() - startMs) / 1000 / seconds), 1000);
	const shape = {
		op: 'write' as const,
		sizeBytes: writeBytes,
		depth: 32,
		lanes: 1,
		pattern: 'random' as const,
		flushEvery: 0,
		...(rate > 0 ? { ratePerSecond: rate } : {}),
	};
	const load = await loadProcess(
		{
			protocol: access.protocol,
			port: access.port,
			target: access.target,
			unit: access.units[0]!,
			shape,
			seconds,
			warmUpSeconds: 0,
			rangeBytes: 0,
		},
		cpus.client,
	).finally(() => clearInterval(ticking));
	progress.done(`${Math.round(load.ops / load.seconds)} writes a second`);
	return { load, disk };
});

/** Ten seconds a line. */
function seriesText(series: readonly number[]): string {
	const lines: string[] = [];
	for (let at = 0; at < series.length; at += 10) {
		const numbers = series.slice(at, at + 10).map((count) => String(count).padStart(8));
		lines.push(`${String(at).padStart(6)} s ${numbers.join('')}`);
	}
	return lines.join('\n');
}

const megabytesPerSecond = (load.ops * writeBytes) / 1e6 / load.seconds;
const neededMBps = megabytesPerSecond * diskBytesPerClientByte;
if (load.ops === 0) throw new Error('nothing was written');
const verdict = judged();
const report = [
	`Latencies of ${load.ops} writes:`,
	preformatted(histogramText(load.histogram)),
	'Writes in each second:',
	preformatted(seriesText(load.series)),
	`In all ${(load.ops / load.seconds).toFixed(0)} writes/s, ${megabytesPerSecond.toFixed(1)} MB/s; p50 ${load.p50Us} µs, p99 ${load.p99Us} µs, longest ${load.maxUs} µs. ` +
		`Without an answer for at most ${load.longestStallMs.toFixed(1)} ms; ${load.stalls} times more than ${stallMs} ms. ` +
		`The client's own event loop was late by at most ${load.clientPauseMs.toFixed(1)} ms.`,
	`The disk by itself: ${disk.megabytesPerSecond.toFixed(0)} MB/s, longest fdatasync ${disk.longestSyncMs.toFixed(0)} ms; this load needs ${neededMBps.toFixed(0)} MB/s of it.`,
	verdict.text,
].join('\n\n');
console.log(`\n${report}`);
if (values.append)
	await appendResults(
		'sustained 4 KiB random writes',
		[`over ${values.protocol}`, `${seconds} s`, `volume of ${values['size-mib']} MiB, filled`],
		report,
	);
process.exitCode = verdict.exitCode;

function judged(): { text: string; exitCode: number } {
	if (load.longestStallMs <= stallMs) return { text: `No stall above ${stallMs} ms: met.`, exitCode: 0 };
	if (load.clientPauseMs > clientPauseMaxMs) {
		return { text: `Not judged: the machine kept the client itself waiting for ${load.clientPauseMs.toFixed(0)} ms.`, exitCode: 2 };
	}
	if (disk.megabytesPerSecond >= neededMBps) return { text: `MISSED: a stall above ${stallMs} ms on a disk that keeps up.`, exitCode: 1 };
	const rateMax = Math.floor((disk.megabytesPerSecond * 1e6) / diskBytesPerClientByte / writeBytes);
	const text = `Not judged: the disk does not keep up with this load, so the log fills and writers wait for it. Try --rate ${rateMax}.`;
	return { text, exitCode: 2 };
}
