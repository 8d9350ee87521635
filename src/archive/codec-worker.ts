import { parentPort, workerData } from 'node:worker_threads';
import { setThreadUrgency, type ThreadUrgency } from '../os/thread-urgency.ts';
import { type CodecTask, execute } from './codec.ts';
import { letGo } from './let-go.ts';
import type { RepositoryKeys } from './repository-keys.ts';
import { ArchiveError } from './repository-types.ts';

/** One thread of codec-pool.ts: tasks in, results out, in their order. What is answered with an error is what an object's bytes did; anything else ends the thread. */
const { keys, urgency } = workerData as { keys: RepositoryKeys | undefined; urgency: ThreadUrgency };

// Where cores are short, the data path goes first. Where the kernel does not let it, the thread is one like any other.
setThreadUrgency(urgency);

parentPort?.on('message', ({ id, ...task }: CodecTask & { id: number }) => {
	const startedMs = performance.now();
	try {
		const result = execute(task, keys);
		if (task.task === 'unseal') letGo(task.object);
		const owned = [result.plain, result.object].filter((bytes) => bytes !== undefined && bytes.byteLength === bytes.buffer.byteLength);
		parentPort?.postMessage(
			{ id, tookMs: performance.now() - startedMs, result },
			owned.map((bytes) => bytes?.buffer as ArrayBuffer),
		);
	} catch (error) {
		if (!(error instanceof ArchiveError)) throw error;
		parentPort?.postMessage(
			{ id, tookMs: performance.now() - startedMs, fault: { code: error.code, message: error.message, object: error.object } },
			[],
		);
	}
});
