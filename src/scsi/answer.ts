import type { ScsiTask } from './task.ts';

/** Ends a task with data-in, cut to the allocation length of its CDB (SPC-4, allocation length). */
export function answer(task: ScsiTask, data: Buffer, allocationLength: number): 'finished' {
	const cut = data.subarray(0, allocationLength);
	task.dataIn = cut.length === 0 ? undefined : cut;
	return 'finished';
}

/** Asks for data-out; a list of no bytes is no error and changes nothing (SPC-4, parameter list length). */
export function collect(task: ScsiTask, lengthBytes: number): 'finished' | 'parameters' {
	if (lengthBytes === 0) return 'finished';
	task.lengthBytes = lengthBytes;
	return 'parameters';
}

/** Ends a pending task; status and sense are set. */
export function finish(task: ScsiTask): void {
	task.owner?.taskFinished(task);
}
