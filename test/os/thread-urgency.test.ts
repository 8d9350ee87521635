import test from 'ava';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ThreadUrgency } from '../../src/os/thread-urgency.ts';

interface Seen {
	readonly isSet: boolean;
	readonly niceness: number;
	/** As the kernel numbers them: 0 is the ordinary one, 5 SCHED_IDLE. */
	readonly policy: number;
}

const source = `
	import { readFileSync } from 'node:fs';
	import { parentPort, workerData } from 'node:worker_threads';
	const { setThreadUrgency } = await import(workerData.module);
	const isSet = setThreadUrgency(workerData.urgency);
	const fields = readFileSync('/proc/thread-self/stat', 'utf8').replace(/^.*\\) /s, '').split(' ');
	parentPort.postMessage({ isSet, niceness: Number(fields[16]), policy: Number(fields[38]) });
`;

async function seenBy(urgency: ThreadUrgency): Promise<Seen> {
	const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
		workerData: { module: import.meta.resolve('../../src/os/thread-urgency.ts'), urgency },
	});
	const [seen] = (await once(worker, 'message')) as [Seen];
	await worker.terminate();
	return seen;
}

test('a thread in the background has the policy that makes room at once, one of low urgency the ordinary one with less weight; nobody else changes', async (t) => {
	if (process.platform !== 'linux') {
		t.pass('priorities are those of processes here');
		return;
	}
	const background = await seenBy('background');
	t.like(background, { isSet: true, policy: 5 });
	const low = await seenBy('low');
	t.like(low, { isSet: true, policy: 0 });
	t.true(low.niceness >= 10);
});
