import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

export interface FileSystem {
	readonly name: string;
	readonly make: string;
	/** Reads everything and changes nothing. */
	readonly check: string;
	readonly mount?: string;
}

export const kinds: readonly FileSystem[] = [
	{ name: 'ext4', make: 'mkfs.ext4 -q', check: 'e2fsck -fn' },
	{ name: 'xfs', make: 'mkfs.xfs -q', check: 'xfs_repair -n' },
	{ name: 'btrfs', make: 'mkfs.btrfs -q', check: 'btrfs check --readonly --check-data-csum' },
];

/** Many small files, some large ones, names and holes; then what they must read as. */
const fill = `set -e
cd /mnt
cp -a /usr/sbin /usr/share/zoneinfo .
dd if=/dev/urandom of=large bs=1M count=32 status=none
truncate -s 200M sparse
dd if=/dev/urandom of=sparse bs=4k count=100 seek=20000 conv=notrunc status=none
find . -type f -print0 | xargs -0 sha256sum > /tmp/scenario/sums
wc -l < /tmp/scenario/sums
du -sm .`;

/** How the disk comes and goes. */
export interface Attachment {
	readonly attach: (stage: Stage) => Promise<string>;
	readonly detach: (stage: Stage) => Promise<void>;
}

export async function playFileSystem(stage: Stage, { make, check }: FileSystem, { attach, detach }: Attachment): Promise<string> {
	await stage.run('mkdir -p /tmp/scenario');
	const disk = await attach(stage);
	const makeMs = performance.now();
	await stage.run(`${make} ${disk}`);
	const figures = `mkfs ${((performance.now() - makeMs) / 1000).toFixed(1)} s`;
	await stage.run(`mount ${disk} /mnt`);
	await stage.run(fill, { timeoutSeconds: 120 });
	await stage.run('umount /mnt');
	await detach(stage);
	const again = await attach(stage);
	await stage.run(`mount ${again} /mnt && cd /mnt && sha256sum --quiet -c /tmp/scenario/sums`, { timeoutSeconds: 120 });
	await stage.run('umount /mnt');
	await stage.run(`${check} ${again}`, { timeoutSeconds: 120 });
	await detach(stage);
	return figures;
}

export const fileSystems: readonly Scenario[] = kinds.map((fileSystem) => ({
	name: fileSystem.name,
	claim: `mkfs.${fileSystem.name}, files, umount, logout, login: every file has its checksum, and the file system is sound`,
	units: oneUnit(fileSystem.name, 8 * gibibyte),
	run: async (stage: Stage) =>
		await playFileSystem(stage, fileSystem, {
			attach: async () => await login(stage, iqn(fileSystem.name)),
			detach: async () => await logout(stage, iqn(fileSystem.name)),
		}),
}));
