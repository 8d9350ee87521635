import type { IoCommand } from './io-command.ts';
import { placeRange } from './lba-range.ts';
import { walkRange } from './range-walk.ts';
import { RangeSQE } from './sqe.ts';
import { status } from './status.ts';
import { payloadOf } from './verify-buffers.ts';

/** NVM Command Set 1.0, Verify: reads every block of the range, whose checksums the engine compares. VSL names no bound, so any NLB is taken. */
export const verify: IoCommand = {
	name: 'Verify',
	opcode: 0x0c,
	oncs: 7,
	access: 'read',
	changesContent: false,
	start({ queue }, request, namespace) {
		if (!placeRange(namespace, request, Infinity)) return 'finished';
		request.fua = RangeSQE.fua.get(request.sqe, 0) === 1;
		namespace.statistics.read(request.lengthBytes);
		const { verifyBuffers } = namespace;
		verifyBuffers.take((pooled) => {
			const done = (): void => {
				verifyBuffers.give(pooled);
				queue.finish(request);
			};
			if (request.aborted || queue.isClosed) {
				request.end(status.commandAbortRequested);
				done();
				return;
			}
			walkRange(request, payloadOf(pooled), { visited: () => true, failed: (outcome) => namespace.statistics.failed(outcome), done });
		});
		return 'pending';
	},
};
