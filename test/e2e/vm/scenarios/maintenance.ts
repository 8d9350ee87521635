import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import { initiators, portal, ScenarioTarget } from '../target.ts';
import { network } from '../network.ts';

const target = iqn('maintenance');
const otherPort = 3261;

export const maintenance: Scenario = {
	name: 'maintenance',
	claim:
		'a target that is redirected asks its initiator to log out; it logs in again and is led to the other portal, and back when that is over',
	units: oneUnit('maintenance', gibibyte),
	faults: 'connection',
	async run(stage) {
		const folder = join(stage.folder, 'other');
		await mkdir(folder);
		const other = new ScenarioTarget(folder, stage.target.units, { launcher: undefined, isConfigured: false, hasSecondPortal: false });
		other.port = otherPort;
		await other.start();
		try {
			await login(stage, target);
			await stage.target.cli('target', 'redirect', target, `${network.hostAddress}:${otherPort}`);
			const { output } = await stage.run(
				`for i in $(seq 150); do iscsiadm -m session -P 1 | grep 'Current Portal: ${network.hostAddress}:${otherPort}' && break; sleep 0.2; done; iscsiadm -m session -P 1`,
				{ timeoutSeconds: 60 },
			);
			expect(output.includes(`Current Portal: ${network.hostAddress}:${otherPort}`), 'the initiator did not move');
			expect(output.includes(`Persistent Portal: ${portal}`), 'it forgot where it came from');
			expect((await other.cli('session', 'list')).includes(initiators.guest), 'the other portal has no session');
			expect((await stage.target.cli('session', 'list')).includes('no sessions'), 'the first portal kept its session');
			await logout(stage, target);
			await stage.target.cli('target', 'redirect', target, '--off');
			await login(stage, target);
			expect((await stage.target.cli('session', 'list')).includes(initiators.guest), 'the first portal takes no logins');
			await logout(stage, target);
		} finally {
			await other.kill();
		}
	},
};

export const lunEvent: Scenario = {
	name: 'lun-event',
	claim: 'a volume that is mapped while the initiator is logged in appears as a disk without a rescan: the asynchronous message is enough',
	units: oneUnit('maintenance', gibibyte),
	async run(stage) {
		await login(stage, target);
		await stage.target.cli('volume', 'create', 'more', '--size', '2G');
		await stage.target.cli('target', 'map', target, 'more', '--lun', '3');
		const path = `/dev/disk/by-path/ip-${portal}-iscsi-${target}-lun-3`;
		const { output } = await stage.run(`for i in $(seq 100); do [ -b ${path} ] && break; sleep 0.1; done; blockdev --getsize64 ${path}`);
		expect(Number(output) === 2 * gibibyte, `the new disk has ${output.trim()} bytes`);
		await logout(stage, target);
	},
};
