import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { attach, connectIO, ranged, settled, sqe } from './host.ts';

function abortSqe(sqid: number, cid: number): Buffer {
	return sqe({ opcode: 0x08, cid: 500, cdw10: (sqid | (cid << 16)) >>> 0 });
}

test('Abort of an Asynchronous Event Request ends it', async (t) => {
	const { admin } = await attach();
	const kept = admin.begin(sqe({ opcode: 0x0c, cid: 3 }));
	const event = admin.begin(sqe({ opcode: 0x0c, cid: 4 }));
	const answer = await admin.run(abortSqe(0, 4));
	t.deepEqual([answer.status, answer.result0], [0, 0]);
	t.is((await admin.finish(event)).status, 0x007);
	t.false(kept.finished);
});

test('Abort of what is not there: success, and bit 0 says that nothing was aborted', async (t) => {
	const { admin } = await attach();
	for (const [sqid, cid] of [
		[0, 77],
		[1, 0],
		[9, 0],
		[0xffff, 0xffff],
		[0, 500],
	] as const) {
		const answer = await admin.run(abortSqe(sqid, cid));
		t.deepEqual([answer.status, answer.result0], [0, 1], `queue ${sqid}, command ${cid}`);
	}
});

test('Abort of a command on another queue: it answers when that one is over, and says whether it was aborted', async (t) => {
	const { admin, fabric, cntlid, device } = await attach({ sizeBytes: 1024 * 1024 });
	const io = await connectIO(fabric, cntlid, { qid: 5 });
	device.held = true;
	const verify = io.begin(ranged(0x0c, 0, 2048, { cid: 21 }));
	const abort = admin.begin(abortSqe(5, 21));
	t.is(abort.step, 'pending');
	await settled();
	t.false(abort.finished, 'the device still reads for it');
	device.release();
	t.is((await io.finish(verify)).status, 0x007);
	t.is((await admin.finish(abort)).result0, 0);
	t.is(device.calls.length, 1, 'no piece was begun after the abort');
});

test('Abort of a command that comes to its own end says so', async (t) => {
	const { admin, io, device } = await attach();
	device.held = true;
	const flush = io.begin(sqe({ opcode: 0x00, nsid: 1, cid: 8 }));
	const abort = admin.begin(abortSqe(1, 8));
	device.release();
	t.is((await io.finish(flush)).status, 0);
	t.is((await admin.finish(abort)).result0, 1);
});

test('Abort of a command that waits for its data', async (t) => {
	const { admin, io } = await attach();
	const compare = io.begin(ranged(0x05, 0, 8, { cid: 12 }));
	t.is((await admin.run(abortSqe(1, 12))).result0, 0);
	t.is((await io.finish(compare)).status, 0x007);
});

test('ACL: as many Aborts wait as it says, one more is refused', async (t) => {
	const { admin, io, device } = await attach();
	device.held = true;
	for (let cid = 0; cid <= limits.aborts; cid++) io.begin(ranged(0x0c, 0, 8, { cid }));
	const aborts = Array.from({ length: limits.aborts }, (_, cid) => admin.begin(abortSqe(1, cid)));
	const more = await admin.run(abortSqe(1, limits.aborts));
	t.deepEqual([more.status, more.dnr], [0x103, true]);
	while (device.release());
	for (const one of aborts) t.is((await admin.finish(one)).status, 0);
	t.is((await admin.run(abortSqe(1, 999))).status, 0, 'there is room again');
});

test('the queue goes while an Abort waits for one of its commands: the Abort is answered', async (t) => {
	const { admin, io, device } = await attach();
	device.held = true;
	io.begin(sqe({ opcode: 0x00, nsid: 1, cid: 8 }));
	const abort = admin.begin(abortSqe(1, 8));
	io.close();
	while (device.release());
	t.is((await admin.finish(abort)).result0, 1);
});
