import test from 'ava';
import { register } from '../../src/reservation/persistent-reserve-out.ts';
import { Registrant } from '../../src/reservation/registrant.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import { a, b, c, keyA, MemoryStore, port, registered, shown } from './fixture.ts';

test('the whole unit: reads and writes of its holder alone, over both protocols', (t) => {
	const table = new ReservationTable();
	t.false(table.restricts);
	t.is(table.reserveUnit(a), 'good');
	t.true(table.restricts);
	t.is(table.unitHolder, a);
	const again = new Registrant('iscsi', 'a', port);
	for (const access of ['read', 'write'] as const) {
		t.true(table.allows(again, access));
		for (const other of [b, c, new Registrant('iscsi', 'a', 'another port')]) t.false(table.allows(other, access));
	}
	t.is(table.reserveUnit(again), 'good');
	t.is(table.reserveUnit(c), 'conflict');
	t.is(table.releaseUnit(c), 'good');
	t.is(table.unitHolder, a, 'not its to release');
	t.is(table.releaseUnit(again), 'good');
	t.false(table.restricts);
	for (const each of [a, b, c]) t.true(table.allows(each, 'write'));
});

test('while somebody has the whole unit nobody registers, of either protocol, and nothing else of the table changes', (t) => {
	const store = new MemoryStore();
	const table = new ReservationTable(store);
	table.reserveUnit(a);
	for (const each of [a, b, c]) {
		t.is(table.register(each, 1n, true), 'conflict');
		t.is(table.replace(each, 'ignored', 1n), 'conflict');
		t.is(table.unregister(each, 'ignored'), 'conflict');
		t.is(table.acquire(each, 1n, 'writeExclusive'), 'conflict');
		t.is(table.release(each, 1n, 'writeExclusive'), 'conflict');
		t.is(table.preempt(each, 1n, 2n, 'writeExclusive'), 'conflict');
		t.is(table.clear(each, 1n), 'conflict');
		const asked = { reservationKey: 0n, serviceActionReservationKey: 0n, ignoreExistingKey: false, aptpl: true };
		t.is(register(table, each, asked), 'conflict');
		t.is(register(table, each, { ...asked, serviceActionReservationKey: 1n }), 'conflict');
	}
	t.deepEqual([shown(table), table.generation, store.saves], ['', 0, 0]);
	table.endUnitReservation();
	t.is(table.register(b, 1n), 'good');
});

test('it ends with its nexus or with a reset, not with another nexus, and is in no store', (t) => {
	const store = new MemoryStore();
	const table = new ReservationTable(store);
	table.setPersistence(true);
	table.reserveUnit(a);
	table.endUnitReservation(c);
	t.is(table.unitHolder, a);
	t.false(new ReservationTable(store).restricts);
	table.endUnitReservation(new Registrant('iscsi', 'a', port));
	t.is(table.unitHolder, undefined);
	table.reserveUnit(a);
	table.endUnitReservation();
	t.is(table.unitHolder, undefined);
	t.false(table.restricts);
});

test('with registrations: a conflict, except for whom the reservation lets do everything; the end of a nexus or a reset leaves it alone', (t) => {
	const { table } = registered();
	for (const each of [a, b, c]) t.deepEqual([table.reserveUnit(each), table.releaseUnit(each)], ['conflict', 'conflict']);
	table.acquire(a, keyA, 'writeExclusive');
	t.deepEqual([table.reserveUnit(a), table.releaseUnit(a)], ['good', 'good']);
	t.deepEqual([table.reserveUnit(c), table.releaseUnit(c)], ['conflict', 'conflict']);
	table.release(a, keyA, 'writeExclusive');
	table.acquire(a, keyA, 'writeExclusiveAllRegistrants');
	t.deepEqual([table.reserveUnit(c), table.releaseUnit(c)], ['good', 'good']);
	table.endUnitReservation(a);
	table.endUnitReservation();
	t.true(table.restricts);
	t.is(table.unitHolder, undefined);
	t.is(shown(table), 'a=aa* b=bb* c=cc*');
});

test('restricts: true as long as anybody holds anything', (t) => {
	const { table, store } = registered();
	t.false(table.restricts);
	table.acquire(a, keyA, 'exclusiveAccess');
	t.true(table.restricts);
	table.setPersistence(true);
	t.true(new ReservationTable(store).restricts, 'also after a restart');
	table.release(a, keyA, 'exclusiveAccess');
	t.false(table.restricts);
	table.acquire(a, keyA, 'exclusiveAccess');
	table.clear(a, keyA);
	t.false(table.restricts);
});

test('canPersist: whether there is a store', (t) => {
	t.false(new ReservationTable().canPersist);
	t.true(new ReservationTable(new MemoryStore()).canPersist);
});
