import { layout, u32le } from '../wire/layout.ts';
import type { IoCommand } from './io-command.ts';
import { isInside } from './lba-range.ts';
import { limits } from './limits.ts';
import { number64le } from './number-field.ts';
import { endWithOutcome } from './outcome-status.ts';
import type { Request } from './request.ts';
import { DatasetManagementSQE, SGLDescriptor } from './sqe.ts';
import { status } from './status.ts';
import type { IoContext } from './io-command.ts';
import type { Namespace } from './namespace.ts';

/** NVM Command Set 1.0, Dataset Management - Range Definition. */
export const RangeDefinition = layout('Range Definition', 16, {
	contextAttributes: u32le(0),
	lengthInBlocks: u32le(4),
	slba: number64le(8),
});

interface Range {
	readonly offsetBytes: number;
	readonly lengthBytes: number;
}

/**
 * NVM Command Set 1.0, Dataset Management. All ranges are checked before the first takes effect, so a refused command has changed nothing. Without AD the ranges are hints, and are taken as such.
 * The data may be longer than the ranges that are counted: Linux sends room for all 256 each time.
 */
export const datasetManagement: IoCommand = {
	name: 'Dataset Management',
	opcode: 0x09,
	oncs: 2,
	access: 'write',
	changesContent: true,
	start(_context, request) {
		const sentBytes = SGLDescriptor.length.get(request.sqe, DatasetManagementSQE.sgl1.offset);
		request.lengthBytes = Math.min(Math.max(sentBytes, rangesBytes(request)), limits.dataManagementRangesMax * RangeDefinition.sizeBytes);
		return 'parameters';
	},
	parameters(context, request, namespace, data) {
		const { blockSize } = namespace.device;
		const ranges: Range[] = [];
		for (let at = 0; at < rangesBytes(request); at += RangeDefinition.sizeBytes) {
			const slba = RangeDefinition.slba.get(data, at);
			const blocks = RangeDefinition.lengthInBlocks.get(data, at);
			if (!isInside(namespace, slba, blocks)) return request.end(status.lbaOutOfRange);
			if (blocks > 0) ranges.push({ offsetBytes: slba * blockSize, lengthBytes: blocks * blockSize });
		}
		if (DatasetManagementSQE.ad.get(request.sqe, 0) === 0) return 'finished';
		return deallocate(context, request, namespace, ranges);
	},
};

function rangesBytes({ sqe }: Request): number {
	return (DatasetManagementSQE.nr.get(sqe, 0) + 1) * RangeDefinition.sizeBytes;
}

function deallocate(
	{ queue, controller }: IoContext,
	request: Request,
	{ device }: Namespace,
	ranges: readonly Range[],
): 'finished' | 'pending' {
	let index = 0;
	const next = (): boolean => {
		const range = ranges[index++];
		if (range === undefined) return false;
		device.zero(range.offsetBytes, range.lengthBytes, !controller.features.writeCache, request);
		return true;
	};
	request.onOutcome = (_request, outcome) => {
		if (outcome !== 'good') endWithOutcome(request, outcome, 'write');
		else if (request.aborted && index < ranges.length) request.end(status.commandAbortRequested);
		else if (next()) return;
		queue.finish(request);
	};
	return next() ? 'pending' : 'finished';
}
