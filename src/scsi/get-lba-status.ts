import type { Allocation } from '../blockvol/block-device.ts';
import { answer, finish } from './answer.ts';
import { isInside, lbaOutOfRange } from './block-range.ts';
import { defineCommand } from './command.ts';
import { bits, u32be, u64be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { status } from './task.ts';
import type { ScsiTask } from './task.ts';

const startingLogicalBlockAddress = u64be(2);
const allocationLength = u32be(10);

/** SBC-3, GET LBA STATUS parameter data and LBA status descriptor. */
const header = { parameterDataLength: u32be(0) };
const headerLength = 8;
const descriptor = { lbaStatusLogicalBlockAddress: u64be(0), numberOfLogicalBlocks: u32be(8), provisioningStatus: bits(12, 0, 4) };
const descriptorLength = 16;
const mapped = 0;
const deallocated = 1;

/** Tells what is mapped from a block on, as far as some looks of the device go; the initiator asks again from there (SBC-3, GET LBA STATUS). */
export const getLbaStatus = defineCommand({
	name: 'GET LBA STATUS',
	opcode: 0x9e,
	serviceAction: 0x12,
	lengthBytes: 16,
	fields: { startingLogicalBlockAddress, allocationLength },
	reservation: 'read',
	start(unit, task) {
		const first = startingLogicalBlockAddress.get(task.cdb);
		if (!isInside(unit, first, 1)) return lbaOutOfRange(unit, task);
		const { blockSize } = unit.device;
		const room = Math.floor((allocationLength.get(task.cdb) - headerLength) / descriptorLength);
		const descriptorsMax = Math.min(Math.max(room, 1), limits.lbaStatusDescriptorsMax);
		void look(unit, task, first * blockSize, descriptorsMax).then(({ outcome, extents }) => {
			if (task.aborted) task.status = status.taskAborted;
			else if (outcome === 'good') {
				const data = Buffer.alloc(headerLength + extents.length * descriptorLength);
				header.parameterDataLength.set(data, data.length - 4);
				let lba = first;
				for (const [index, { lengthBytes, isMapped }] of extents.entries()) {
					const entry = data.subarray(headerLength + index * descriptorLength);
					descriptor.lbaStatusLogicalBlockAddress.set(entry, lba);
					descriptor.numberOfLogicalBlocks.set(entry, lengthBytes / blockSize);
					descriptor.provisioningStatus.set(entry, isMapped ? mapped : deallocated);
					lba += lengthBytes / blockSize;
				}
				answer(task, data, allocationLength.get(task.cdb));
			} else {
				unit.fail(task, outcome);
			}
			finish(task);
		});
		return 'pending';
	},
});

/** Neighbouring extents, found by one look after the other; others have their turn in between. */
async function look({ device }: LogicalUnit, task: ScsiTask, offsetBytes: number, extentsMax: number): Promise<Allocation> {
	const extents: Allocation['extents'] = [];
	let at = offsetBytes;
	for (let looks = 0; looks < limits.lbaStatusLooksMax && at < device.sizeBytes && !task.aborted; looks++) {
		if (looks > 0) await new Promise((resolve) => setImmediate(resolve));
		const seen = await device.allocation(at, extentsMax);
		// What was found before it is told; who asks again from there meets it first.
		if (seen.outcome !== 'good') return extents.length === 0 ? seen : { outcome: 'good', extents };
		for (const extent of seen.extents) {
			const last = extents.at(-1);
			if (last?.isMapped === extent.isMapped) last.lengthBytes += extent.lengthBytes;
			else if (extents.length === extentsMax) return { outcome: 'good', extents };
			else extents.push({ ...extent });
			at += extent.lengthBytes;
		}
	}
	return { outcome: 'good', extents };
}
