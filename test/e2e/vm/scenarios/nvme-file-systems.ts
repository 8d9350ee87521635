import { connect, disconnect, nqn, offer } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { kinds, playFileSystem } from './file-systems.ts';

/** XFS goes with digests, ext4 without. */
const connectOptions: Readonly<Record<string, string>> = { ext4: '', xfs: '--hdr-digest --data-digest' };

export const nvmeFileSystems: readonly Scenario[] = kinds
	.filter(({ name }) => name in connectOptions)
	.map((fileSystem) => ({
		name: `nvme-${fileSystem.name}`,
		claim: `mkfs.${fileSystem.name}, files, umount, disconnect, connect: every file has its checksum, and the file system is sound`,
		units: oneUnit(fileSystem.name, 8 * gibibyte),
		run: async (stage: Stage) => {
			const name = nqn(fileSystem.name);
			await offer(stage, name);
			return await playFileSystem(stage, fileSystem, {
				attach: async () => await connect(stage, name, connectOptions[fileSystem.name]),
				detach: async () => await disconnect(stage, name),
			});
		},
	}));
