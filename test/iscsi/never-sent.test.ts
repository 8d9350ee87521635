import test from 'ava';
import { asyncEvent, loginStatus } from '../../src/iscsi/pdu.ts';
import { files } from '../house/tree.ts';

/** Names of the standard's tables that are there for readers of captures. */
const neverSent: readonly string[] = [
	'loginStatus.targetRemoved',
	'loginStatus.cannotIncludeInSession',
	'loginStatus.targetError',
	'asyncEvent.negotiationRequest',
];

test('login statuses 0204, 0208, 0300 and 0303 and Asynchronous Message 4 are never sent', (t) => {
	t.is(loginStatus.targetRemoved, 0x0204);
	t.is(loginStatus.cannotIncludeInSession, 0x0208);
	t.is(loginStatus.targetError, 0x0300);
	t.false((Object.values(loginStatus) as number[]).includes(0x0303));
	t.is(asyncEvent.negotiationRequest, 4);
	for (const { path, text } of files('src', ['.ts'])) for (const name of neverSent) t.false(text.includes(name), `${path}: ${name}`);
});
