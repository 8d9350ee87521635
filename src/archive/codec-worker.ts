import { getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { type CodecTask, execute } from './codec.ts';
import type { RepositoryKeys } from './repository-keys.ts';
import { ArchiveError } from './repository-types.ts';

/** Half of the way down. */
const niceness = 10;

// On Linux a priority is that of a thread, and 0 the calling one: where cores are short, the data path goes first.
if (process.platform === 'linux' && getPriority() < niceness) setPriority(niceness);

/** One thread of codec-pool.ts: tasks in, results out, in their order. What is answered with an error is what an object's bytes did; anything else ends the thread. */
const { keys } = workerData as { keys: RepositoryKeys | undefined };

parentPort?.on('message', ({ id, ...task }: CodecTask & { id: number }) => {
	try {
		const result = execute(task, keys);
		const owned = [result.plain, result.object].filter((bytes) => bytes !== undefined && bytes.byteLength === bytes.buffer.byteLength);
		parentPort?.postMessage(
			{ id, result },
			owned.map((bytes) => bytes?.buffer as ArrayBuffer),
		);
	} catch (error) {
		if (!(error instanceof ArchiveError)) throw error;
		parentPort?.postMessage({ id, fault: { code: error.code, message: error.message, object: error.object } }, []);
	}
});
