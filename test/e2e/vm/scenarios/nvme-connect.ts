import { expect } from '../../../conformance/checks.ts';
import { everySize, fio } from '../fio.ts';
import { connect, disconnect, hosts, nqn, offer, onTarget, raiseCommandSize } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';

const name = nqn('connect');

/** What nvme connect may be told, and the I/O queues that the target must then have: at most one of a kind for each of the guest's two processors. */
const ways = [
	{ options: '--nr-io-queues=1', queues: 1 },
	{ options: '--nr-io-queues=2 --nr-write-queues=2 --nr-poll-queues=2', queues: 6 },
	{ options: '--hdr-digest', queues: 2 },
	{ options: '--data-digest', queues: 2 },
	{ options: '--hdr-digest --data-digest --nr-io-queues=1 --queue-size=16', queues: 1 },
] as const;

export const nvmeConnect: Scenario = {
	name: 'nvme-connect',
	claim: 'one I/O queue or six, header and data digests, short and long queues: fio reads back what it wrote, in commands of up to 4 MiB',
	units: oneUnit('connect', 2 * gibibyte),
	async run(stage) {
		await offer(stage, name);
		for (const [index, { options, queues }] of ways.entries()) {
			const disk = await connect(stage, name, options);
			const line = (await onTarget(stage, 'controller', 'list')).split('\n').find((one) => one.includes(hosts.guest.nqn));
			expect(Number(/:\d+\s+(\d+)/.exec(line?.split(name)[1] ?? '')?.[1]) === queues, `${queues} I/O queues were expected`);
			await raiseCommandSize(stage, disk);
			const sizes = { rw: 'randwrite', bssplit: everySize, size: '512m', io_size: '16m', randseed: index + 1 };
			await fio(stage, { name: 'connect', disk, phase: 'both', options: sizes });
			await disconnect(stage, name);
		}
	},
};
