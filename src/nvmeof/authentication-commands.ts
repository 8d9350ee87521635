import { authLimits } from './auth-limits.ts';
import type { FabricsCommand } from './fabrics-commands.ts';
import type { Queue } from './queue.ts';
import type { Request } from './request.ts';
import { AuthenticationSQE } from './sqe.ts';
import { status } from './status.ts';

/** SECP of authentication, and the only SPSP0 and SPSP1 that go with it (NVMe Base 2.0, Authentication Send). */
const secp = 0xe9;

function isForAuthentication({ sqe }: Request): boolean {
	return (
		AuthenticationSQE.secp.get(sqe, 0) === secp && AuthenticationSQE.spsp0.get(sqe, 0) === 1 && AuthenticationSQE.spsp1.get(sqe, 0) === 1
	);
}

/** A queue whose exchange failed goes, behind the answer that says so. */
function endIfFailed(queue: Queue): void {
	if (queue.auth?.failed === true) queue.endBehindAnswer(`authentication failed: ${queue.auth.failure ?? 'refused'}`);
}

export const authenticationSend: FabricsCommand = {
	name: 'Authentication Send',
	fctype: 0x05,
	from: 'unauthenticated',
	start(queue, request) {
		const length = AuthenticationSQE.length.get(request.sqe, 0);
		if (queue.auth === undefined || !isForAuthentication(request)) return request.end(status.invalidField);
		if (length === 0 || length > authLimits.messageBytesMax) return request.end(status.invalidField);
		request.lengthBytes = length;
		return 'parameters';
	},
	parameters(queue, request, data) {
		queue.auth!.send(data, queue.fabric.now());
		endIfFailed(queue);
		return 'finished';
	},
};

export const authenticationReceive: FabricsCommand = {
	name: 'Authentication Receive',
	fctype: 0x06,
	from: 'unauthenticated',
	start(queue, request) {
		const length = AuthenticationSQE.length.get(request.sqe, 0);
		if (queue.auth === undefined || !isForAuthentication(request) || length === 0) return request.end(status.invalidField);
		const message = queue.auth.receive(length);
		if (message === 'nothing') return request.end(status.commandSequenceError);
		if (message === 'short') return request.end(status.invalidField);
		request.dataToHost = message;
		endIfFailed(queue);
		return 'finished';
	},
};
