import type { Outcome } from '../blockvol/block-device.ts';
import { finish } from './answer.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { status } from './task.ts';
import type { ScsiTask } from './task.ts';

/** What is done with each piece of a range. */
export interface Visitor {
	/** Begins the piece at `offsetBytes`; the device completes the task. */
	issue(offsetBytes: number, lengthBytes: number): void;
	/** After a piece that went well. False if status and sense are set and the walk ends. */
	visited?(offsetBytes: number, lengthBytes: number): boolean;
	/** After a piece that did not; without it the task fails with the outcome. True if the walk goes on in another way. */
	failed?(outcome: Outcome, offsetBytes: number): boolean;
}

/**
 * Walks over the bytes of task.offsetBytes and task.lengthBytes in pieces, one after another, so that a command of any length holds one buffer. A piece ends
 * where an aligned one would. The task ends with the last piece (unless `then` goes on with it), the first bad one, or the first after it was aborted. The range is not empty.
 */
export function walkRange(unit: LogicalUnit, task: ScsiTask, pieceBytes: number, visitor: Visitor, then?: () => void): 'pending' {
	const endBytes = task.offsetBytes + task.lengthBytes;
	let at = task.offsetBytes;
	let lengthBytes = 0;
	const next = (): void => {
		lengthBytes = Math.min(pieceBytes - (at % pieceBytes), endBytes - at);
		visitor.issue(at, lengthBytes);
	};
	task.onOutcome = (_task, outcome) => {
		if (outcome !== 'good') {
			if (!task.aborted && visitor.failed?.(outcome, at) === true) return;
			if (task.sense === undefined) unit.fail(task, outcome);
			return finish(task);
		}
		if (visitor.visited !== undefined && !visitor.visited(at, lengthBytes)) return finish(task);
		at += lengthBytes;
		if (at === endBytes && then === undefined) return finish(task);
		if (task.aborted) {
			task.status = status.taskAborted;
			return finish(task);
		}
		if (at === endBytes) return then?.();
		next();
	};
	next();
	return 'pending';
}
