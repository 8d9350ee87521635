import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import { rejectReason, TaskManagementRequest, taskManagementFunction as fn, taskManagementResponse as response } from './pdu.ts';
import type { Session } from './session.ts';
import type { IscsiTask } from './task.ts';

/** Somebody who waits for the device to give up tasks that were aborted. */
interface OpenFunction {
	readonly tasks: Set<IscsiTask>;
	readonly finish: () => void;
}

/**
 * RFC 7143 §11.5, §4.2.3.3. A function ends its tasks at once as far as they wait for data, memory or room to transmit; for those that the device has
 * it waits, and only then it is answered: after "function complete" nothing of an aborted write reaches the medium any more.
 */
export class OpenFunctions {
	readonly #open = new Set<OpenFunction>();

	get size(): number {
		return this.#open.size;
	}

	/** Ends tasks, then answers. Tasks of other sessions end with TASK ABORTED: their initiators did not ask for it and wait for an answer. */
	run(connection: Connection, initiatorTaskTag: number, tasks: readonly IscsiTask[], finish: () => void): void {
		const session = connection.session!;
		session.taskManagementFunctions++;
		this.abort(
			tasks,
			(task) => (task.connection!.session === session ? 'silent' : 'answered'),
			() => {
				session.taskManagementFunctions--;
				finish();
				connection.control.answerTaskManagement(initiatorTaskTag, response.functionComplete);
			},
		);
	}

	/** Ends tasks; `finish` is called once, when the device has nothing of them any more. */
	abort(tasks: readonly IscsiTask[], how: (task: IscsiTask) => 'silent' | 'answered', finish: () => void): void {
		const open: OpenFunction = { tasks: new Set(tasks), finish };
		this.#open.add(open);
		for (const task of tasks) task.connection!.flow.abort(task, how(task));
		this.#finishIfDone(open);
	}

	/** An aborted task is gone. */
	gone(task: IscsiTask): void {
		for (const open of this.#open) if (open.tasks.delete(task)) this.#finishIfDone(open);
	}

	#finishIfDone(open: OpenFunction): void {
		if (open.tasks.size === 0 && this.#open.delete(open)) open.finish();
	}
}

/** A Task Management Function Request in its turn. */
export function manageTasks(connection: Connection, bhs: Buffer, at: number): void {
	const session = connection.session!;
	const tag = TaskManagementRequest.initiatorTaskTag.get(bhs, at);
	const answer = (code: number) => connection.control.answerTaskManagement(tag, code);
	if (session.taskManagementFunctions >= limits.taskManagementPerSession) {
		connection.control.reject(rejectReason.tooManyImmediateCommands, bhs, at);
		return;
	}
	connection.statistics.taskManagementFunctions++;
	const run = (tasks: readonly IscsiTask[], then: () => void = () => undefined) =>
		connection.sessions.functions.run(connection, tag, tasks, then);
	const code = TaskManagementRequest.function.get(bhs, at);
	const lun = TaskManagementRequest.lun.get(bhs, at);
	const target = session.target!;
	const unit = target.unit(lun);
	switch (code) {
		case fn.abortTask: {
			const task = session.tasks.get(TaskManagementRequest.referencedTaskTag.get(bhs, at));
			if (task !== undefined) run([task]);
			else {
				// §11.5.5: a command still under way counts as received; then it is complete that it is gone.
				const underWay = connection.skipCommand(TaskManagementRequest.refCmdSN.get(bhs, at));
				answer(underWay ? response.functionComplete : response.taskDoesNotExist);
			}
			return;
		}
		case fn.abortTaskSet:
			if (unit === undefined) answer(response.lunDoesNotExist);
			else run(session.tasks.all().filter((task) => task.unit === unit));
			return;
		case fn.clearTaskSet:
			if (unit === undefined) answer(response.lunDoesNotExist);
			else run(tasksOf(connection.sessions.live(), (task) => task.unit === unit));
			return;
		case fn.logicalUnitReset:
			if (unit === undefined) answer(response.lunDoesNotExist);
			else
				run(
					tasksOf(connection.sessions.live(), (task) => task.unit === unit),
					() => unit.reset(),
				);
			return;
		case fn.targetWarmReset:
			run(tasksOf(connection.sessions.ofTarget(target)), () => target.reset());
			return;
		case fn.targetColdReset:
			run(tasksOf(connection.sessions.ofTarget(target)), () => {
				target.reset();
				// §11.5.1: a cold reset ends all sessions of the target; the answer leaves before this one goes.
				for (const other of connection.sessions.ofTarget(target)) {
					if (other === session) queueMicrotask(() => connection.endSoon());
					else other.dismiss('target cold reset');
				}
			});
			return;
		case fn.taskReassign:
			answer(response.taskAllegianceReassignmentNotSupported);
			return;
		default:
			// CLEAR ACA among them: NORMACA is 0, no ACA can exist.
			answer(response.functionNotSupported);
	}
}

function tasksOf(sessions: readonly Session[], wanted: (task: IscsiTask) => boolean = () => true): IscsiTask[] {
	return sessions.flatMap((session) => session.tasks.all().filter(wanted));
}
