import { expect } from '../../../conformance/checks.ts';
import { everySize } from '../fio.ts';
import { connect, disconnect, nqn, offer, pathOf, raiseCommandSize } from '../host.ts';
import { gibibyte, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import { withKills } from './kill-fio.ts';

const name = nqn('kill-fio');
const writtenMiB = 256;
const lossSeconds = 60;

export const nvmeKillFio: Scenario = {
	name: 'nvme-kill-fio',
	claim:
		'kill -9 of the target amid writes and amid verification: the host reconnects within its ctrl-loss time-out, and fio verifies everything',
	units: oneUnit('kill-fio', 4 * gibibyte),
	faults: 'connection',
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name, `--reconnect-delay=1 --ctrl-loss-tmo=${lossSeconds}`);
		await raiseCommandSize(stage, disk);
		const path = await pathOf(stage, disk);
		const options = { rw: 'randwrite', bssplit: everySize, size: '3g', io_size: `${writtenMiB}m` };
		const job = { name: 'kill', disk, options };
		const amid = (share: number): number => writtenMiB * share * mebibyte;
		const outages = [
			...(await withKills(stage, { ...job, phase: 'write' }, [amid(0.25), amid(0.6)], path)),
			...(await withKills(stage, { ...job, phase: 'verify' }, [amid(0.3)], path)),
		];
		expect(
			outages.every((seconds) => seconds < lossSeconds),
			`I/O stood still for ${Math.max(...outages)} s`,
		);
		const { output } = await stage.run("dmesg | grep -c 'Successfully reconnected'", { okCodes: [0, 1] });
		expect(Number(output) === outages.length, `the host reconnected ${output.trim()} times after ${outages.length} kills`);
		await disconnect(stage, name);
		return `I/O again after ${outages.map((seconds) => seconds.toFixed(1)).join(', ')} s`;
	},
};

export const nvmeLoss: Scenario = {
	name: 'nvme-loss',
	claim:
		'an outage beyond the ctrl-loss time-out ends in an I/O error and takes the disk away; connected again, what was acknowledged is there',
	units: oneUnit('loss', gibibyte),
	faults: 'medium',
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name, '--reconnect-delay=1 --ctrl-loss-tmo=4');
		await stage.run(
			`dd if=/dev/urandom of=/tmp/loss bs=1M count=16 status=none; dd if=/tmp/loss of=${disk} bs=1M oflag=direct status=none`,
		);
		stage.log('host# kill -9 of the target');
		await stage.target.kill();
		const { code, output } = await stage.run(`dd if=/dev/zero of=${disk} bs=4k count=1 oflag=direct seek=100000`, {
			okCodes: 'any',
			timeoutSeconds: 90,
		});
		expect(code !== 0 && /Input\/output error|No such device/.test(output), 'a write without a target did not fail');
		await stage.run(`for i in $(seq 200); do [ -b ${disk} ] || exit 0; sleep 0.1; done; exit 1`);
		await stage.target.start();
		const again = await connect(stage, name);
		await stage.run(`[ "$(dd if=${again} bs=1M count=16 iflag=direct status=none | sha256sum)" = "$(sha256sum < /tmp/loss)" ]`);
		await disconnect(stage, name);
	},
};
