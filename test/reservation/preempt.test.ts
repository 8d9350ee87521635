import test from 'ava';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import type { ReservationType } from '../../src/reservation/reservation-type.ts';
import { Witness, a, b, c, d, keyA, keyB, keyC, registered, shown } from './fixture.ts';

const single: ReservationType[] = ['writeExclusive', 'exclusiveAccess', 'writeExclusiveRegistrantsOnly', 'exclusiveAccessRegistrantsOnly'];
const all: ReservationType[] = ['writeExclusiveAllRegistrants', 'exclusiveAccessAllRegistrants'];

for (const type of single) {
	test(`${type}: preempting the holder's key takes the reservation over with the new type`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.preempt(b, keyB, keyA, 'exclusiveAccess'), 'good');
		t.deepEqual(table.reservation, { type: 'exclusiveAccess', holder: b });
		t.is(shown(table), 'b=bb* c=cc');
		t.deepEqual(witness.take(), ['a registrationPreempted', ...(type === 'exclusiveAccess' ? [] : ['c reservationReleased'])]);
		t.false(table.allows(a, 'write'));
	});

	test(`${type}: preempting a key that is not the holder's takes registrations only; the type is not looked at`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.preempt(b, keyB, keyC, 'exclusiveAccess'), 'good');
		t.deepEqual(table.reservation, { type, holder: a });
		t.is(shown(table), 'a=aa* b=bb');
		t.deepEqual(witness.take(), ['c registrationPreempted']);
	});

	test(`${type}: key 0 cannot be preempted, over either protocol`, (t) => {
		const { table } = registered();
		table.acquire(a, keyA, type);
		t.is(table.preempt(b, keyB, 0n, type), 'invalidKey');
		t.is(table.preempt(c, keyC, 0n, type), 'invalidKey');
		t.is(shown(table), 'a=aa* b=bb c=cc');
	});

	test(`${type}: a holder preempts itself to change the type, and keeps its registration`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		const next = type === 'writeExclusive' ? 'exclusiveAccessRegistrantsOnly' : 'writeExclusive';
		t.is(table.preempt(a, keyA, keyA, next), 'good');
		t.deepEqual(table.reservation, { type: next, holder: a });
		t.is(shown(table), 'a=aa* b=bb c=cc');
		t.deepEqual(witness.take(), ['b reservationReleased', 'c reservationReleased']);
	});
}

for (const type of all) {
	test(`${type}: key 0 takes the reservation over and unregisters all others`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.preempt(b, keyB, 0n, 'exclusiveAccess'), 'good');
		t.deepEqual(table.reservation, { type: 'exclusiveAccess', holder: b });
		t.is(shown(table), 'b=bb*');
		t.deepEqual(witness.take(), ['a registrationPreempted', 'c registrationPreempted']);
	});

	test(`${type}: a key takes the registrations that have it, and the reservation stays`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.preempt(b, keyB, keyA, 'exclusiveAccess'), 'good');
		t.deepEqual(table.reservation, { type, holder: undefined });
		t.is(shown(table), 'b=bb* c=cc*');
		t.deepEqual(witness.take(), ['a registrationPreempted']);
	});

	test(`${type}: the last registrant that preempts its own key ends it`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		table.unregister(b, keyB);
		table.unregister(c, keyC);
		t.is(table.preempt(a, keyA, keyA, type), 'good');
		t.is(table.reservation, undefined);
		t.is(shown(table), '');
		t.deepEqual(witness.take(), []);
	});
}

test('all with the key go, and of several with the holder’s key only the caller stays', (t) => {
	const { table, witness } = registered();
	table.register(d, keyC);
	table.replace(b, keyB, keyC);
	table.acquire(c, keyC, 'writeExclusive');
	t.is(table.preempt(b, keyC, keyC, 'writeExclusive'), 'good');
	t.is(shown(table), 'a=aa b=cc*');
	t.deepEqual(witness.take(), ['c registrationPreempted', 'd registrationPreempted']);
});

test('without a reservation a key takes registrations, the caller’s own too, and reserves nothing', (t) => {
	const { table, witness } = registered();
	table.register(d, keyB);
	t.is(table.preempt(b, keyB, keyB, 'writeExclusive'), 'good');
	t.is(table.reservation, undefined);
	t.is(shown(table), 'a=aa c=cc');
	t.deepEqual(witness.take(), ['d registrationPreempted']);
});

test('without a reservation key 0 is an invalid field for SCSI and a conflict for NVMe', (t) => {
	const { table } = registered();
	t.is(table.preempt(a, keyA, 0n, 'writeExclusive'), 'invalidKey');
	t.is(table.preempt(b, keyB, 0n, 'writeExclusive'), 'conflict');
	t.is(shown(table), 'a=aa b=bb c=cc');
});

test('a key that nobody has, a wrong key of the caller, and a caller that is not registered conflict', (t) => {
	const { table } = registered();
	for (const reserve of [false, true]) {
		if (reserve) table.acquire(a, keyA, 'writeExclusiveAllRegistrants');
		t.is(table.preempt(b, keyB, 0xdeadn, 'writeExclusive'), 'conflict');
		t.is(table.preempt(b, keyA, keyA, 'writeExclusive'), 'conflict');
		t.is(table.preempt(d, keyA, keyA, 'writeExclusive'), 'conflict');
	}
	t.is(shown(table), 'a=aa* b=bb* c=cc*');
	t.is(table.generation, 3);
});

test('preempt and abort answers when every listener has ended the commands of those who went', (t) => {
	const { table, witness } = registered();
	const second = new Witness();
	table.listen(second);
	table.acquire(a, keyA, 'writeExclusive');
	table.replace(c, keyC, keyA);
	const outcomes: string[] = [];
	table.preemptAndAbort(b, keyB, keyA, 'exclusiveAccess', (outcome) => outcomes.push(outcome));
	t.deepEqual(witness.aborted, [['a', 'c']]);
	t.deepEqual(second.aborted, [['a', 'c']]);
	t.is(shown(table), 'b=bb*', 'what they send from now on conflicts already');
	t.deepEqual(outcomes, []);
	witness.finish();
	t.deepEqual(outcomes, []);
	second.finish();
	t.deepEqual(outcomes, ['good']);
});

test('preempt and abort that preempts nobody else, or fails, answers at once and aborts nothing', (t) => {
	const { table, witness } = registered();
	const outcomes: string[] = [];
	const note = (outcome: string) => outcomes.push(outcome);
	table.preemptAndAbort(a, keyA, 0xdeadn, 'writeExclusive', note);
	table.acquire(a, keyA, 'writeExclusive');
	table.preemptAndAbort(a, keyA, keyA, 'exclusiveAccess', note);
	t.deepEqual(outcomes, ['conflict', 'good']);
	t.deepEqual(witness.aborted, []);
});

test('preempt and abort: listeners that have nothing to end, or that went away, do not delay the answer', (t) => {
	const { table: quick } = registered();
	quick.acquire(a, keyA, 'writeExclusive');
	const outcomes: string[] = [];
	const away = quick.listen(new Witness());
	away();
	quick.listen({ notify: () => undefined, abort: (_, finished) => finished() });
	quick.preemptAndAbort(b, keyB, keyA, 'writeExclusive', (outcome) => outcomes.push(outcome));
	t.deepEqual(outcomes, [], 'the witness of the fixture has not ended its commands');
	const lonely = new ReservationTable();
	lonely.register(a, keyA);
	lonely.register(b, keyB);
	lonely.preemptAndAbort(a, keyA, keyB, 'writeExclusive', (outcome) => outcomes.push(outcome));
	t.deepEqual(outcomes, ['good']);
});
