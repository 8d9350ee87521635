import test from 'ava';
import { VolumeFault } from '../../src/blockvol/volume-fault.ts';
import { loggedError } from '../../src/cli/logged-error.ts';

test('what the medium or the machine did is one line without a stack, its cause with it', (t) => {
	const kernel = Object.assign(new Error('EIO: read'), { code: 'EIO' });
	t.deepEqual(loggedError(new VolumeFault('the volume cannot be read (EIO)', { cause: kernel })), {
		message: 'the volume cannot be read (EIO)',
		cause: { message: 'EIO: read' },
	});
});

test('a fault of ours keeps its stack; what is no error is shown as text', (t) => {
	const logged = loggedError(new TypeError('x is undefined')) as { type: string; stack: string };
	t.is(logged.type, 'TypeError');
	t.regex(logged.stack, /logged-error\.test/);
	t.is(loggedError('plain'), 'plain');
});
