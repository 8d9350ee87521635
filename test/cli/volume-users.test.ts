import test from 'ava';
import { describeUsers } from '../../src/cli/volume-users.ts';

test('who uses a volume that is about to change: counted, and nothing where there is nobody', (t) => {
	t.is(describeUsers(0, 0), '');
	t.is(describeUsers(1, 0), ', while a session uses it');
	t.is(describeUsers(0, 1), ', while a controller uses it');
	t.is(describeUsers(3, 0), ', while 3 sessions use it');
	t.is(describeUsers(1, 2), ', while a session and 2 controllers use it');
});
