import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../../conformance/checks.ts';
import { fio } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { setLink } from '../network.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';

const target = iqn('link');
/** Longer than noop_out_interval and noop_out_timeout together (5 and 5 s), so that the initiator gives the connection up. */
const downSeconds = 15;

export const link: Scenario = {
	name: 'link',
	claim: `a link that is down for ${downSeconds} s amid fio and comes back: the session recovers by itself, and fio verifies everything`,
	units: oneUnit('link', 2 * gibibyte),
	faults: 'connection',
	async run(stage) {
		const disk = await login(stage, target);
		const options = { rw: 'randwrite', bssplit: '4k/50:64k/50', size: '1g', io_size: '48m', rate: '6m,6m' };
		const running = fio(stage, { name: 'link', disk, phase: 'both', options });
		running.catch(() => undefined);
		await pause(3000);
		stage.log('host# ip link set down');
		await setLink('down');
		await pause(downSeconds * 1000);
		stage.log('host# ip link set up');
		await setLink('up');
		const upMs = performance.now();
		await stage.run(
			"for i in $(seq 600); do iscsiadm -m session -P 1 | grep -q 'iSCSI Session State: LOGGED_IN' && exit 0; sleep 0.1; done; exit 1",
			{
				timeoutSeconds: 90,
			},
		);
		const seconds = (performance.now() - upMs) / 1000;
		await running;
		const { output } = await stage.run("dmesg | grep -c 'detected conn error'", { okCodes: [0, 1] });
		expect(Number(output) >= 1, 'the kernel never noticed that the link was down');
		await logout(stage, target);
		return `logged in again ${seconds.toFixed(1)} s after the link was up`;
	},
};
