import test from 'ava';
import { limits } from '../../src/reservation/limits.ts';
import { Registrant } from '../../src/reservation/registrant.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import {
	type ReservationType,
	nvmeReservationType,
	reservationTypes,
	scsiReservationType,
} from '../../src/reservation/reservation-type.ts';
import { MemoryStore, Witness, a, b, c, d, keyA, keyB, keyC, port, registered, shown } from './fixture.ts';

const types = Object.keys(reservationTypes) as ReservationType[];

test('the codes of the six types are those of SPC-4 and NVMe Base 2.0', (t) => {
	t.deepEqual(
		[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((code) => scsiReservationType(code)),
		[
			undefined,
			'writeExclusive',
			undefined,
			'exclusiveAccess',
			undefined,
			'writeExclusiveRegistrantsOnly',
			'exclusiveAccessRegistrantsOnly',
			'writeExclusiveAllRegistrants',
			'exclusiveAccessAllRegistrants',
			undefined,
		],
	);
	t.deepEqual(
		[0, 1, 2, 3, 4, 5, 6, 7].map((code) => nvmeReservationType(code)),
		[undefined, ...types.toSorted((one, other) => reservationTypes[one].nvme - reservationTypes[other].nvme), undefined],
	);
	t.is(nvmeReservationType(2), 'exclusiveAccess');
	t.is(nvmeReservationType(4), 'exclusiveAccessRegistrantsOnly');
});

/** SBC-3, commands allowed in the presence of persistent reservations; NVMe Base 2.0, Command Behavior in the Presence of a Reservation. R: reads pass, W: writes pass. */
const standard: Record<ReservationType, { holder: string; registrant: string; other: string }> = {
	writeExclusive: { holder: 'RW', registrant: 'R-', other: 'R-' },
	exclusiveAccess: { holder: 'RW', registrant: '--', other: '--' },
	writeExclusiveRegistrantsOnly: { holder: 'RW', registrant: 'RW', other: 'R-' },
	exclusiveAccessRegistrantsOnly: { holder: 'RW', registrant: 'RW', other: '--' },
	writeExclusiveAllRegistrants: { holder: 'RW', registrant: 'RW', other: 'R-' },
	exclusiveAccessAllRegistrants: { holder: 'RW', registrant: 'RW', other: '--' },
};

for (const type of types) {
	test(`${type}: reads and writes of holder, registrants and others, taken over either protocol, as both standards have it`, (t) => {
		for (const [holder, key] of [
			[a, keyA],
			[b, keyB],
		] as const) {
			const { table } = registered();
			t.is(table.acquire(holder, key, type), 'good');
			const rights = (one: Registrant) => `${table.allows(one, 'read') ? 'R' : '-'}${table.allows(one, 'write') ? 'W' : '-'}`;
			t.is(rights(holder), standard[type].holder);
			t.is(rights(holder === a ? b : a), standard[type].registrant, 'the other protocol');
			t.is(rights(c), standard[type].registrant);
			t.is(rights(d), standard[type].other);
			t.is(rights(new Registrant('iscsi', 'stranger', port)), standard[type].other);
		}
	});
}

test('without a reservation everybody may do everything, registered or not', (t) => {
	const { table } = registered();
	for (const one of [a, b, c, d]) t.true(table.allows(one, 'read') && table.allows(one, 'write'));
});

test('the same initiator over another target port is another registrant', (t) => {
	const { table } = registered();
	const other = new Registrant('iscsi', 'a', 'iqn.2026-11.test:t,t,0x0002');
	t.is(table.acquire(a, keyA, 'exclusiveAccess'), 'good');
	t.false(table.allows(other, 'read'));
	t.is(table.acquire(other, keyA, 'exclusiveAccess'), 'conflict');
});

test('register: 0 is no key; the same key again is good, another one conflicts', (t) => {
	const { table } = registered();
	t.is(table.register(d, 0n), 'invalidKey');
	t.is(table.register(a, keyA), 'good');
	t.is(table.register(a, keyB), 'conflict');
	t.is(shown(table), 'a=aa b=bb c=cc');
});

test('replace: wants the current key unless it is ignored, and only a registrant can', (t) => {
	const { table } = registered();
	t.is(table.replace(a, keyB, 1n), 'conflict');
	t.is(table.replace(d, 'ignored', 1n), 'conflict');
	t.is(table.replace(a, keyA, 0n), 'invalidKey');
	t.is(table.replace(a, keyA, 1n), 'good');
	t.is(table.replace(b, 'ignored', 2n), 'good');
	t.is(shown(table), 'a=1 b=2 c=cc');
});

test('a holder that replaces its key stays the holder', (t) => {
	const { table } = registered();
	table.acquire(b, keyB, 'writeExclusive');
	t.is(table.replace(b, keyB, 2n), 'good');
	t.is(shown(table), 'a=aa b=2* c=cc');
	t.is(table.release(b, 2n, 'writeExclusive'), 'good');
});

test('unregister: wants the current key unless it is ignored, and only a registrant can', (t) => {
	const { table } = registered();
	t.is(table.unregister(a, keyB), 'conflict');
	t.is(table.unregister(d, 'ignored'), 'conflict');
	t.is(table.unregister(a, keyA), 'good');
	t.is(table.unregister(b, 'ignored'), 'good');
	t.is(shown(table), 'c=cc');
});

for (const type of types) {
	const { allRegistrants, releaseIsTold } = reservationTypes[type];
	test(`${type}: a holder that unregisters gives it up${allRegistrants ? ' only as the last one' : ''}, and is${releaseIsTold && !allRegistrants ? '' : ' not'} told on`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.unregister(a, keyA), 'good');
		t.is(table.reservation?.type, allRegistrants ? type : undefined);
		t.deepEqual(witness.take(), releaseIsTold && !allRegistrants ? ['b reservationReleased', 'c reservationReleased'] : []);
		table.unregister(b, keyB);
		table.unregister(c, keyC);
		t.is(table.reservation, undefined);
		t.deepEqual(witness.take(), []);
	});

	test(`${type}: release wants the type and the key; the others are${releaseIsTold ? '' : ' not'} told`, (t) => {
		const { table, witness } = registered();
		table.acquire(a, keyA, type);
		t.is(table.release(a, keyB, type), 'conflict');
		t.is(table.release(d, keyA, type), 'conflict');
		t.is(table.release(a, keyA, type === 'writeExclusive' ? 'exclusiveAccess' : 'writeExclusive'), 'wrongType');
		t.deepEqual(table.reservation, { type, holder: allRegistrants ? undefined : a });
		t.is(table.release(a, keyA, type), 'good');
		t.is(table.reservation, undefined);
		t.deepEqual(witness.take(), releaseIsTold ? ['b reservationReleased', 'c reservationReleased'] : []);
	});

	test(`${type}: acquired again with the same type is good, with another a conflict; others conflict unless all registrants hold it`, (t) => {
		const { table } = registered();
		t.is(table.acquire(d, 1n, type), 'conflict');
		t.is(table.acquire(a, keyB, type), 'conflict');
		t.is(table.acquire(a, keyA, type), 'good');
		t.is(table.acquire(a, keyA, type), 'good');
		t.is(table.acquire(a, keyA, type === 'writeExclusive' ? 'exclusiveAccess' : 'writeExclusive'), 'conflict');
		t.is(table.acquire(b, keyB, type), allRegistrants ? 'good' : 'conflict');
		t.is(shown(table), allRegistrants ? 'a=aa* b=bb* c=cc*' : 'a=aa* b=bb c=cc');
	});
}

test('release by a registrant that holds nothing, or of nothing, is good and changes nothing', (t) => {
	const { table, witness } = registered();
	t.is(table.release(b, keyB, 'writeExclusive'), 'good');
	table.acquire(a, keyA, 'writeExclusiveRegistrantsOnly');
	t.is(table.release(b, keyB, 'exclusiveAccess'), 'good');
	t.is(shown(table), 'a=aa* b=bb c=cc');
	t.deepEqual(witness.take(), []);
});

test('clear: everything goes, and all others learn that their reservation was preempted, holder or not', (t) => {
	const { table, witness } = registered();
	table.acquire(a, keyA, 'writeExclusive');
	t.is(table.clear(b, keyA), 'conflict');
	t.is(table.clear(d, keyA), 'conflict');
	t.is(table.clear(b, keyB), 'good');
	t.is(shown(table), '');
	t.is(table.reservation, undefined);
	t.deepEqual(witness.take(), ['a reservationPreempted', 'c reservationPreempted']);
});

test('the generation counts registrations, preemptions and clears that succeed, and neither reserving nor releasing', (t) => {
	const { table } = registered();
	t.is(table.generation, 3);
	table.acquire(a, keyA, 'writeExclusive');
	table.release(a, keyA, 'writeExclusive');
	table.register(d, 0n);
	table.register(a, 5n);
	table.preempt(a, keyA, 0xdeadn, 'writeExclusive');
	table.setPersistence(true);
	t.is(table.generation, 3);
	table.preempt(a, keyA, keyC, 'writeExclusive');
	t.is(table.generation, 4);
	table.replace(a, keyA, 1n);
	table.unregister(b, keyB);
	t.is(table.generation, 6);
	table.clear(a, 1n);
	t.is(table.generation, 7);
});

test('at the limit of registrants one more is refused, and an existing one may still change its key', (t) => {
	const table = new ReservationTable();
	const all = Array.from({ length: limits.registrantsPerVolume }, (_, index) => new Registrant('nvme', String(index)));
	for (const one of all) t.is(table.register(one, 1n), 'good');
	t.is(table.register(d, 1n), 'full');
	t.is(table.generation, limits.registrantsPerVolume);
	t.is(table.replace(all[0] as Registrant, 1n, 2n), 'good');
	t.is(table.unregister(all[1] as Registrant, 1n), 'good');
	t.is(table.register(d, 1n), 'good');
});

test('ids and ports beyond their limits are a fault of the caller', (t) => {
	t.notThrows(() => new Registrant('iscsi', 'x'.repeat(limits.registrantIdLength), 'y'.repeat(limits.registrantPortLength)));
	t.throws(() => new Registrant('iscsi', 'x'.repeat(limits.registrantIdLength + 1)));
	t.throws(() => new Registrant('iscsi', 'x', 'y'.repeat(limits.registrantPortLength + 1)));
	t.throws(() => new Registrant('nvme', ''));
});

test('what is not persistent is not written, and is gone after a start', (t) => {
	const { table, store } = registered();
	table.acquire(a, keyA, 'writeExclusive');
	t.is(store.saves, 0);
	const next = new ReservationTable(store);
	t.is(shown(next), '');
	t.true(next.allows(d, 'write'));
});

for (const type of types) {
	test(`${type}: what is persistent is stored before the answer, and restored exactly`, (t) => {
		const { table, store } = registered();
		table.acquire(b, keyB, type);
		t.is(table.register(a, keyA, true), 'good');
		t.is(store.saves, 1);
		t.is(table.replace(c, keyC, 0xffff_ffff_ffff_ffffn), 'good');
		t.is(store.saves, 2);
		const next = new ReservationTable(store);
		t.deepEqual({ ...next.report(), generation: table.generation }, table.report());
		t.is(next.generation, 0);
		for (const one of [a, b, c, d]) t.is(next.allows(one, 'write'), table.allows(one, 'write'));
		t.is(next.release(b, keyB, type), 'good');
		t.is(new ReservationTable(store).reservation, undefined);
		t.is(shown(new ReservationTable(store)), 'a=aa b=bb c=ffffffffffffffff');
	});
}

test('persistence that is taken back empties the store; one that is set stays over an empty table', (t) => {
	const { table, store } = registered();
	table.setPersistence(true);
	t.is(store.kept?.registrations.length, 3);
	table.clear(a, keyA);
	t.true(new ReservationTable(store).persistThroughPowerLoss);
	table.register(a, keyA, false);
	t.deepEqual(store.kept, { persistThroughPowerLoss: false, type: undefined, registrations: [] });
	t.false(new ReservationTable(store).persistThroughPowerLoss);
});

test('a change that cannot be stored is refused, changes nothing and is told to nobody', (t) => {
	const { table, store, witness } = registered();
	table.setPersistence(true);
	table.acquire(a, keyA, 'writeExclusiveRegistrantsOnly');
	const before = table.report();
	store.fails = true;
	const outcomes = [
		table.register(d, 1n),
		table.replace(a, keyA, 1n),
		table.unregister(a, keyA),
		table.release(a, keyA, 'writeExclusiveRegistrantsOnly'),
		table.clear(b, keyB),
		table.preempt(b, keyB, keyA, 'exclusiveAccess'),
		table.setPersistence(false),
	];
	let finished = '';
	table.preemptAndAbort(b, keyB, keyA, 'exclusiveAccess', (outcome) => (finished = outcome));
	t.deepEqual([...new Set([...outcomes, finished])], ['notStored']);
	t.deepEqual(table.report(), before);
	t.deepEqual(witness.take(), []);
	t.deepEqual(witness.aborted, []);
});

test('another error of the store is no refusal', (t) => {
	const { table, store } = registered();
	store.save = () => {
		throw new TypeError('a fault of ours');
	};
	t.throws(() => table.setPersistence(true), { instanceOf: TypeError });
});

test('a listener that went away is told nothing', (t) => {
	const table = new ReservationTable(new MemoryStore());
	const witness = new Witness();
	const away = table.listen(witness);
	table.register(a, keyA);
	table.register(b, keyB);
	away();
	table.clear(a, keyA);
	t.deepEqual(witness.take(), []);
});
