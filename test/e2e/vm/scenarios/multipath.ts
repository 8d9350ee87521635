import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../../conformance/checks.ts';
import { fio } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import { portal } from '../target.ts';

const target = iqn('multipath');

export const multipath: Scenario = {
	name: 'multipath',
	claim: 'two paths are one multipath disk: fio goes on by the other path when the first logs out, and both work when it is back',
	units: oneUnit('multipath', 2 * gibibyte),
	async run(stage) {
		await stage.run('for name in path1 path2; do iscsiadm -m iface -I $name -o new; done');
		await login(stage, target, { iface: 'path1' });
		await login(stage, target, { iface: 'path2' });
		await stage.run('modprobe dm-multipath && cp /lane/multipath.conf /etc/multipath.conf && multipathd && multipath -r && udevadm settle');
		const paths = async (count: number): Promise<void> => {
			await stage.run(
				`for i in $(seq 100); do [ $(multipath -ll | grep -c 'active ready running') = ${count} ] && break; sleep 0.1; done; multipath -ll; [ $(multipath -ll | grep -c 'active ready running') = ${count} ]`,
			);
		};
		await paths(2);
		const { output } = await stage.run('ls /dev/mapper/mpath*');
		const disk = output.trim();
		expect(/^\/dev\/mapper\/mpath\w$/.test(disk), `one multipath disk was expected: ${disk}`);
		const options = { rw: 'randwrite', bssplit: '4k/50:64k/50', size: '1g', io_size: '80m', rate: '8m,8m' };
		const running = fio(stage, { name: 'multipath', disk, phase: 'both', options });
		running.catch(() => undefined);
		await pause(3000);
		await stage.run(`iscsiadm -m node -T ${target} -p ${portal} -I path1 --logout`);
		await paths(1);
		await stage.run(`iscsiadm -m node -T ${target} -p ${portal} -I path1 --login`);
		await paths(2);
		await running;
		await stage.run('multipath -F; multipathd shutdown', { okCodes: 'any' });
		await logout(stage, target);
	},
};
