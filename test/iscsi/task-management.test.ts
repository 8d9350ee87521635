import test from 'ava';
import { limits } from '../../src/iscsi/limits.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import { type Answer, read10, statusOf, World, write10 } from './peer.ts';

const fn = pdu.taskManagementFunction;
const response = pdu.taskManagementResponse;
const senseOfTestUnitReady = '00';

function managed(answer: Answer): number {
	if (answer.opcode !== pdu.opcode.taskManagementResponse) throw new Error(`opcode ${answer.opcode.toString(16)}`);
	return answer.bhs[2]!;
}

test('§11.5.1: ABORT TASK of a write that waits for data: gone at once, late data is ignored, the tag is free', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512 }));
	const transferTag = pdu.R2T.targetTransferTag.get((await peer.answer()).bhs, 0);
	peer.send(peer.manage(fn.abortTask, 2, { referenced: 1 }));
	t.is(managed(await peer.answer()), response.functionComplete);
	t.is(world.budget.usedBytes, 0);
	peer.send(peer.dataOut({ tag: 1, transferTag, offset: 0, dataSN: 0, final: true, data: Buffer.alloc(512, 1) }));
	t.deepEqual(await peer.answers(), []);
	t.deepEqual(world.device.writes, []);
	peer.send(peer.command({ cdb: '00', tag: 1 }));
	t.is(statusOf(await peer.answer()), '00');
});

test('§4.2.3.3: ABORT TASK of a write that the device has is answered only when the device has given it back', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	peer.send(peer.manage(fn.abortTask, 2, { referenced: 1 }));
	t.deepEqual(await peer.answers(), []);
	// A second function for the same task waits too.
	peer.send(peer.manage(fn.abortTaskSet, 3));
	t.deepEqual(await peer.answers(), []);
	world.device.releaseAll();
	t.deepEqual((await peer.answers()).map(managed), [response.functionComplete, response.functionComplete]);
	t.is(world.budget.usedBytes, 0);
	t.is(world.statistics.tasksAborted, 1);
});

test('§11.5.5: ABORT TASK of a task that is over, and of one that has not come', async (t) => {
	const peer = await new World().connect().open();
	peer.send(peer.manage(fn.abortTask, 1, { referenced: 77, refCmdSN: peer.cmdSN - 1 }));
	t.is(managed(await peer.answer()), response.taskDoesNotExist);
	// Inside the window: its CmdSN counts as received, so what follows is not held up.
	const skipped = peer.cmdSN++;
	peer.send(peer.command({ cdb: '00', tag: 5 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.manage(fn.abortTask, 2, { referenced: 78, refCmdSN: skipped }));
	const answers = await peer.answers();
	t.deepEqual(
		answers.map(({ opcode }) => opcode).toSorted((a, b) => a - b),
		[pdu.opcode.scsiResponse, pdu.opcode.taskManagementResponse],
	);
	peer.send(peer.command({ cdb: '00', tag: 78, cmdSN: skipped }));
	t.deepEqual(await peer.answers(), []);
});

test('ABORT TASK in the middle of a PDU: the rest of its data goes nowhere', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const other = await world.connect().open({}, { isid: '00023d000002' });
	const command = peer.command({ cdb: write10(0, 16), tag: 1, write: 8192, data: Buffer.alloc(8192, 1) });
	peer.send(command.subarray(0, 4000));
	t.is(world.budget.usedBytes, 8192);
	other.send(other.manage(fn.logicalUnitReset, 1));
	t.is(managed(await other.answer()), response.functionComplete);
	t.is(world.budget.usedBytes, 0);
	peer.send(command.subarray(4000));
	t.deepEqual((await peer.answers()).map(statusOf), ['40']);
	t.deepEqual(world.device.writes, []);
});

test('§11.5.1: ABORT TASK SET ends the tasks of this session on this unit, no others', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const other = await world.connect().open({}, { isid: '00023d000002' });
	for (const each of [peer, other]) {
		each.send(each.command({ cdb: write10(0, 1), tag: 1, write: 512 }));
		each.send(each.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
		t.is((await each.answers()).length, 2);
	}
	peer.send(peer.manage(fn.abortTaskSet, 9));
	t.is(managed(await peer.answer()), response.functionComplete);
	t.is(peer.connection.session!.tasks.size, 0);
	t.is(other.connection.session!.tasks.size, 2);
});

for (const [name, code, attention] of [
	['CLEAR TASK SET', fn.clearTaskSet, senseOfTestUnitReady],
	['LOGICAL UNIT RESET', fn.logicalUnitReset, '02 6/2903'],
	['TARGET WARM RESET', fn.targetWarmReset, '02 6/2900'],
] as const) {
	test(`§11.5.1: ${name} ends tasks of all sessions; others get TASK ABORTED when the device is done, and all ${attention}`, async (t) => {
		const world = new World();
		const peer = await world.connect().open();
		const other = await world.connect().open({}, { isid: '00023d000002' });
		world.device.cold = true;
		world.device.held = true;
		other.send(other.command({ cdb: read10(0, 1), tag: 1, read: 512 }));
		other.send(other.command({ cdb: write10(1, 1), tag: 2, write: 512 }));
		t.is((await other.answers()).length, 1);
		peer.send(peer.command({ cdb: read10(0, 1), tag: 3, read: 512 }));
		peer.send(peer.manage(code, 9));
		t.deepEqual(await peer.answers(), []);
		// The one that waited for data is over, the one at the device is not.
		t.deepEqual((await other.answers()).map(statusOf), ['40']);
		world.device.releaseAll();
		t.is(managed(await peer.answer()), response.functionComplete);
		t.deepEqual((await other.answers()).map(statusOf), ['40']);
		t.is(world.budget.usedBytes, 0);
		for (const each of [other, peer]) {
			each.send(each.command({ cdb: '00', tag: 4 }));
			t.is(statusOf(await each.answer()), attention);
			each.send(each.command({ cdb: '00', tag: 5 }));
			t.is(statusOf(await each.answer()), '00');
		}
	});
}

test('§11.5.1: TARGET COLD RESET ends all sessions of the target, its own behind the answer', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	const other = await world.connect().open({}, { isid: '00023d000002' });
	peer.send(peer.manage(fn.targetColdReset, 9));
	t.is(managed(await peer.answer()), response.functionComplete);
	t.true(peer.ended);
	t.true(other.ended);
	t.is(pdu.AsyncMessage.asyncEvent.get((await other.answer()).bhs, 0), pdu.asyncEvent.dropAllConnections);
	t.is(world.environment.sessions.size, 0);
});

test('§11.6.1: what is not supported says so: reassign, CLEAR ACA, an unknown function, a LUN that is not there', async (t) => {
	const peer = await new World().connect().open();
	const answers: number[] = [];
	for (const [code, lun] of [
		[fn.taskReassign, 0],
		[fn.clearACA, 0],
		[99, 0],
		[fn.logicalUnitReset, 7],
		[fn.abortTaskSet, 7],
		[fn.clearTaskSet, 7],
	] as const) {
		peer.send(peer.manage(code, 1, { lun, referenced: 1 }));
		answers.push(managed(await peer.answer()));
	}
	t.deepEqual(answers, [4, 5, 5, 2, 2, 2]);
});

test('functions without an answer are bounded by limits.taskManagementPerSession', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	for (let count = 0; count < limits.taskManagementPerSession; count++)
		peer.send(peer.manage(fn.abortTask, 100 + count, { referenced: 1 }));
	t.deepEqual(await peer.answers(), []);
	peer.send(peer.manage(fn.abortTask, 99, { referenced: 1 }));
	t.is((await peer.answer()).bhs[2], pdu.rejectReason.tooManyImmediateCommands);
	world.device.releaseAll();
	t.is((await peer.answers()).length, limits.taskManagementPerSession);
	t.is(world.environment.sessions.functions.size, 0);
});

test('a connection that breaks while its function waits: nothing is answered, nothing stays behind', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	world.device.held = true;
	peer.send(peer.command({ cdb: write10(0, 1), tag: 1, write: 512, data: Buffer.alloc(512, 1) }));
	peer.send(peer.manage(fn.logicalUnitReset, 2));
	peer.cut();
	t.is(world.environment.sessions.size, 1);
	world.device.releaseAll();
	t.deepEqual(await peer.answers(), []);
	t.is(world.environment.sessions.size, 0);
	t.is(world.environment.sessions.functions.size, 0);
	t.is(world.budget.usedBytes, 0);
});
