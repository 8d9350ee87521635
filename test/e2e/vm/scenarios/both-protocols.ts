import { expect } from '../../../conformance/checks.ts';
import { connect, controllerOf, disconnect, nqn, nvme, offer, onTarget } from '../host.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

/** The same volume as a LUN and as a namespace, in one guest. */
async function attachBoth(stage: Stage, what: string): Promise<{ lun: string; namespace: string; detach: () => Promise<void> }> {
	await offer(stage, nqn(what));
	const lun = await login(stage, iqn(what));
	const namespace = await connect(stage, nqn(what));
	const detach = async (): Promise<void> => {
		await disconnect(stage, nqn(what));
		await logout(stage, iqn(what));
	};
	return { lun, namespace, detach };
}

export const bothData: Scenario = {
	name: 'both-data',
	claim: 'one volume over both protocols: what is written through one (O_DIRECT) is read through the other, both ways; a grow reaches both',
	units: oneUnit('both-data', gibibyte),
	async run(stage) {
		const { lun, namespace, detach } = await attachBoth(stage, 'both-data');
		for (const [from, to] of [
			[lun, namespace],
			[namespace, lun],
		] as const) {
			for (const [bytes, count, offset] of [
				[512, 63, 1001],
				[4096, 256, 300],
				[1_048_576, 24, 64],
			] as const) {
				await stage.run(
					`set -e
					dd if=/dev/urandom of=/tmp/both bs=${bytes} count=${count} status=none
					dd if=/tmp/both of=${from} bs=${bytes} seek=${offset} oflag=direct status=none
					[ "$(dd if=${to} bs=${bytes} skip=${offset} count=${count} iflag=direct status=none | sha256sum)" = "$(sha256sum < /tmp/both)" ]`,
				);
			}
			await stage.run(
				`blkdiscard -o 67108864 -l 4194304 ${from} && [ "$(dd if=${to} bs=1M skip=64 count=4 iflag=direct status=none | tr -d '\\000' | wc -c)" = 0 ]`,
			);
		}
		await onTarget(stage, 'volume', 'resize', 'volume0', '--size', '2G');
		await stage.run('iscsiadm -m session -R');
		const { output } = await stage.run(
			`for disk in ${lun} ${namespace}; do
				for i in $(seq 50); do [ $(blockdev --getsize64 $disk) = ${2 * gibibyte} ] && break; sleep 0.1; done; blockdev --getsize64 $disk
			done`,
		);
		expect(output === `${2 * gibibyte}\n${2 * gibibyte}\n`, 'the grow did not reach both');
		await stage.run(
			`dd if=/tmp/both of=${namespace} bs=1M seek=1536 oflag=direct status=none && [ "$(dd if=${lun} bs=1M skip=1536 count=24 iflag=direct status=none | sha256sum)" = "$(sha256sum < /tmp/both)" ]`,
		);
		await detach();
	},
};

export const bothReservations: Scenario = {
	name: 'both-reservations',
	claim: 'a reservation that one protocol took refuses writes of the other, each shows the other’s registrant, and preempt works across',
	units: oneUnit('both-reservations', gibibyte),
	// Writes that a reservation refuses.
	faults: 'medium',
	async run(stage) {
		const { lun, namespace, detach } = await attachBoth(stage, 'both-reservations');
		const write = async (disk: string): Promise<boolean> => {
			const { code, output } = await stage.run(`dd if=/dev/urandom of=${disk} bs=4k count=1 oflag=direct status=none`, { okCodes: 'any' });
			expect(code === 0 || /Invalid exchange/.test(output), `a write of ${disk} failed otherwise: ${output}`);
			return code === 0;
		};
		const expectWriters = async (luns: boolean, namespaces: boolean): Promise<void> => {
			const found = [await write(lun), await write(namespace)];
			expect(
				found[0] === luns && found[1] === namespaces,
				`writes of LUN and namespace pass: ${found.join(', ')}; ${luns}, ${namespaces} was expected`,
			);
		};
		await expectWriters(true, true);
		// NVMe holds.
		await nvme(stage, `resv-register ${namespace} --nrkey=0xa --rrega=0`);
		await nvme(stage, `resv-acquire ${namespace} --crkey=0xa --rtype=1 --racqa=0`);
		await expectWriters(false, true);
		await stage.run(`dd if=${lun} of=/dev/null bs=4k count=1 iflag=direct status=none`);
		const { output: keys } = await stage.run(`sg_persist --in --read-keys ${lun}; sg_persist --in --read-reservation ${lun}`);
		expect(/\b0xa\b/.test(keys) && /Write Exclusive/.test(keys), 'SCSI does not show the reservation of NVMe');
		await nvme(stage, `resv-release ${namespace} --crkey=0xa --rtype=1 --rrela=0`);
		await expectWriters(true, true);
		// SCSI holds.
		await stage.run(
			`sg_persist --out --register --param-sark=0xb ${lun} && sg_persist --out --reserve --param-rk=0xb --prout-type=1 ${lun}`,
		);
		await expectWriters(true, false);
		const report = await nvme(stage, `resv-report ${namespace} -e`);
		expect(
			/^regctl +: 2$/m.test(report) && /rkey +: b$/m.test(report) && /^rtype +: 1$/m.test(report),
			'NVMe does not show the reservation of SCSI',
		);
		// And NVMe takes it away.
		await nvme(stage, `resv-acquire ${namespace} --crkey=0xa --prkey=0xb --rtype=1 --racqa=1`);
		await expectWriters(false, true);
		// And SCSI takes it back, of which the NVMe host finds a notification.
		await stage.run(`sg_persist --out --register --param-sark=0xc ${lun}`, { okCodes: [0, 6] });
		await stage.run(`sg_persist --out --register-ignore --param-sark=0xc ${lun}`);
		await stage.run(`sg_persist --out --preempt --param-rk=0xc --param-sark=0xa --prout-type=1 ${lun}`);
		await expectWriters(true, false);
		const log = await nvme(stage, `resv-notif-log ${controllerOf(namespace)}`);
		// Type 1 is Registration Preempted; nvme-cli 2.3 has another name for it, off by one.
		expect(/Log Page Type\s+: 1 /.test(log) && /^Namespace ID:\s+: 1$/m.test(log), 'the NVMe host is not told');
		await stage.run(
			`sg_persist --out --release --param-rk=0xc --prout-type=1 ${lun} && sg_persist --out --register --param-rk=0xc --param-sark=0 ${lun}`,
		);
		await expectWriters(true, true);
		expect(/^regctl +: 0$/m.test(await nvme(stage, `resv-report ${namespace} -e`)), 'a registrant is left');
		await detach();
	},
};
