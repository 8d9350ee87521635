import * as commands from '../../nvme-host/commands.ts';
import { HostError } from '../../nvme-host/host-error.ts';
import type { Queue } from '../../nvme-host/queue.ts';
import { type Identity, negotiate, reply, success2 } from './host.ts';

const allocationLength = 4096;

/** Authenticates a queue of the test host; with a controller's key it wants proof of the controller too. Rejects with HostError when either side refuses. */
export function authenticate(identity: Identity, controllerKey?: Buffer): (queue: Queue) => Promise<void> {
	return async (queue) => {
		const send = async (dataOut: Buffer) => {
			await queue.expectGood((sqe) => commands.authenticationSend(sqe, dataOut.length), { dataOut });
		};
		const receive = async (id: number) => {
			const { data } = await queue.expectGood((sqe) => commands.authenticationReceive(sqe, allocationLength), {
				dataInBytes: allocationLength,
			});
			if (data[0] === 0 && data[1] === 0xf1) throw new HostError(`authentication refused, explanation ${data[7]}`);
			if (data[1] !== id) throw new HostError(`authentication message ${data[1]} instead of ${id}`);
			return data;
		};
		await send(negotiate());
		const challenge = await receive(1);
		const length = 16 + (challenge[6] ?? 0) + challenge.readUInt16LE(10);
		const answer = reply(challenge.subarray(0, length), identity, controllerKey !== undefined);
		await send(answer.message);
		const success1 = await receive(3);
		if (controllerKey === undefined) return;
		const expected = answer.expected(controllerKey);
		if (!success1.subarray(16, 16 + expected.length).equals(expected)) throw new HostError('the controller does not know its secret');
		await send(success2());
	};
}
