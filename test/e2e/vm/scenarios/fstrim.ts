import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from '../../../conformance/checks.ts';
import { shell } from '../image/shell.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('fstrim');
const fileMiB = 320;
/** The flusher punches the holes when the log says so; it need not be at once. */
const patienceSeconds = 60;

/** What the volume's layers take on the host, MiB. The log beside them has a size of its own. */
export async function layersMiB(stage: Stage): Promise<number> {
	const volumes = join(stage.target.folder, 'volumes');
	const [uuid] = await readdir(volumes);
	return Number((await shell('du', ['-sm', join(volumes, uuid!, 'layers')])).split('\t')[0]);
}

/** Waits until the layers are of such a size; resolves to what they are in the end, when it did not come to that. */
export async function settled(stage: Stage, isEnough: (mebibytes: number) => boolean): Promise<number> {
	for (let waited = 0; waited < patienceSeconds; waited++) {
		const mebibytes = await layersMiB(stage);
		if (isEnough(mebibytes)) return mebibytes;
		await pause(1000);
	}
	return await layersMiB(stage);
}

export const fstrim: Scenario = {
	name: 'fstrim',
	claim: 'the kernel sees a thin disk, and fstrim gives the space of a deleted file back on the host, but not that of its neighbour',
	units: oneUnit('fstrim', 4 * gibibyte),
	async run(stage) {
		const disk = await login(stage, target);
		const name = disk.replace('/dev/', '');
		const { output } = await stage.run(
			`cat /sys/block/${name}/device/scsi_disk/*/provisioning_mode /sys/block/${name}/queue/discard_granularity`,
		);
		expect(output === 'unmap\n4096\n', 'the kernel would not unmap in pages');
		await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt`);
		await stage.run('dd if=/dev/urandom of=/mnt/kept bs=1M count=64 status=none && sha256sum /mnt/kept > /tmp/kept.sum && sync');
		const before = await settled(stage, (mebibytes) => mebibytes >= 64);
		await stage.run(`for i in $(seq 4); do dd if=/dev/urandom of=/mnt/file$i bs=1M count=${fileMiB / 4} status=none; done; sync`);
		const full = await settled(stage, (mebibytes) => mebibytes >= before + fileMiB);
		expect(full >= before + fileMiB, `${fileMiB} MiB were written, and the layers grew from ${before} to ${full} MiB`);
		await stage.run('rm /mnt/file*; sync; fstrim -v /mnt');
		const after = await settled(stage, (mebibytes) => mebibytes <= full - fileMiB * 0.95);
		expect(after <= full - fileMiB * 0.95, `the layers took ${full} MiB before fstrim and ${after} MiB after`);
		await stage.run('umount /mnt');
		await logout(stage, target);
		const again = await login(stage, target);
		await stage.run(`mount ${again} /mnt && sha256sum --quiet -c /tmp/kept.sum && umount /mnt && e2fsck -fn ${again}`);
		await logout(stage, target);
		return `on the host ${before} MiB, ${full} with the file, ${after} after fstrim`;
	},
};
