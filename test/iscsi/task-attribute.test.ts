import test from 'ava';
import { statusOf, World, write10 } from './peer.ts';

test('§11.3.1.1: untagged, simple, ordered and head of queue are carried out; ACA and reserved attributes are 02 5/4900, and nothing is written', async (t) => {
	const world = new World();
	const peer = await world.connect().open();
	for (let attribute = 0; attribute < 8; attribute++) {
		const command = peer.command({ cdb: write10(attribute, 1), tag: attribute, write: 512, data: Buffer.alloc(512, 1) });
		command[1] = (command[1]! & ~0x07) | attribute;
		peer.send(command);
		t.is(statusOf(await peer.answer()), attribute < 4 ? '00' : '02 5/4900');
	}
	t.is(world.budget.usedBytes, 0);
	t.is(world.statistics.commands, 9, 'with the one that opened the session');
});
