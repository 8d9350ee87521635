import test from 'ava';
import { good, invalidField, setUp } from './initiator.ts';

test('READ DEFECT DATA (10) and (12): the lists that were asked for are there, and empty', async (t) => {
	const { send, device } = setUp();
	for (let lists = 0; lists < 4; lists++) {
		const asked = lists << 3;
		t.is(
			(await send([0x37, 0, asked | 5, 0, 0, 0, 0, 0, 32, 0])).dataIn.toString('hex'),
			`00${(asked | 5).toString(16).padStart(2, '0')}0000`,
		);
		t.is(
			(await send([0xb7, asked | 5, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0])).dataIn.toString('hex'),
			`00${(asked | 5).toString(16).padStart(2, '0')}000000000000`,
		);
	}
	t.is((await send([0x37, 0, 0x18, 0, 0, 0, 0, 0, 2, 0])).dataIn.length, 2);
	t.is((await send([0x37, 0, 0x18, 0, 0, 0, 0, 0, 0, 0])).status, good);
	t.deepEqual(device.calls, []);
});

test('READ DEFECT DATA in the reserved format, or from a descriptor that is not there: INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send([0x37, 0, 7, 0, 0, 0, 0, 0, 32, 0])).sense, invalidField(2, 2));
	t.deepEqual((await send([0xb7, 7, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0])).sense, invalidField(1, 2));
	t.deepEqual((await send([0xb7, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0])).sense, invalidField(2, 7));
});
