import type { IoCommand } from './io-command.ts';
import { placeRange } from './lba-range.ts';
import { RangeSQE } from './sqe.ts';

/**
 * NVM Command Set 1.0, Read. Without protection information PRINFO and the tags mean nothing. With FUA what is read has to be on the non-volatile medium first, so the transport flushes before it reads.
 */
export const read: IoCommand = {
	name: 'Read',
	opcode: 0x02,
	access: 'read',
	changesContent: false,
	start(_context, request, namespace) {
		if (!placeRange(namespace, request)) return 'finished';
		request.fua = RangeSQE.fua.get(request.sqe, 0) === 1;
		namespace.statistics.read(request.lengthBytes);
		return 'read';
	},
};

/** NVM Command Set 1.0, Write. */
export const write: IoCommand = {
	name: 'Write',
	opcode: 0x01,
	access: 'write',
	changesContent: true,
	start({ controller }, request, namespace) {
		if (!placeRange(namespace, request)) return 'finished';
		request.fua = RangeSQE.fua.get(request.sqe, 0) === 1 || !controller.features.writeCache;
		namespace.statistics.written(request.lengthBytes);
		return 'write';
	},
};
