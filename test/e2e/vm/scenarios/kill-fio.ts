import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../../conformance/checks.ts';
import { everySize, fio, type FioJob } from '../fio.ts';
import { login, logout, raiseCommandSize } from '../initiator.ts';
import { gibibyte, iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('kill-fio');
const writtenMiB = 384;

/** Bytes that the disk has read and written so far. */
async function moved(stage: Stage, disk: string): Promise<number> {
	const { output } = await stage.run(`cat /sys/block/${disk.replace('/dev/', '')}/stat`, { isQuiet: true });
	const fields = output.trim().split(/\s+/).map(Number);
	return (fields[2]! + fields[6]!) * 512;
}

/** Waits until the disk has moved so many bytes; rejects when the job is over before. */
async function untilMoved(stage: Stage, disk: string, bytes: number, job: { isOver: boolean }): Promise<void> {
	while ((await moved(stage, disk)) < bytes) {
		expect(!job.isOver, 'fio ended before the target was to be killed: the job is too short');
		await pause(50);
	}
}

/** Runs a fio job, and ends the target by kill -9 each time that another of these many bytes has passed; resolves to seconds until data passed again. `counted` is the disk with the statistics. */
export async function withKills(stage: Stage, job: FioJob, killAfterBytes: readonly number[], counted = job.disk): Promise<number[]> {
	const outages: number[] = [];
	const begun = await moved(stage, counted);
	const state = { isOver: false };
	const running = fio(stage, job, 240).finally(() => (state.isOver = true));
	// Awaited below; a failure in between must not count as unhandled.
	running.catch(() => undefined);
	for (const bytes of killAfterBytes) {
		await untilMoved(stage, counted, begun + bytes, state);
		stage.log(`host# kill -9 of the target after ${Math.round(bytes / mebibyte)} MiB`);
		const killedMs = performance.now();
		await stage.target.kill();
		await stage.target.start();
		stage.log(`host# ${stage.target.readyLine}`);
		await untilMoved(stage, counted, (await moved(stage, counted)) + 1, state);
		outages.push((performance.now() - killedMs) / 1000);
	}
	await running;
	return outages;
}

export const killFio: Scenario = {
	name: 'kill-fio',
	claim: 'kill -9 of the target amid writes and amid verification: sessions recover by themselves, and fio verifies everything',
	units: oneUnit('kill-fio', 4 * gibibyte),
	faults: 'connection',
	async run(stage) {
		const disk = await login(stage, target);
		await raiseCommandSize(stage, disk);
		const options = { rw: 'randwrite', bssplit: everySize, size: '3g', io_size: `${writtenMiB}m` };
		const job = { name: 'kill', disk, options };
		const writing = await withKills(stage, { ...job, phase: 'write' }, [writtenMiB * 0.25 * mebibyte, writtenMiB * 0.6 * mebibyte]);
		await stage.target.kill();
		await stage.target.start();
		const reading = await withKills(stage, { ...job, phase: 'verify' }, [writtenMiB * 0.3 * mebibyte]);
		const { output } = await stage.run("dmesg | grep -c 'detected conn error'", { okCodes: [0, 1] });
		expect(Number(output) >= 3, `the kernel noticed ${output.trim()} of 4 lost connections`);
		await logout(stage, target);
		return `I/O again after ${[...writing, ...reading].map((seconds) => seconds.toFixed(1)).join(', ')} s`;
	},
};
