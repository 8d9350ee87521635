import test from 'ava';
import { opcode, pattern, r2t, statusOf, World } from './peer.ts';

test('smoke', async (t) => {
	const world = new World({ deviceBytes: 8 * 1024 * 1024 });
	const peer = await world.connect().open();
	const data = pattern(4096, 1);
	peer.send(peer.command({ opcode: opcode.write, cid: 1, block: 8, blocks: 8, data }));
	t.is(statusOf(await peer.answer()), '0');
	peer.send(peer.command({ opcode: opcode.read, cid: 2, block: 8, blocks: 8 }));
	const answers = await peer.answers();
	t.deepEqual(answers.map(statusOf), ['C2HData', '0']);
	t.deepEqual(answers[0]!.data, data);
	const long = pattern(4 * 1024 * 1024, 2);
	peer.send(peer.command({ opcode: opcode.write, cid: 3, block: 0, blocks: 8192 }));
	for (let answer = await peer.answer(); statusOf(answer) === 'R2T'; answer = await peer.answer()) peer.fulfil(r2t(answer), long);
	t.true(world.device.medium.subarray(0, long.length).equals(long));
	t.true(world.isFree);
});
