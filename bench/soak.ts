/**
 * An hour of mixed load on both protocols, everything that is read compared with what was written: `npm run bench:soak -- [options]`.
 *
 *     --seconds N     (3600)                                       --rate N        commands a second of all sessions (4000; 0: as many as there can be)
 *     --size-mib N    of each of the two volumes (512)             --folder DIR    where the data lies (the system's temporary folder)
 *     --churn N       seconds until the next session is replaced (20)   --append        adds what is printed to bench/results.md
 *
 * Two volumes, each with an iSCSI session and an NVMe host, 8 commands outstanding on each; both write to every page, so that each protocol reads what the other wrote. After a
 * warm-up (a fifth of the time, 10 minutes at most): RSS by least squares, file descriptors, space of the logs. At the end every page is read over the other protocol, the server is
 * stopped and the volumes are checked. Exit 1 when anything was wrong, with the reason.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { histogramText } from './histogram-text.ts';
import { LatencyHistogram } from './histogram.ts';
import { minutes, Progress } from './progress.ts';
import { appendResults, preformatted } from './results-file.ts';
import { inRig, type Rig } from './rig.ts';
import { verifyAll } from './soak-end.ts';
import { SoakLoad } from './soak-load.ts';
import { judge, sample, type Sample } from './soak-samples.ts';
import { SoakVolume } from './soak-volume.ts';

const { values } = parseArgs({
	options: {
		seconds: { type: 'string', default: '3600' },
		rate: { type: 'string', default: '4000' },
		'size-mib': { type: 'string', default: '512' },
		churn: { type: 'string', default: '20' },
		folder: { type: 'string' },
		append: { type: 'boolean', default: false },
	},
});

const volumes = 2;
const sampleMs = 1000;
/** No answer at all for so long: whatever the server waits for, it is not coming. */
const silenceMs = 60_000;
const warmUpShare = 0.2;
const warmUpSecondsMax = 600;
const seconds = Number(values.seconds);
const volumeBytes = Number(values['size-mib']) * 1024 * 1024;
const models = Array.from({ length: volumes }, (_none, index) => new SoakVolume(`volume${index}`, volumeBytes));

async function soak(rig: Rig, progress: Progress): Promise<{ load: SoakLoad; samples: Sample[] }> {
	const { process: server } = rig.server;
	const folders = (await rig.volumes()).map(({ uuid }) => rig.directory(uuid));
	const samples: Sample[] = [];
	progress.step(`${minutes(seconds)} of mixed load`);
	const load = await SoakLoad.start(rig, models, { ratePerSecond: Number(values.rate), churnMs: Number(values.churn) * 1000 });
	const startMs = performance.now();
	const warmUpSeconds = Math.min(seconds * warmUpShare, warmUpSecondsMax);
	let [answered, answeredMs] = [0, startMs];
	for (let at = 0; at < seconds && load.failures.length === 0; at = (performance.now() - startMs) / 1000) {
		await pause(sampleMs);
		if (server.isGone) throw new Error(`the server ended (${await server.exited}):\n${server.output}`);
		if (load.commands > answered) [answered, answeredMs] = [load.commands, performance.now()];
		if (performance.now() - answeredMs > silenceMs)
			throw new Error(`nothing was answered for ${silenceMs / 1000} s, after ${answered} commands`);
		if (at >= warmUpSeconds) samples.push(sample(at, server.pid, server.rssBytes(), folders));
		progress.share(at / seconds);
	}
	await load.stop();
	progress.done(`${load.commands} commands, ${load.sessions} sessions and hosts`);
	return { load, samples };
}

/** Lines of the server's log that report an error (pino's level 50 and above). */
function loggedErrors(output: string): string[] {
	return output.split('\n').filter((line) => /"level":[56]0\b/.test(line));
}

const faults: string[] = [];
const { load, samples } = await inRig({ volumes, volumeBytes, hosts: volumes, under: values.folder }, async (rig) => {
	const progress = new Progress(3);
	const soaked = await soak(rig, progress);
	faults.push(...soaked.load.failures);
	if (soaked.load.failures.length === 0) {
		progress.step('reading every page over the other protocol');
		faults.push(...(await verifyAll(rig, models, (share) => progress.share(share))));
		progress.done('read');
	}
	progress.step('stopping, and checking the volumes');
	const how = await rig.server.stop();
	if (how !== 'exit code 0') faults.push(`the server did not stop cleanly: ${how}`);
	faults.push(...loggedErrors(rig.server.process.output).map((line) => `the server logged an error: ${line}`));
	for (const { name } of models) {
		await rig.server.cli('volume', 'check', name).catch((error: unknown) => faults.push(String(error)));
	}
	progress.done('checked');
	return soaked;
});

const judged = judge(samples, volumes);
faults.push(...judged.faults);
const all = new LatencyHistogram();
for (const histogram of Object.values(load.histograms)) all.add(histogram);
const operations = Object.entries(load.histograms).map(([op, histogram]) => {
	const quantiles = [0.5, 0.99, 0.999].map((share) => `p${share * 100} ${histogram.quantileUs(share)} µs`).join(', ');
	return `${op.padEnd(6)} ${String(histogram.total).padStart(10)}: ${quantiles}, longest ${histogram.maxUs} µs`;
});
const report = [
	`${load.commands} commands, ${(load.bytes / 2 ** 30).toFixed(2)} GiB, ${load.sessions} sessions and hosts; ${load.verifiedPages} pages were read and compared.`,
	preformatted([...operations, '', histogramText(all.entries()), '', judged.text].join('\n')),
	faults.length === 0 ? 'Nothing was wrong.' : faults.map((fault) => `- WRONG: ${fault}`).join('\n'),
].join('\n\n');
console.log(`\n${report}`);
if (values.append) await appendResults('soak', [`${seconds} s`, `at most ${values.rate} commands a second`], report);
if (faults.length > 0) process.exitCode = 1;
