import { expect } from '../../../conformance/checks.ts';
import { connect, disconnect, nqn, offer, onTarget } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';

const name = nqn('grow');

export const nvmeGrow: Scenario = {
	name: 'nvme-grow',
	claim: 'a volume grows while its file system is mounted and written to: the host sees it by itself, xfs_growfs, nothing is lost',
	units: oneUnit('grow', gibibyte),
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name);
		await stage.run(`mkfs.xfs -q ${disk} && mount ${disk} /mnt`);
		await stage.run('dd if=/dev/urandom of=/mnt/before bs=1M count=64 status=none && sha256sum /mnt/before > /tmp/grow.sum');
		const writer = stage.run(
			'dd if=/dev/urandom of=/mnt/during bs=1M count=192 conv=fsync status=none && sha256sum /mnt/during >> /tmp/grow.sum',
			{ timeoutSeconds: 90 },
		);
		writer.catch(() => undefined);
		await onTarget(stage, 'volume', 'resize', 'volume0', '--size', '3G');
		const { output } = await stage.run(
			`for i in $(seq 50); do [ $(blockdev --getsize64 ${disk}) = ${3 * gibibyte} ] && break; sleep 0.1; done; blockdev --getsize64 ${disk}`,
		);
		expect(Number(output) === 3 * gibibyte, `without a rescan the disk has ${output.trim()} bytes`);
		await stage.run('xfs_growfs /mnt');
		await writer;
		// More than fitted before.
		await stage.run(
			'fallocate -l 1500M /mnt/space; dd if=/dev/urandom of=/mnt/after bs=1M count=64 status=none && sha256sum /mnt/after >> /tmp/grow.sum',
		);
		await stage.run('umount /mnt');
		await disconnect(stage, name);
		const again = await connect(stage, name);
		await stage.run(`mount ${again} /mnt && sha256sum --quiet -c /tmp/grow.sum && df -m /mnt && umount /mnt && xfs_repair -n ${again}`, {
			timeoutSeconds: 90,
		});
		await disconnect(stage, name);
	},
};
