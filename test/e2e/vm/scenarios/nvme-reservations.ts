import { expect } from '../../../conformance/checks.ts';
import { hosts, nqn, nvme, nvmeFails, offer, ports } from '../host.ts';
import { network } from '../network.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const name = nqn('reservations');
const [first, second] = ['0xa11ce', '0xb0b'];

/** With multipath each of the guest's two hosts would be a path to one disk. Without it each has a disk of its own. */
async function loadModules(stage: Stage, multipath: 'N' | 'Y'): Promise<void> {
	await stage.run(`modprobe -r nvme-tcp nvme-fabrics nvme-core; modprobe nvme-core multipath=${multipath} && modprobe nvme-tcp`);
}

async function diskOfHost(stage: Stage, host: string): Promise<string> {
	const { output } = await stage.run(
		`for i in $(seq 100); do
			for controller in /sys/class/nvme/nvme*; do
				[ "$(cat $controller/hostnqn)" = ${host} ] || continue
				for disk in $controller/nvme*n1; do [ -b /dev/\${disk##*/} ] && udevadm settle && echo /dev/\${disk##*/} && exit 0; done
			done
			sleep 0.1
		done; exit 1`,
		{ isQuiet: true },
	);
	return output.trim();
}

export const nvmeReservations: Scenario = {
	name: 'nvme-reservations',
	claim:
		'two hosts and one namespace: register, acquire, report, preempt and release bind writes as they say, and hold across kill -9 where PTPL says so',
	units: oneUnit('reservations', gibibyte),
	// Writes that a reservation refuses, and a target that is killed.
	faults: 'medium',
	async run(stage) {
		await offer(stage, name, ['volume0'], [hosts.guest.nqn, hosts.second.nqn]);
		await loadModules(stage, 'N');
		// nvme-cli 2.3 takes any host for the one that is connected already; the kernel does not.
		const common = `transport=tcp,traddr=${network.hostAddress},trsvcid=${ports.io},nqn=${name},reconnect_delay=1`;
		for (const { nqn: host, id } of Object.values(hosts)) {
			await stage.run(`exec 3<>/dev/nvme-fabrics && echo '${common},hostnqn=${host},hostid=${id}' >&3 && cat <&3`);
		}
		const [a, b] = [await diskOfHost(stage, hosts.guest.nqn), await diskOfHost(stage, hosts.second.nqn)];
		expect(a !== '' && a !== b, `two disks were expected: ${a} ${b}`);
		const write = (disk: string): string => `dd if=/dev/urandom of=${disk} bs=4k count=1 oflag=direct conv=notrunc status=none`;
		const refused = async (disk: string): Promise<void> => {
			const { code, output } = await stage.run(write(disk), { okCodes: 'any' });
			expect(code !== 0 && /Invalid exchange/.test(output), `a write of ${disk} was not refused by the reservation: ${output}`);
		};
		await nvme(stage, `resv-register ${a} --nrkey=${first} --rrega=0 --cptpl=3`);
		await nvme(stage, `resv-acquire ${a} --crkey=${first} --rtype=1 --racqa=0`);
		await stage.run(write(a));
		await refused(b);
		await stage.run(`dd if=${b} of=/dev/null bs=4k count=1 iflag=direct status=none`);
		await nvmeFails(stage, `resv-acquire ${b} --crkey=${second} --rtype=1 --racqa=0`, /Reservation Conflict/);
		stage.log('host# kill -9 of the target');
		await stage.target.kill();
		await stage.target.start();
		await stage.run(write(a));
		await refused(b);
		const report = await nvme(stage, `resv-report ${a} -e`);
		for (const line of [/^rtype +: 1$/m, /^regctl +: 1$/m, /^ptpls +: 1$/m, /rkey +: a11ce$/m, /rcsts +: 1$/m])
			expect(line.test(report), `${line.source} was expected`);
		await nvme(stage, `resv-register ${b} --nrkey=${second} --rrega=0`);
		await nvme(stage, `resv-acquire ${b} --crkey=${second} --prkey=${first} --rtype=2 --racqa=1`);
		await stage.run(write(b));
		await refused(a);
		const { code } = await stage.run(`dd if=${a} of=/dev/null bs=4k count=1 iflag=direct status=none`, { okCodes: 'any' });
		expect(code !== 0, 'exclusive access lets another host read');
		await nvme(stage, `resv-release ${b} --crkey=${second} --rtype=2 --rrela=0`);
		await stage.run(write(a));
		await nvme(stage, `resv-register ${b} --crkey=${second} --rrega=1`);
		expect(/^regctl +: 0$/m.test(await nvme(stage, `resv-report ${b} -e`)), 'a registrant is left');
		await stage.run('udevadm settle; nvme disconnect-all');
		await loadModules(stage, 'Y');
	},
};
