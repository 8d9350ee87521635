import type { IoCommand } from './io-command.ts';
import { placeRange } from './lba-range.ts';
import { limits } from './limits.ts';
import { walkRange } from './range-walk.ts';
import { RangeSQE } from './sqe.ts';
import { status } from './status.ts';

/** NVM Command Set 1.0, Compare. The host's data is here whole; the medium is read piece by piece beside it. */
export const compare: IoCommand = {
	name: 'Compare',
	opcode: 0x05,
	oncs: 0,
	access: 'read',
	changesContent: false,
	start(_context, request, namespace) {
		if (!placeRange(namespace, request, Math.min(limits.transferBytesMax, limits.parameterBytesMax))) return 'finished';
		request.fua = RangeSQE.fua.get(request.sqe, 0) === 1;
		return 'parameters';
	},
	parameters({ queue }, request, namespace, data) {
		namespace.statistics.read(request.lengthBytes);
		const startBytes = request.offsetBytes;
		// No longer than the data that the transport has counted.
		const buffer = Buffer.allocUnsafe(Math.min(limits.pieceBytes, request.lengthBytes));
		walkRange(request, buffer, {
			visited(offsetBytes, lengthBytes) {
				const from = offsetBytes - startBytes;
				if (buffer.compare(data, from, from + lengthBytes, 0, lengthBytes) === 0) return true;
				request.end(status.compareFailure);
				return false;
			},
			failed: (outcome) => namespace.statistics.failed(outcome),
			done: () => queue.finish(request),
		});
		return 'pending';
	},
};
