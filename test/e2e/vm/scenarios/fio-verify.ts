import { expect } from '../../../conformance/checks.ts';
import { everySize, fio } from '../fio.ts';
import { counters, login, logout, raiseCommandSize } from '../initiator.ts';
import { gibibyte, iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

/** R2T is asked for at most so much at once. */
const r2tBytesMax = mebibyte;
/** What goes without an R2T: FirstBurstLength of both sides. */
const firstBurstBytes = 256 * 1024;

/** Write commands that the disk has completed, and their bytes. */
export async function written(stage: Stage, disk: string): Promise<{ commands: number; bytes: number }> {
	const { output } = await stage.run(`cat /sys/block/${disk.replace('/dev/', '')}/stat`, { isQuiet: true });
	const fields = output.trim().split(/\s+/).map(Number);
	return { commands: fields[4]!, bytes: fields[6]! * 512 };
}

/** 4 MiB writes that stay in one piece, and the R2Ts that they took. */
async function largeWrites(stage: Stage, disk: string, unsolicitedBytes: number): Promise<string> {
	const commands = 48;
	const [before, r2tBefore] = [await written(stage, disk), (await counters(stage))['r2t_pdus'] ?? 0];
	await fio(stage, {
		name: 'large',
		disk,
		phase: 'both',
		options: { rw: 'randwrite', bs: '4m', size: '512m', io_size: `${commands * 4}m`, iodepth: 8 },
	});
	const [after, all] = [await written(stage, disk), await counters(stage)];
	expect(after.bytes - before.bytes === commands * 4 * mebibyte, `the disk counts ${after.bytes - before.bytes} bytes written`);
	expect(
		after.commands - before.commands === commands,
		`4 MiB went in pieces: ${after.commands - before.commands} commands for ${commands}`,
	);
	const r2ts = (all['r2t_pdus'] ?? 0) - r2tBefore;
	const least = commands * Math.ceil((4 * mebibyte - unsolicitedBytes) / r2tBytesMax);
	expect(r2ts >= least, `${commands} writes of 4 MiB took ${r2ts} R2T, at least ${least} were expected`);
	return `${commands} writes of 4 MiB by ${r2ts} R2T`;
}

export const fioVerify: Scenario = {
	name: 'fio-verify',
	claim: 'fio at depth 32 with 512 bytes to 4 MiB reads back what it wrote, and writes of 4 MiB reach the wire whole',
	units: oneUnit('fio-verify', 4 * gibibyte),
	async run(stage) {
		const disk = await login(stage, iqn('fio-verify'));
		await raiseCommandSize(stage, disk);
		await stage.run(`grep . /sys/block/${disk.replace('/dev/', '')}/queue/{max_sectors_kb,max_hw_sectors_kb,fua,write_cache}`);
		await fio(stage, {
			name: 'every-size',
			disk,
			phase: 'both',
			options: { rw: 'randwrite', bssplit: everySize, size: '3g', io_size: '256m' },
		});
		const figures = await largeWrites(stage, disk, firstBurstBytes);
		await logout(stage, iqn('fio-verify'));
		return figures;
	},
};

export const fioR2T: Scenario = {
	name: 'fio-r2t',
	claim: 'with InitialR2T=Yes, ImmediateData=No and both digests every write waits for its R2T, and fio reads back what it wrote',
	units: oneUnit('fio-r2t', 2 * gibibyte),
	async run(stage) {
		const disk = await login(stage, iqn('fio-r2t'), {
			settings: {
				'node.session.iscsi.InitialR2T': 'Yes',
				'node.session.iscsi.ImmediateData': 'No',
				'node.conn[0].iscsi.HeaderDigest': 'CRC32C',
				'node.conn[0].iscsi.DataDigest': 'CRC32C',
			},
		});
		const { output } = await stage.run("iscsiadm -m session -P 2 | grep -E 'Digest|R2T|ImmediateData|Burst|DataSegment'");
		for (const line of ['HeaderDigest: CRC32C', 'DataDigest: CRC32C', 'InitialR2T: Yes', 'ImmediateData: No']) {
			expect(output.includes(line), `${line} was not negotiated`);
		}
		await raiseCommandSize(stage, disk);
		const before = await written(stage, disk);
		await fio(stage, {
			name: 'every-size',
			disk,
			phase: 'both',
			options: { rw: 'randwrite', bssplit: everySize, size: '1g', io_size: '64m' },
		});
		const { commands } = await written(stage, disk);
		const r2ts = (await counters(stage))['r2t_pdus'] ?? 0;
		expect(r2ts >= commands - before.commands, `${commands - before.commands} writes and only ${r2ts} R2T`);
		const figures = await largeWrites(stage, disk, 0);
		await logout(stage, iqn('fio-r2t'));
		return figures;
	},
};
