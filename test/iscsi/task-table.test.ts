import test from 'ava';
import fc from 'fast-check';
import { IscsiTask } from '../../src/iscsi/task.ts';
import { TaskTable } from '../../src/iscsi/task-table.ts';

function taskOf(tag: number): IscsiTask {
	const task = new IscsiTask();
	task.initiatorTaskTag = tag;
	return task;
}

test('the table finds what a Map finds, after any adding and deleting, also where tags collide', (t) => {
	// Tags that crowd around the end of the table, so that runs of occupied slots form, wrap, and are broken up in the middle.
	const crowd = Array.from({ length: 6000 }, (_, each) => each).filter((each) => ((Math.imul(each, 0x9e3779b1) >>> 23) + 4) % 512 < 8);
	const tag = fc.oneof(fc.constantFrom(...crowd), fc.integer({ min: 0xffffff00, max: 0xfffffffe }));
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.boolean(), tag), { maxLength: 400, size: 'max' }), (steps) => {
			const table = new TaskTable();
			const model = new Map<number, IscsiTask>();
			for (const [add, which] of steps) {
				const known = model.get(which);
				if (add && known === undefined && model.size < 200) {
					const task = taskOf(which);
					model.set(which, task);
					table.add(task);
				} else if (!add && known !== undefined) {
					model.delete(which);
					table.delete(known);
				}
			}
			if (table.size !== model.size) return false;
			for (const each of crowd) if (table.get(each) !== model.get(each)) return false;
			for (const [each, task] of model) if (table.get(each) !== task) return false;
			return new Set(table.all()).size === model.size;
		}),
		{ seed: 5, numRuns: 300 },
	);
	t.pass();
});

test('a table that would be full, and a task that is not there, are faults of ours', (t) => {
	const table = new TaskTable();
	for (let tag = 0; tag < 256; tag++) table.add(taskOf(tag));
	t.throws(() => table.add(taskOf(999)), { instanceOf: RangeError });
	t.throws(() => table.delete(taskOf(5)), { instanceOf: RangeError });
});
