import { expect } from '../../../conformance/checks.ts';
import { network } from '../network.ts';
import { at, diskOf, disconnect, hosts, nqn, nvme, nvmeFails, offer, onTarget, ports } from '../host.ts';
import { gibibyte, iqn, type Scenario } from '../scenario.ts';

const mine = nqn('discovery');
const hidden = nqn('hidden');
const discover = `discover -t tcp -a ${network.hostAddress}`;

export const nvmeDiscovery: Scenario = {
	name: 'nvme-discovery',
	claim:
		'nvme discover shows a host what it may connect to and nothing else; connect-all attaches it, and a namespace that is mapped later appears by itself',
	units: [
		{ target: iqn('discovery'), lun: 0, sizeBytes: 2 * gibibyte },
		{ target: iqn('discovery'), lun: 1, sizeBytes: 3 * gibibyte },
	],
	async run(stage) {
		await stage.run('modprobe nvme-tcp');
		await offer(stage, mine);
		await offer(stage, hidden, [], [hosts.second.nqn]);
		for (const port of [ports.discovery, ports.io]) {
			const log = await nvme(stage, `${discover} -s ${port}`);
			for (const line of [
				'Number of Records 1,',
				`subnqn:  ${mine}`,
				`traddr:  ${network.hostAddress}`,
				`trsvcid: ${ports.io}`,
				'trtype:  tcp',
				'sectype: none',
			]) {
				expect(log.includes(line), `${line} was expected`);
			}
		}
		const seconds = await nvme(stage, `${discover} -s ${ports.discovery} ${hosts.second.options}`);
		expect(seconds.includes(`subnqn:  ${hidden}`) && !seconds.includes(mine), 'the second host sees something else');
		await nvme(stage, `connect-all -t tcp -a ${network.hostAddress} -s ${ports.discovery}`);
		const disk = await diskOf(stage, mine);
		await onTarget(stage, 'subsystem', 'map', mine, 'volume1', '--nsid', '7');
		const later = await diskOf(stage, mine, 7);
		const { output: sizes } = await stage.run(`blockdev --getsize64 ${disk} ${later}`);
		expect(sizes === `${2 * gibibyte}\n${3 * gibibyte}\n`, 'other sizes were expected');
		const list = await nvme(stage, 'list');
		expect(list.includes(disk) && list.includes(later) && list.includes('Blockport'), 'a disk is missing');
		const subsystems = await nvme(stage, 'list-subsys');
		expect(subsystems.includes(`NQN=${mine}`) && /tcp traddr=\S+ live/.test(subsystems), 'the path is not live');
		await onTarget(stage, 'subsystem', 'unmap', mine, '--nsid', '7');
		await stage.run(`for i in $(seq 50); do [ -b ${later} ] || exit 0; sleep 0.1; done; exit 1`);
		await disconnect(stage, mine);
		expect(!(await onTarget(stage, 'controller', 'list')).includes(hosts.guest.nqn), 'the target still has a controller');
	},
};

export const nvmeStranger: Scenario = {
	name: 'nvme-stranger',
	claim: 'a host that is not allowed finds nothing, and its connect is refused with the reason; disallow ends the one that was there',
	units: [{ target: iqn('stranger'), lun: 0, sizeBytes: gibibyte }],
	// A connect that is refused, and a controller that the target ends.
	faults: 'medium',
	async run(stage) {
		await stage.run('modprobe nvme-tcp');
		await offer(stage, hidden, ['volume0'], [hosts.second.nqn]);
		const log = await nvme(stage, `${discover} -s ${ports.discovery}`);
		expect(!log.includes('subnqn'), 'a stranger sees a subsystem');
		await nvmeFails(stage, `connect ${at} -n ${hidden}`, /could not add new controller/);
		const { output: reason } = await stage.run("dmesg | grep 'is not allowed'");
		expect(reason.includes(hosts.guest.nqn), 'the kernel does not say who is not allowed');
		await nvme(stage, `connect ${at} -n ${hidden} --ctrl-loss-tmo=4 --reconnect-delay=1 ${hosts.second.options}`);
		const disk = await diskOf(stage, hidden);
		await onTarget(stage, 'subsystem', 'disallow', hidden, hosts.second.nqn);
		await stage.run(`for i in $(seq 200); do [ -b ${disk} ] || exit 0; sleep 0.1; done; exit 1`);
	},
};
