import { expect } from '../../../conformance/checks.ts';
import { fio } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import { initiators, portal } from '../target.ts';

const target = iqn('two-sessions');

export const twoSessions: Scenario = {
	name: 'two-sessions',
	claim: 'two initiators on one LUN: one disk by its identity, both work at once, and each reads what the other wrote',
	units: oneUnit('two-sessions', 2 * gibibyte),
	async run(stage) {
		const first = await login(stage, target);
		await stage.run(
			`iscsiadm -m iface -I second -o new && iscsiadm -m iface -I second -o update -n iface.initiatorname -v ${initiators.second}`,
		);
		await stage.run(
			`iscsiadm -m discovery -t sendtargets -p ${portal} -I second && iscsiadm -m node -T ${target} -p ${portal} -I second --login && udevadm settle`,
		);
		const { output } = await stage.run(
			'for i in $(seq 50); do [ $(lsscsi | grep -c BLKPORT) = 2 ] && break; sleep 0.1; done; udevadm settle; lsscsi -i',
		);
		const disks = output.match(/\/dev\/sd\w/g) ?? [];
		const second = disks.find((disk) => disk !== first);
		if (disks.length !== 2 || second === undefined) throw new Error(`two disks were expected: ${disks.join(' ')}`);
		const identities = (await stage.run(`for disk in ${first} ${second}; do /lib/udev/scsi_id -g -u $disk; done`)).output
			.trim()
			.split('\n');
		expect(identities.length === 2 && identities[0] === identities[1], `two identities: ${identities.join(' and ')}`);
		const sessions = await stage.target.cli('session', 'list');
		stage.log(sessions);
		for (const name of Object.values(initiators)) expect(sessions.includes(name), `no session of ${name}`);
		const half = { rw: 'randwrite', bssplit: '512/20:4k/40:64k/40', size: '512m', io_size: '24m' };
		const jobs = [
			{ name: 'first', disk: first, options: { ...half, offset: 0 }, phase: 'both' },
			{ name: 'second', disk: second, options: { ...half, offset: '1g', randseed: 78 }, phase: 'both' },
		] as const;
		await Promise.all(jobs.map(async (job) => await fio(stage, job)));
		// Across: each path reads what came by the other.
		await fio(stage, { ...jobs[0], disk: second, phase: 'verify' });
		await fio(stage, { ...jobs[1], disk: first, phase: 'verify' });
		await logout(stage, target);
	},
};
