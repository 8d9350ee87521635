import test from 'ava';
import fc from 'fast-check';
import { register } from '../../src/reservation/persistent-reserve-out.ts';
import type { Registrant } from '../../src/reservation/registrant.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import { type ReservationType, reservationTypes } from '../../src/reservation/reservation-type.ts';
import { MemoryStore, Witness, everyone } from './fixture.ts';

const who = fc.constantFrom(...everyone);
/** Few, so that they meet; 0 is among them. */
const key = fc.bigInt({ min: 0n, max: 3n });
const type = fc.constantFrom(...(Object.keys(reservationTypes) as ReservationType[]));
const persist = fc.option(fc.boolean(), { nil: undefined });

type Step = (table: ReservationTable) => string;

const step: fc.Arbitrary<{ words: string; run: Step }> = fc.oneof(
	fc
		.tuple(who, key, persist)
		.map(([a, k, p]) => ({ words: `register ${a.id} ${k} ${p}`, run: (t: ReservationTable) => t.register(a, k, p) })),
	fc.tuple(who, key).map(([a, k]) => ({ words: `unregister ${a.id} ${k}`, run: (t: ReservationTable) => t.unregister(a, k || 'ignored') })),
	fc
		.tuple(who, key, key, persist)
		.map(([a, k, n, p]) => ({ words: `replace ${a.id} ${k} ${n}`, run: (t: ReservationTable) => t.replace(a, k || 'ignored', n, p) })),
	fc.tuple(who, key, key, fc.boolean(), fc.boolean(), fc.subarray(everyone)).map(([a, k, n, ignoreExistingKey, aptpl, otherPorts]) => ({
		words: `REGISTER ${a.id} ${k} ${n} ${ignoreExistingKey} ${aptpl} ${otherPorts.map((one) => one.id).join('')}`,
		run: (t: ReservationTable) =>
			register(t, a, { reservationKey: k, serviceActionReservationKey: n, ignoreExistingKey, aptpl, otherPorts }),
	})),
	fc.tuple(who, key, type).map(([a, k, y]) => ({ words: `acquire ${a.id} ${k} ${y}`, run: (t: ReservationTable) => t.acquire(a, k, y) })),
	fc.tuple(who, key, type).map(([a, k, y]) => ({ words: `release ${a.id} ${k} ${y}`, run: (t: ReservationTable) => t.release(a, k, y) })),
	fc.tuple(who, key).map(([a, k]) => ({ words: `clear ${a.id} ${k}`, run: (t: ReservationTable) => t.clear(a, k) })),
	fc
		.tuple(who, key, key, type)
		.map(([a, k, p, y]) => ({ words: `preempt ${a.id} ${k} ${p} ${y}`, run: (t: ReservationTable) => t.preempt(a, k, p, y) })),
	fc.tuple(who, key, who, key, fc.boolean(), persist).map(([a, k, b, n, unregister, p]) => ({
		words: `move ${a.id} ${k} ${b.id} ${n} ${unregister} ${p}`,
		run: (t: ReservationTable) => t.move(a, k, { registrant: b, key: n }, unregister, p),
	})),
	fc.boolean().map((p) => ({ words: `persist ${p}`, run: (t: ReservationTable) => t.setPersistence(p) })),
);

const story = fc.array(step, { maxLength: 60 });

function tell(steps: readonly { words: string }[], done: number): string {
	return steps
		.slice(0, done + 1)
		.map(({ words }) => words)
		.join('; ');
}

test('whatever happens: one holder unless all registrants hold it, no key 0, rights as the standards’ tables say', (t) => {
	fc.assert(
		fc.property(story, (steps) => {
			const table = new ReservationTable();
			for (const [index, { run }] of steps.entries()) {
				run(table);
				const { registrations, type } = table.report();
				const holders = registrations.filter((one) => one.holder).map((one) => one.registrant.name);
				const names = registrations.map((one) => one.registrant.name);
				const where = tell(steps, index);
				if (registrations.some((one) => one.key === 0n)) throw new Error(`key 0 after ${where}`);
				if (type === undefined ? holders.length > 0 : holders.length !== (reservationTypes[type].allRegistrants ? names.length : 1))
					throw new Error(`${holders.length} holders after ${where}`);
				if (type !== undefined && holders.length === 0) throw new Error(`nobody holds it after ${where}`);
				for (const one of everyone) {
					const rights = expectedRights(type, holders.includes(one.name), names.includes(one.name));
					if (table.allows(one, 'read') !== rights.read || table.allows(one, 'write') !== rights.write)
						throw new Error(`rights of ${one.id} after ${where}`);
				}
			}
		}),
		{ numRuns: 2000 },
	);
	t.pass();
});

/** Written from the tables' prose, not from the code: exclusive access shuts out reads too, and the registrants variants let registrants through. */
function expectedRights(type: string | undefined, holder: boolean, registered: boolean): { read: boolean; write: boolean } {
	if (type === undefined || holder) return { read: true, write: true };
	const through = /Registrants/.test(type) && registered;
	return { read: through || type.startsWith('write'), write: through };
}

test('an operation that is not good changes nothing, counts nothing and tells nobody', (t) => {
	let refusals = 0;
	fc.assert(
		fc.property(story, (steps) => {
			const table = new ReservationTable(new MemoryStore());
			const witness = new Witness();
			table.listen(witness);
			for (const [index, { run }] of steps.entries()) {
				const before = JSON.stringify(table.report(), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
				witness.take();
				if (run(table) === 'good') continue;
				refusals++;
				const after = JSON.stringify(table.report(), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
				if (after !== before || witness.take().length > 0) throw new Error(tell(steps, index));
			}
		}),
		{ numRuns: 500 },
	);
	t.true(refusals > 1000);
});

test('a restart at any moment brings back exactly what was persistent, and nothing else', (t) => {
	fc.assert(
		fc.property(story, (steps) => {
			const store = new MemoryStore();
			const table = new ReservationTable(store);
			for (const [index, { run }] of steps.entries()) {
				run(table);
				const again = new ReservationTable(store).report();
				const now = table.report();
				const expected = now.persistThroughPowerLoss ? now : { persistThroughPowerLoss: false, type: undefined, registrations: [] };
				t.deepEqual(again, { ...expected, generation: 0 }, tell(steps, index));
			}
		}),
		{ numRuns: 300 },
	);
});

test('who loses its registration to another is told so, or that the table was cleared, and nobody who did it himself', (t) => {
	fc.assert(
		fc.property(story, (steps) => {
			const table = new ReservationTable();
			const witness = new Witness();
			table.listen(witness);
			for (const [index, { words, run }] of steps.entries()) {
				const before = names(table);
				witness.take();
				const outcome = run(table);
				const [verb, by = ''] = words.split(' ');
				if (outcome !== 'good' || (verb !== 'preempt' && verb !== 'clear')) continue;
				const now = names(table);
				const lost = before.filter((one) => !now.includes(one)).map((name) => idOf(name));
				const told = witness.take();
				const notice = verb === 'clear' ? 'reservationPreempted' : 'registrationPreempted';
				t.deepEqual(
					told.filter((one) => one.endsWith(notice)),
					lost
						.filter((id) => id !== by)
						.map((id) => `${id} ${notice}`)
						.toSorted(),
					tell(steps, index),
				);
				t.false(told.some((one) => one.startsWith(`${by} `)));
			}
		}),
		{ numRuns: 500 },
	);
});

function names(table: ReservationTable): string[] {
	return table.report().registrations.map((one) => one.registrant.name);
}

function idOf(name: string): string {
	return (everyone.find((one: Registrant) => one.name === name) as Registrant).id;
}
