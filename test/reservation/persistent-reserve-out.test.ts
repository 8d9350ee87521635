import test from 'ava';
import { limits } from '../../src/reservation/limits.ts';
import { type RegisterParameters, register } from '../../src/reservation/persistent-reserve-out.ts';
import { Registrant } from '../../src/reservation/registrant.ts';
import { a, b, c, d, keyA, keyB, keyC, registered, shown } from './fixture.ts';

function asked(reservationKey: bigint, serviceActionReservationKey: bigint, more: Partial<RegisterParameters> = {}): RegisterParameters {
	return { reservationKey, serviceActionReservationKey, ignoreExistingKey: false, aptpl: false, ...more };
}

const e = new Registrant('iscsi', 'e', 'port 1');
const f = new Registrant('iscsi', 'f', 'port 1');

test('REGISTER of an unregistered nexus: wants reservation key 0; key 0 does nothing, not even count', (t) => {
	const { table } = registered();
	t.is(register(table, e, asked(5n, 6n)), 'conflict');
	t.is(register(table, e, asked(5n, 0n)), 'conflict');
	t.is(register(table, e, asked(0n, 0n)), 'good');
	t.is(table.generation, 3);
	t.is(register(table, e, asked(0n, 6n)), 'good');
	t.is(shown(table), 'a=aa b=bb c=cc e=6');
	t.is(table.generation, 4);
});

test('REGISTER of a registered nexus: wants its key; another key replaces it, key 0 unregisters', (t) => {
	const { table } = registered();
	t.is(register(table, a, asked(0n, 1n)), 'conflict');
	t.is(register(table, a, asked(keyB, 1n)), 'conflict');
	t.is(register(table, a, asked(keyA, 1n)), 'good');
	t.is(shown(table), 'a=1 b=bb c=cc');
	t.is(register(table, a, asked(1n, 0n)), 'good');
	t.is(shown(table), 'b=bb c=cc');
});

test('REGISTER AND IGNORE EXISTING KEY: whatever the reservation key says', (t) => {
	const { table } = registered();
	const ignoreExistingKey = true;
	t.is(register(table, e, asked(0xdeadn, 6n, { ignoreExistingKey })), 'good');
	t.is(register(table, a, asked(0xdeadn, 1n, { ignoreExistingKey })), 'good');
	t.is(register(table, c, asked(0xdeadn, 0n, { ignoreExistingKey })), 'good');
	t.is(shown(table), 'a=1 b=bb e=6');
	const counted = table.generation;
	t.is(register(table, f, asked(0xdeadn, 0n, { ignoreExistingKey })), 'good');
	t.is(table.generation, counted);
});

test('SPEC_I_PT: all are registered in one step, those that are registered already keep their key', (t) => {
	const { table } = registered();
	t.is(register(table, e, asked(0n, 6n, { specified: [f, c] })), 'good');
	t.is(shown(table), 'a=aa b=bb c=cc e=6 f=6');
	t.is(table.generation, 4);
});

test('SPEC_I_PT: refused for a registered nexus and when existing keys are ignored, even with nobody in it; not looked at of who registers nothing', (t) => {
	const { table } = registered();
	t.is(register(table, a, asked(keyA, 6n, { specified: [f] })), 'invalidKey');
	t.is(register(table, a, asked(keyA, 0n, { specified: [] })), 'invalidKey');
	t.is(register(table, e, asked(0n, 0n, { specified: [f] })), 'good');
	t.is(register(table, e, asked(0n, 6n, { specified: [f], ignoreExistingKey: true })), 'invalidKey');
	t.is(shown(table), 'a=aa b=bb c=cc');
});

test('SPEC_I_PT: when not all fit, none is registered', (t) => {
	const { table } = registered();
	const specified = Array.from({ length: limits.registrantsPerVolume - 3 }, (_, index) => new Registrant('iscsi', `i${index}`));
	t.is(register(table, e, asked(0n, 6n, { specified })), 'full');
	t.is(shown(table), 'a=aa b=bb c=cc');
	t.is(register(table, e, asked(0n, 6n, { specified: specified.slice(1) })), 'good');
});

test('ALL_TG_PT: as if it had come through each port; one that would refuse it is left as it is', (t) => {
	const { table } = registered();
	const second = new Registrant('iscsi', 'e', 'port 2');
	const third = new Registrant('iscsi', 'e', 'port 3');
	t.is(register(table, second, asked(0n, 9n)), 'good');
	t.is(register(table, e, asked(0n, 6n, { otherPorts: [second, third] })), 'good');
	t.is(shown(table), 'a=aa b=bb c=cc e=9 e=6 e=6');
	t.is(register(table, e, asked(6n, 0n, { otherPorts: [second, third] })), 'good');
	t.is(shown(table), 'a=aa b=bb c=cc e=9');
});

test('APTPL of the last registration that succeeded rules', (t) => {
	const { table, store } = registered();
	register(table, e, asked(0n, 6n, { aptpl: true }));
	t.is(store.kept?.registrations.length, 4);
	register(table, e, asked(1n, 7n, { aptpl: false }));
	t.true(table.persistThroughPowerLoss, 'that one failed');
	register(table, e, asked(6n, 7n));
	t.false(table.persistThroughPowerLoss);
	t.is(store.kept?.registrations.length, 0);
});

test('REGISTER AND MOVE: registers the other nexus and makes it the holder, in one step and told to nobody', (t) => {
	const { table, witness } = registered();
	table.acquire(a, keyA, 'writeExclusiveRegistrantsOnly');
	t.is(table.move(a, keyA, { registrant: e, key: 6n }, false), 'good');
	t.is(shown(table), 'a=aa b=bb c=cc e=6*');
	t.is(table.generation, 4);
	t.is(table.move(e, 6n, { registrant: c, key: 7n }, true), 'good');
	t.is(shown(table), 'a=aa b=bb c=7*');
	t.deepEqual(table.reservation, { type: 'writeExclusiveRegistrantsOnly', holder: c });
	t.deepEqual(witness.take(), []);
});

test('REGISTER AND MOVE: each refusal, and nothing changed', (t) => {
	const { table } = registered();
	const to = { registrant: e, key: 6n };
	t.is(table.move(d, 1n, to, false), 'conflict');
	t.is(table.move(a, keyB, to, false), 'conflict');
	t.is(table.move(a, keyA, to, false), 'notReserved');
	table.acquire(a, keyA, 'exclusiveAccess');
	t.is(table.move(c, keyC, to, false), 'conflict');
	t.is(table.move(a, keyA, { registrant: e, key: 0n }, false), 'invalidKey');
	t.is(table.move(a, keyA, { registrant: new Registrant('iscsi', 'a', a.port), key: 6n }, false), 'invalidKey');
	table.release(a, keyA, 'exclusiveAccess');
	table.acquire(a, keyA, 'exclusiveAccessAllRegistrants');
	t.is(table.move(a, keyA, to, false), 'conflict');
	t.is(shown(table), 'a=aa* b=bb* c=cc*');
	t.is(table.generation, 3);
	t.is(b.port, '');
});
