import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { IscsiLane } from './iscsi-lane.ts';
import type { Access } from './rig.ts';

const mebibyte = 2 ** 20;
const placeBytes = 64 * 1024;
/** Of all places, one in so many changes. */
const changedOneIn = 100;

/** An image as volumes are: zeros, bytes that do not shrink, text, and repetitions, in pieces of 1 MiB by turns. */
export async function makeImage(path: string, sizeBytes: number): Promise<void> {
	const file = await open(path, 'w');
	try {
		const piece = Buffer.alloc(mebibyte);
		const repeated = randomFillSync(Buffer.alloc(mebibyte));
		for (let at = 0; at < sizeBytes; at += mebibyte) {
			const kind = (at / mebibyte) % 4;
			if (kind === 0) continue;
			if (kind === 1) randomFillSync(piece);
			else if (kind === 2) text(piece, at / mebibyte);
			await file.write(kind === 3 ? repeated : piece, 0, mebibyte, at);
		}
		await file.truncate(sizeBytes);
	} finally {
		await file.close();
	}
}

/** Changes 1 % of the image, in the file and on the unit alike. */
export async function changeImage(access: Access, path: string, sizeBytes: number, seed: number): Promise<void> {
	const file = await open(path, 'r+');
	const [lane] = await IscsiLane.open({ port: access.port, target: access.target, units: [0], depth: 1, lanes: 1 });
	try {
		const places = Math.floor(sizeBytes / placeBytes);
		for (let count = 0; count < places / changedOneIn; count++) {
			// A stride that comes to each place once.
			const place = ((count * 7919 + seed * 104_729) * 31) % places;
			const data = randomFillSync(Buffer.alloc(placeBytes));
			await file.write(data, 0, placeBytes, place * placeBytes);
			await written(lane!, data, place * placeBytes);
		}
		await file.datasync();
	} finally {
		await lane!.close();
		await file.close();
	}
}

async function written(lane: IscsiLane, data: Buffer, offsetBytes: number): Promise<void> {
	await new Promise<void>((resolve, reject) => {
		const command = lane.take({
			finished: (ended) => {
				const fault = lane.fault(ended);
				if (fault === undefined) resolve();
				else reject(new Error(`a write of the change failed: ${fault}`));
			},
		})!;
		command.dataOut = data;
		lane.write(command, offsetBytes / lane.blockSize, data.length / lane.blockSize);
	});
}

function text(target: Buffer, seed: number): void {
	let at = 0;
	for (let line = 0; at < target.length; line++)
		at += target.write(`${seed} row ${line}: customer ${(line * 7919) % 100_003}, balance ${(line * 31) % 997}\n`, at);
}
