import type { IoCommand } from './io-command.ts';
import { placeRange } from './lba-range.ts';
import { limits } from './limits.ts';
import { RangeSQE } from './sqe.ts';

/** NVM Command Set 1.0, Write Zeroes. With or without DEAC the range takes no space afterwards: zeros are what is read from blocks that have none (DLFEAT). */
export const writeZeroes: IoCommand = {
	name: 'Write Zeroes',
	opcode: 0x08,
	oncs: 3,
	access: 'write',
	changesContent: true,
	start({ queue, controller }, request, namespace) {
		if (!placeRange(namespace, request, limits.writeZeroesBytesMax)) return 'finished';
		const fua = RangeSQE.fua.get(request.sqe, 0) === 1 || !controller.features.writeCache;
		request.onOutcome = queue.settle;
		namespace.device.zero(request.offsetBytes, request.lengthBytes, fua, request);
		return 'pending';
	},
};
