import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../../conformance/checks.ts';
import { fio } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import { setSecondAddress } from '../network.ts';
import type { Stage } from '../stage.ts';
import { portal, secondPortal } from '../target.ts';

const target = iqn('multipath');

export const multipath: Scenario = {
	name: 'multipath',
	claim: 'two paths are one multipath disk: fio goes on by the other path when the first logs out, and both work when it is back',
	units: oneUnit('multipath', 2 * gibibyte),
	async run(stage) {
		await stage.run('for name in path1 path2; do iscsiadm -m iface -I $name -o new; done');
		await login(stage, target, { iface: 'path1' });
		await login(stage, target, { iface: 'path2' });
		const disk = await multipathDisk(stage);
		const options = { rw: 'randwrite', bssplit: '4k/50:64k/50', size: '1g', io_size: '80m', rate: '8m,8m' };
		const running = fio(stage, { name: 'multipath', disk, phase: 'both', options });
		running.catch(() => undefined);
		await pause(3000);
		await stage.run(`iscsiadm -m node -T ${target} -p ${portal} -I path1 --logout`);
		await paths(stage, 1);
		await stage.run(`iscsiadm -m node -T ${target} -p ${portal} -I path1 --login`);
		await paths(stage, 2);
		await running;
		await stage.run('multipath -F; multipathd shutdown', { okCodes: 'any' });
		await logout(stage, target);
	},
};

/** Waits until so many paths are in use; multipath aligns its columns. */
async function paths(stage: Stage, count: number): Promise<void> {
	const ready = `$(multipath -ll | grep -Ec 'active ready +running')`;
	await stage.run(`for i in $(seq 300); do [ ${ready} = ${count} ] && break; sleep 0.1; done; multipath -ll; [ ${ready} = ${count} ]`);
}

/** The one disk of two paths. */
async function multipathDisk(stage: Stage): Promise<string> {
	await stage.run('modprobe dm-multipath && cp /lane/multipath.conf /etc/multipath.conf && multipathd && multipath -r && udevadm settle');
	await paths(stage, 2);
	const { output } = await stage.run('ls /dev/mapper/mpath*');
	const disk = output.trim();
	expect(/^\/dev\/mapper\/mpath\w$/.test(disk), `one multipath disk was expected: ${disk}`);
	return disk;
}

/** Bytes that a disk has written. */
async function written(stage: Stage, disk: string): Promise<number> {
	const { output } = await stage.run(`cat /sys/block/${disk.replace('/dev/', '')}/stat`, { isQuiet: true });
	return Number(output.trim().split(/\s+/)[6]) * 512;
}

const cutTarget = iqn('multipath-cut');

export const multipathCut: Scenario = {
	name: 'multipath-cut',
	claim:
		'two portals, the address of one taken away amid fio: its path fails within the ping time-outs, data go by the other, and the one that is back shows what came meanwhile; nothing is lost',
	units: oneUnit('multipath-cut', 2 * gibibyte),
	hasSecondPortal: true,
	// Of the path that was cut.
	faults: 'medium',
	async run(stage) {
		const settings = {
			'node.session.timeo.replacement_timeout': '4',
			'node.conn[0].timeo.noop_out_interval': '2',
			'node.conn[0].timeo.noop_out_timeout': '2',
		};
		const stays = await login(stage, cutTarget, { settings });
		const cut = await login(stage, cutTarget, { settings, at: secondPortal });
		const disk = await multipathDisk(stage);
		const { output: groups } = await stage.run(`sg_rtpg -d ${cut}`);
		expect(/active\/optimized/.test(groups), 'an active group was expected');
		const options = { rw: 'randwrite', bssplit: '4k/50:64k/50', size: '1g', io_size: '40m', rate: '8m,1m' };
		const state = { isOver: false };
		const running = fio(stage, { name: 'multipath-cut', disk, phase: 'both', options }).finally(() => (state.isOver = true));
		running.catch(() => undefined);
		await pause(3000);
		stage.log('host# the second portal loses its address');
		await setSecondAddress('down');
		const begunMs = performance.now();
		await paths(stage, 1);
		const failedSeconds = (performance.now() - begunMs) / 1000;
		const before = await written(stage, stays);
		await pause(3000);
		expect(!state.isOver, 'fio ended before the portal was back: the job is too short');
		expect((await written(stage, stays)) > before, 'nothing goes by the path that is left');
		stage.log('host# the second portal has its address again');
		await setSecondAddress('up');
		await paths(stage, 2);
		const cutDisk = (await stage.run(`readlink -e /dev/disk/by-path/ip-${secondPortal}-iscsi-${cutTarget}-lun-0`)).output.trim();
		await running;
		// By the path that is back, what came by the other while it was away.
		const sum = (from: string): string => `$(dd if=${from} bs=1M count=32 iflag=direct status=none | sha256sum)`;
		await stage.run(`[ "${sum(disk)}" = "${sum(cutDisk)}" ]`);
		await stage.run('multipath -F; multipathd shutdown', { okCodes: 'any' });
		await logout(stage, cutTarget);
		await logout(stage, cutTarget, secondPortal);
		return `the cut path failed after ${failedSeconds.toFixed(1)} s`;
	},
};
