import { InitiatorDisk } from '../test/initiator/disk.ts';
import { Session } from '../test/initiator/session.ts';
import { Association } from '../test/nvme-host/association.ts';
import { Namespace } from '../test/nvme-host/namespace.ts';
import type { Rig } from './rig.ts';
import { pageBytes, type SoakVolume } from './soak-volume.ts';

const pieceBytes = 256 * 1024;
const katoMs = 15_000;

/** Reads every page of every volume, in turns over iSCSI and NVMe. Resolves to what is wrong, at most one fault for each volume. */
export async function verifyAll(rig: Rig, models: readonly SoakVolume[], onProgress: (share: number) => void): Promise<string[]> {
	const faults: string[] = [];
	const session = await Session.open({ port: rig.iscsi.port, targetName: rig.iscsi.target });
	const association = await Association.open({ port: rig.nvme.port, subnqn: rig.nvme.target, katoMs, keepsAlive: true });
	try {
		for (const [volume, model] of models.entries()) {
			const disk = new InitiatorDisk(session, rig.iscsi.units[volume]!);
			await disk.becomeReady();
			const namespace = await Namespace.attach(association, rig.nvme.units[volume]!);
			const { blockSize } = namespace;
			const sizeBytes = model.pages * pageBytes;
			for (let at = 0; at < sizeBytes; at += pieceBytes) {
				const [lba, blocks] = [at / blockSize, Math.min(pieceBytes, sizeBytes - at) / blockSize];
				const isEven = (at / pieceBytes) % 2 === 0;
				const data = isEven ? await disk.read(lba, blocks, blockSize) : await namespace.read(lba, blocks);
				const fault = model.fault(data, at / pageBytes);
				onProgress((volume + at / sizeBytes) / models.length);
				if (fault === undefined) continue;
				faults.push(`at the end, over ${isEven ? 'iSCSI' : 'NVMe'}: ${fault}`);
				break;
			}
		}
		await session.logout();
		await association.shutdown();
		return faults;
	} finally {
		association.destroy();
	}
}
