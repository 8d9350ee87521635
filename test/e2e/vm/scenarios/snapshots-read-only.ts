import { expect } from '../../../conformance/checks.ts';
import { connect, disconnect, diskOf as namespaceOf, nqn, nvmeFails, offer, onTarget } from '../host.ts';
import { diskOf as lunOf, login, logout } from '../initiator.ts';
import { iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('read-only');
const subsystem = nqn('read-only');

export const snapshotsReadOnly: Scenario = {
	name: 'snapshots-read-only',
	claim: 'a mounted snapshot is a write-protected disk over both protocols: its files can be read, and nothing can be written to it',
	units: oneUnit('read-only', 64 * mebibyte),
	async run(stage) {
		const disk = await login(stage, target);
		await stage.run(`mkfs.ext4 -q ${disk} && mount ${disk} /mnt`);
		await stage.run(
			'for i in 1 2 3; do dd if=/dev/urandom of=/mnt/file$i bs=64k count=16 status=none; done; cd /mnt; sha256sum file* > /tmp/frozen.sum',
		);
		// Frozen, the file system has everything in its place: whoever reads it needs no journal.
		await stage.run('fsfreeze -f /mnt');
		await onTarget(stage, 'snapshot', 'create', 'volume0', 'frozen');
		await stage.run('fsfreeze -u /mnt');
		// And one of a file system that is being used: its journal would have to be replayed.
		await stage.run('touch /mnt/later && sync');
		await onTarget(stage, 'snapshot', 'create', 'volume0', 'used');
		await stage.run('dd if=/dev/urandom of=/mnt/file1 bs=64k count=16 conv=notrunc,fsync status=none; rm /mnt/file2; sync');

		await offer(stage, subsystem);
		await connect(stage, subsystem);
		for (const [index, name] of ['frozen', 'used'].entries()) {
			const number = String(index + 2);
			await onTarget(
				stage,
				'snapshot',
				'mount',
				`volume0@${name}`,
				'--target',
				target,
				'--lun',
				number,
				'--subsystem',
				subsystem,
				'--nsid',
				number,
			);
		}
		const lun = await lunOf(stage, target, 2);
		const namespace = await namespaceOf(stage, subsystem, 2);
		await expectReadOnly(stage, lun, await lunOf(stage, target, 3));
		const generic = (await stage.run(`ls -d /sys/block/${lun.replace('/dev/', '')}/device/scsi_generic/*`)).output.trim().split('/').at(-1);
		const { output } = await stage.run(`sg_dd if=/dev/zero of=/dev/${generic} bs=512 count=8`, { okCodes: 'any' });
		expect(/data protect/i.test(output), `a WRITE is not refused with DATA PROTECT: ${output}`);
		await expectReadOnly(stage, namespace, await namespaceOf(stage, subsystem, 3));
		await stage.run('dd if=/dev/zero of=/tmp/zeros bs=512 count=8 status=none');
		await nvmeFails(stage, `write ${namespace} -s 0 -c 7 -z 4096 -d /tmp/zeros`, /Write.Protected/i);
		// Both are the same disk to who knows its name, and neither the volume nor what was refused has changed it.
		await stage.run(`busybox cmp ${lun} ${namespace}`, { timeoutSeconds: 90 });
		await expectFiles(stage, lun);

		await disconnect(stage, subsystem);
		await stage.run('umount /mnt && udevadm settle');
		await logout(stage, target);
	},
};

/** frozen, used: disks of the two snapshots. */
async function expectReadOnly(stage: Stage, frozen: string, used: string): Promise<void> {
	const { output } = await stage.run(`cat /sys/block/${frozen.replace('/dev/', '')}/ro; blockdev --getro ${used}`);
	expect(output === '1\n1\n', `the kernel takes ${frozen} and ${used} for writable`);
	await expectFiles(stage, frozen);
	const options = { okCodes: 'any' } as const;
	expect((await stage.run(`mount --rw ${frozen} /mnt/other`, options)).code !== 0, `${frozen} can be mounted for writing`);
	expect((await stage.run(`dd if=/dev/zero of=${frozen} bs=4k count=1 oflag=direct`, options)).code !== 0, `${frozen} can be written to`);
	// With the journal to be replayed the kernel says what to do, and that works.
	expect((await stage.run(`mount -o ro ${used} /mnt/other; dmesg | tail -n 2`, options)).output.includes('noload'), 'no word of noload');
	await stage.run(
		`mount -o ro,noload ${used} /mnt/other && cd /mnt/other && grep file3 /tmp/frozen.sum | sha256sum --quiet -c && cd / && umount /mnt/other`,
	);
}

async function expectFiles(stage: Stage, disk: string): Promise<void> {
	await stage.run(
		`mkdir -p /mnt/other && mount -o ro,noload ${disk} /mnt/other && cd /mnt/other && sha256sum --quiet -c /tmp/frozen.sum && ! [ -e later ] && cd / && umount /mnt/other`,
	);
}
