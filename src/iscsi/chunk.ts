import type { Completion, Outcome } from '../blockvol/block-device.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import { limits } from './limits.ts';
import type { IscsiTask } from './task.ts';

/** A piece of a command's data-out on its way to the device, with the memory that it holds. Pooled. */
export class Chunk implements Completion {
	task: IscsiTask | undefined;
	/** Where it begins in the command's data. */
	start = 0;
	size = 0;
	/** How much of it memory was granted for: less than `size` when only unsolicited data found room. */
	capacity = 0;
	/** Whether the memory came from the session's share for solicited data. */
	solicited = false;
	/** Whether it counts in the share for unsolicited data, too. */
	unsolicited = false;
	receivedBytes = 0;
	/** Taken from the pool when the first bytes must be kept. */
	buffer: Buffer | undefined;
	/** Ticks of the clock since it was made. */
	seconds = 0;

	get end(): number {
		return this.start + this.size;
	}

	complete(outcome: Outcome): void {
		this.task!.chunkWritten(this, outcome);
	}
}

const pool: Chunk[] = [];

export function acquireChunk(task: IscsiTask, start: number, size: number, capacity: number, solicited: boolean): Chunk {
	const chunk = pool.pop() ?? new Chunk();
	chunk.task = task;
	chunk.start = start;
	chunk.size = size;
	chunk.capacity = capacity;
	chunk.solicited = solicited;
	chunk.unsolicited = false;
	return chunk;
}

/** Its memory has been given back. */
export function releaseChunk(chunk: Chunk): void {
	if (chunk.buffer !== undefined) bufferPool.release(chunk.buffer);
	chunk.buffer = undefined;
	chunk.task = undefined;
	chunk.receivedBytes = 0;
	chunk.seconds = 0;
	if (pool.length < limits.pooledChunks) pool.push(chunk);
}
