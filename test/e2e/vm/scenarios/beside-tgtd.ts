import { appendFile, mkdir } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { machine } from '../../../../bench/table.ts';
import { Tgtd } from '../../../conformance/servers/tgtd.ts';
import type { TargetServer } from '../../../conformance/servers/target-server.ts';
import { login, logout } from '../initiator.ts';
import { network } from '../network.ts';
import { makeCluster, pgbench, pgbenchTables, startCluster, stopCluster } from '../postgresql.ts';
import { gibibyte, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { portalPort } from '../target.ts';

const seconds = 30;
const rounds = 3;
const scale = 10;
const clients = 4;

interface Figures {
	readonly tps: number;
	/** Of the target, all threads. */
	readonly msPerTransaction: number;
	readonly rssBytes: number;
}

interface Contender {
	readonly server: TargetServer;
	readonly target: string;
	readonly lun: number;
	readonly at: string;
	readonly figures: Figures[];
}

const unit = oneUnit('beside-tgtd', 4 * gibibyte);

function median(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

async function prepare(stage: Stage, { target, lun, at }: Contender): Promise<void> {
	const disk = await login(stage, target, { lun, at });
	await makeCluster(stage, disk);
	await pgbenchTables(stage, scale);
	await stopCluster(stage, 'fast');
	await stage.run('umount /mnt');
	await logout(stage, target, at);
}

async function measure(stage: Stage, { server, target, lun, at }: Contender): Promise<Figures> {
	const disk = await login(stage, target, { lun, at });
	await stage.run(`mount ${disk} /mnt`);
	await startCluster(stage);
	const before = server.process.cpuSeconds();
	const { acknowledged, tps } = await pgbench(stage, `-c ${clients} -T ${seconds}`);
	const msPerTransaction = ((server.process.cpuSeconds() - before) / acknowledged) * 1000;
	await stopCluster(stage, 'fast');
	await stage.run('umount /mnt');
	await logout(stage, target, at);
	return { tps, msPerTransaction, rssBytes: server.process.peakRSSBytes() };
}

function table(contenders: readonly Contender[]): string {
	const rows = contenders.map(({ server, figures }) => {
		const tps = figures.map((one) => one.tps);
		const cpu = figures.map((one) => one.msPerTransaction);
		return {
			name: server.name,
			tps: median(tps),
			cpu: median(cpu),
			range: `${Math.min(...tps).toFixed(0)}–${Math.max(...tps).toFixed(0)}`,
			rss: figures.at(-1)!.rssBytes,
		};
	});
	const [tgtd] = rows;
	return [
		'| server | TPS (min–max) | server CPU ms a transaction | RSS MiB | TPS ÷ tgtd | CPU ÷ tgtd |',
		'| --- | ---: | ---: | ---: | ---: | ---: |',
		...rows.map(({ name, tps, cpu, range, rss }, index) => {
			const ratios = index === 0 ? ' | ' : `${(tps / tgtd!.tps).toFixed(2)}× | ${(cpu / tgtd!.cpu).toFixed(2)}×`;
			return `| ${name} | ${tps.toFixed(0)} (${range}) | ${cpu.toFixed(2)} | ${Math.round(rss / mebibyte)} | ${ratios} |`;
		}),
	].join('\n');
}

export const besideTgtd: Scenario = {
	name: 'beside-tgtd',
	claim: `pgbench -c ${clients} -T ${seconds} on Blockport and on tgtd in turn, ${rounds} rounds, in one guest`,
	units: unit,
	programs: { tgtd: 'tgt', tgtadm: 'tgt' },
	isOnDemand: true,
	async run(stage) {
		const [load = 0] = loadavg();
		const folder = join(stage.folder, 'tgtd');
		await mkdir(folder);
		const tgtd = new Tgtd({ folder, units: unit, initiators: [], address: network.hostAddress });
		tgtd.port = portalPort + 1;
		const { target } = unit[0]!;
		const contenders: Contender[] = [
			{ server: tgtd, target, lun: tgtd.units[0]!.lun, at: `${network.hostAddress}:${tgtd.port}`, figures: [] },
			{ server: stage.target, target, lun: 0, at: `${network.hostAddress}:${portalPort}`, figures: [] },
		];
		await tgtd.start();
		try {
			// One at a time, or they would measure each other.
			for (const contender of contenders) await prepare(stage, contender);
			for (let round = 1; round <= rounds; round++) {
				for (const contender of round % 2 === 1 ? contenders : contenders.toReversed()) {
					stage.log(`round ${round}/${rounds}: ${contender.server.name}`);
					contender.figures.push(await measure(stage, contender));
				}
			}
		} finally {
			await tgtd.kill();
		}
		const text = table(contenders);
		stage.log(text);
		if (stage.isAppending) {
			const when = new Date().toISOString().slice(0, 16).replace('T', ' ');
			const conditions = `${machine()}; PostgreSQL 15 in an emulated Linux guest, pgbench scale ${scale}, -c ${clients} -T ${seconds}; medians of ${rounds} rounds, servers in turn; the guest, not the target, sets the rate; load average before it began ${load.toFixed(1)}`;
			const results = join(import.meta.dirname, '../../../../bench/results.md');
			await appendFile(results, `\n## ${when} UTC, pgbench\n\n${conditions}.\n\n${text}\n`);
		}
		return undefined;
	},
};
