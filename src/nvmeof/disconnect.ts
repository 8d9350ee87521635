import type { FabricsCommand } from './fabrics-commands.ts';
import { DisconnectSQE } from './sqe.ts';
import { status } from './status.ts';

/** NVMe Base 2.0, Disconnect: deletes the I/O queue that it comes by. What is outstanding on it ends with the connection, behind the answer. */
export const disconnect: FabricsCommand = {
	name: 'Disconnect',
	fctype: 0x08,
	from: 'connected',
	start(queue, request) {
		if (queue.qid === 0) return request.end(status.invalidQueueType);
		if (DisconnectSQE.recfmt.get(request.sqe, 0) !== 0) return request.end(status.connectIncompatibleFormat);
		queue.controller!.queueClosed(queue);
		queue.endBehindAnswer('the host disconnected the queue');
		return 'finished';
	},
};
