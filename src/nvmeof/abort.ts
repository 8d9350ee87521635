import type { AdminCommand } from './admin-command.ts';
import { limits } from './limits.ts';
import type { NvmController } from './nvm-controller.ts';
import { AbortSQE, CommonSQE } from './sqe.ts';
import { status } from './status.ts';

/**
 * NVMe Base 2.0, Abort. It completes when the command that it names is over; bit 0 of the answer says that it was not aborted, because there was none such or because it came to its own end.
 */
export const abort: AdminCommand<NvmController> = {
	name: 'Abort',
	opcode: 0x08,
	start(controller, request, queue) {
		const { sqe } = request;
		if (controller.aborts === limits.aborts) return request.end(status.abortCommandLimitExceeded);
		const target = controller.queues.get(AbortSQE.sqid.get(sqe, 0));
		request.result0 = 1;
		if (target === undefined) return 'finished';
		const identifier = AbortSQE.cid.get(sqe, 0);
		let returned = false;
		let over = false;
		const found = target.abort(
			(other) => other !== request && CommonSQE.commandIdentifier.get(other.sqe, 0) === identifier,
			(aborted) => {
				over = true;
				request.result0 = aborted ? 0 : 1;
				if (!returned) return;
				controller.aborts--;
				queue.finish(request);
			},
		);
		if (found === 0 || over) return 'finished';
		returned = true;
		controller.aborts++;
		return 'pending';
	},
};
