import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';

const target = iqn('grow');

export const grow: Scenario = {
	name: 'grow',
	claim: 'a volume grows while its file system is mounted and written to: rescan and resize2fs, nothing is lost',
	units: oneUnit('grow', gibibyte),
	async run(stage) {
		const disk = await login(stage, target);
		const name = disk.replace('/dev/', '');
		await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt`);
		await stage.run('dd if=/dev/urandom of=/mnt/before bs=1M count=64 status=none && sha256sum /mnt/before > /tmp/grow.sum');
		const writer = stage.run(
			'dd if=/dev/urandom of=/mnt/during bs=1M count=256 conv=fsync status=none && sha256sum /mnt/during >> /tmp/grow.sum',
			{
				timeoutSeconds: 90,
			},
		);
		writer.catch(() => undefined);
		stage.log('host# blockport volume resize volume0 --size 3G');
		stage.log((await stage.target.cli('volume', 'resize', 'volume0', '--size', '3G')).trim());
		await stage.run('iscsiadm -m session -R');
		const { output } = await stage.run(
			`for i in $(seq 50); do [ $(blockdev --getsize64 ${disk}) = ${3 * gibibyte} ] && break; sleep 0.1; done; blockdev --getsize64 ${disk}`,
		);
		expect(Number(output) === 3 * gibibyte, `after the rescan ${name} has ${output.trim()} bytes`);
		await stage.run(`resize2fs ${disk}`);
		await writer;
		// More than fitted before.
		await stage.run(
			'for i in 1 2 3; do fallocate -l 512M /mnt/space$i; done; dd if=/dev/urandom of=/mnt/after bs=1M count=64 status=none && sha256sum /mnt/after >> /tmp/grow.sum',
		);
		await stage.run('umount /mnt');
		await logout(stage, target);
		const again = await login(stage, target);
		await stage.run(`mount ${again} /mnt && sha256sum --quiet -c /tmp/grow.sum && df -m /mnt && umount /mnt && e2fsck -fn ${again}`, {
			timeoutSeconds: 90,
		});
		await logout(stage, target);
	},
};
