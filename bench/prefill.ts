import { randomFillSync } from 'node:crypto';
import { BareLane } from './bare-lane.ts';
import { IscsiLane } from './iscsi-lane.ts';
import type { Lane, LaneCommand } from './lane.ts';
import type { Protocol } from './load-shape.ts';
import { NvmeLane } from './nvme-lane.ts';

const pieceBytes = 1024 * 1024;
const depth = 4;

export interface PrefilledUnit {
	protocol: Protocol;
	port: number;
	target: string;
	/** LUN or namespace identifier. */
	unit: number;
}

/** Goes once over the first `lengthBytes` of a unit: writes random data and flushes, or reads so that it lies in the page cache. */
export async function goOver(
	op: 'read' | 'write',
	{ protocol, port, target, unit }: PrefilledUnit,
	lengthBytes: number,
	onProgress?: (share: number) => void,
): Promise<void> {
	const wanted = { port, target, units: [unit], depth, lanes: 1 };
	if (protocol === 'iscsi') await goOverLane((await IscsiLane.open(wanted))[0]!, op, lengthBytes, onProgress);
	else if (protocol === 'nvme') await goOverLane((await NvmeLane.open(wanted))[0]!, op, lengthBytes, onProgress);
	else await goOverLane((await BareLane.open(wanted))[0]!, op, lengthBytes, onProgress);
}

async function goOverLane<C extends LaneCommand>(
	lane: Lane<C>,
	op: 'read' | 'write',
	lengthBytes: number,
	onProgress: ((share: number) => void) | undefined,
): Promise<void> {
	const payload = Buffer.alloc(pieceBytes * 8);
	randomFillSync(payload);
	const blocks = pieceBytes / lane.blockSize;
	await new Promise<void>((resolve, reject) => {
		let nextBytes = 0;
		let outstanding = 0;
		const finished = (command: C): void => {
			outstanding--;
			const fault = lane.fault(command);
			if (fault !== undefined) {
				reject(new Error(`the prefill failed: ${fault}`));
				return;
			}
			onProgress?.(nextBytes / lengthBytes);
			if (nextBytes < lengthBytes) submit(command);
			else if (outstanding === 0) resolve();
		};
		const submit = (command: C): void => {
			const lba = nextBytes / lane.blockSize;
			// Another place in the random bytes each time, so that no two pieces are alike.
			command.dataOutStart = ((nextBytes / pieceBytes) * 4099 * 4 * 7) % (pieceBytes * 7);
			command.dataOut = op === 'write' ? payload : undefined;
			nextBytes += pieceBytes;
			outstanding++;
			if (op === 'write') lane.write(command, lba, blocks);
			else lane.read(command, lba, blocks);
		};
		for (let index = 0; index < Math.min(depth, lengthBytes / pieceBytes); index++) submit(lane.take({ finished })!);
	});
	if (op === 'write') await flush(lane);
	await lane.close();
}

async function flush<C extends LaneCommand>(lane: Lane<C>): Promise<void> {
	await new Promise<void>((resolve, reject) => {
		const finished = (command: C): void => {
			const fault = lane.fault(command);
			if (fault === undefined) resolve();
			else reject(new Error(`the flush behind the prefill failed: ${fault}`));
		};
		lane.flush(lane.take({ finished })!);
	});
}
