import { randomFillSync } from 'node:crypto';
import { read16, write16 } from '../test/initiator/cdb.ts';
import { scsiStatus, type Command, type CommandOwner } from '../test/initiator/command.ts';
import { InitiatorDisk } from '../test/initiator/disk.ts';
import { Session } from '../test/initiator/session.ts';

const pieceBytes = 1024 * 1024;
const depth = 4;

/** Goes once over the first `lengthBytes` of a LUN, writing random data, or reading so that it lies in the page cache. Then flushes. */
export async function goOver(
	op: 'read' | 'write',
	port: number,
	target: string,
	lun: number,
	lengthBytes: number,
	onProgress?: (share: number) => void,
): Promise<void> {
	const session = await Session.open({ port, targetName: target, commandsMax: 16 });
	const disk = new InitiatorDisk(session, lun);
	await disk.becomeReady();
	const { blockSize } = await disk.capacity();
	const payload = Buffer.alloc(pieceBytes * 8);
	randomFillSync(payload);
	await new Promise<void>((resolve, reject) => {
		let nextBytes = 0;
		let outstanding = 0;
		const owner: CommandOwner = {
			finished(command) {
				outstanding--;
				if (command.status !== scsiStatus.good) {
					reject(
						new Error(`the prefill failed with SCSI status ${command.status}: ${String(session.ended)}\n${command.sense.toString('hex')}`),
					);
					return;
				}
				onProgress?.(nextBytes / lengthBytes);
				if (nextBytes < lengthBytes) submit(command);
				else if (outstanding === 0) resolve();
			},
		};
		const submit = (command: Command): void => {
			command.lun = lun;
			command.owner = owner;
			const blocks = pieceBytes / blockSize;
			if (op === 'write') {
				command.dataOut = payload;
				// Another place in the random bytes each time, so that no two pieces are alike.
				command.dataOutStart = ((nextBytes / pieceBytes) * 4099 * 4 * 7) % (pieceBytes * 7);
				command.dataOutBytes = pieceBytes;
				write16(command.cdb, nextBytes / blockSize, blocks);
			} else {
				command.dataInBytes = pieceBytes;
				read16(command.cdb, nextBytes / blockSize, blocks);
			}
			nextBytes += pieceBytes;
			outstanding++;
			session.submit(command);
		};
		for (let index = 0; index < Math.min(depth, lengthBytes / pieceBytes); index++) submit(session.take()!);
	});
	await disk.flush();
	await session.logout();
}
