import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { Configuration } from '../../src/config/configuration.ts';
import { UsageError } from '../../src/config/usage-error.ts';
import { type Logger, silent } from '../../src/os/logger.ts';
import { Registrant } from '../../src/reservation/registrant.ts';
import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import { type ReservationType, reservationTypes } from '../../src/reservation/reservation-type.ts';
import { temporaryDirectory } from '../temporary.ts';

const uuid = '00000000-0000-4000-8000-000000000001';
const a = new Registrant('iscsi', 'iqn.1993-08.org.debian:01:abc,i,0x400001370000', 'iqn.2026-11.test:t,t,0x0001');
const b = new Registrant('nvme', '5d6a1b6e9bd14e2f8f6f0b0c0d0e0f10');

async function fresh(t: ExecutionContext): Promise<{ path: string; configuration: Configuration }> {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	configuration.addVolume({ name: 'a', uuid, sizeBytes: 2 ** 30, blockSize: 512 });
	return { path, configuration };
}

for (const type of Object.keys(reservationTypes) as ReservationType[]) {
	test(`${type}: what another connection reads the moment the operation has returned is what a restart restores`, async (t) => {
		const { path, configuration } = await fresh(t);
		const table = new ReservationTable(configuration.reservationStore(uuid, silent));
		t.is(table.register(a, 0xffff_ffff_ffff_ffffn, true), 'good');
		t.is(table.register(b, 1n), 'good');
		t.is(table.acquire(b, 1n, type), 'good');
		const other = new Configuration(path);
		t.teardown(() => other.close());
		const restored = new ReservationTable(other.reservationStore(uuid, silent));
		t.deepEqual(restored.report(), { ...table.report(), generation: 0 });
		t.is(restored.allows(a, 'write'), table.allows(a, 'write'));
		t.is(table.release(b, 1n, type), 'good');
		t.is(new ReservationTable(other.reservationStore(uuid, silent)).reservation, undefined);
	});
}

test('without persistence nothing is kept; taken back, nothing is kept either', async (t) => {
	const { configuration } = await fresh(t);
	const store = configuration.reservationStore(uuid, silent);
	const table = new ReservationTable(store);
	table.register(a, 1n);
	t.is(store.load(), undefined);
	table.setPersistence(true);
	t.is(store.load()?.registrations.length, 1);
	table.clear(a, 1n);
	t.deepEqual(store.load(), { persistThroughPowerLoss: true, type: undefined, registrations: [] });
	table.setPersistence(false);
	t.is(store.load(), undefined);
});

test('a volume that is removed takes its reservations with it; one that was never there cannot have any', async (t) => {
	const { path, configuration } = await fresh(t);
	const table = new ReservationTable(configuration.reservationStore(uuid, silent));
	table.register(a, 1n, true);
	configuration.removeVolume('a');
	const database = new Database(path, { readonly: true });
	t.teardown(() => database.close());
	t.is(database.prepare('SELECT count(*) FROM reservations').pluck().get(), 0);
	t.is(database.prepare('SELECT count(*) FROM registrations').pluck().get(), 0);
	t.is(table.register(b, 1n, true), 'notStored');
});

test('a database that cannot be written refuses the command, says so in the log, and the table stays as it was', async (t) => {
	const { path, configuration } = await fresh(t);
	const lines: string[] = [];
	const log: Logger = { ...silent, error: (_fields, message) => lines.push(message ?? '') };
	const table = new ReservationTable(configuration.reservationStore(uuid, log));
	t.is(table.register(a, 1n, true), 'good');
	const writer = new Database(path);
	t.teardown(() => writer.close());
	writer.exec('BEGIN IMMEDIATE');
	t.is(table.register(b, 2n), 'notStored');
	writer.exec('ROLLBACK');
	t.is(lines.length, 1);
	t.false(table.isRegistered(b));
	t.is(table.register(b, 2n), 'good');
});

test('rows that no table wrote are refused in one sentence', async (t) => {
	const { path, configuration } = await fresh(t);
	const database = new Database(path);
	t.teardown(() => database.close());
	const row = (type: string | null, ...registrations: [key: string, holder: number][]) => {
		database.exec('DELETE FROM registrations; DELETE FROM reservations');
		database.prepare('INSERT INTO reservations VALUES (?, ?)').run(uuid, type);
		const insert = database.prepare('INSERT INTO registrations VALUES (?, ?, ?, ?, ?, ?, ?)');
		for (const [index, [key, holder]] of registrations.entries()) insert.run(uuid, index, 'nvme', `id${index}`, '', key, holder);
	};
	const one = '0000000000000001';
	for (const damage of [
		() => row('nonsense', [one, 1]),
		() => row('writeExclusive'),
		() => row('writeExclusive', [one, 0]),
		() => row('writeExclusive', [one, 1], [one, 1]),
		() => row('writeExclusiveAllRegistrants', [one, 1], [one, 0]),
		() => row(null, [one, 1]),
		() => row('writeExclusive', ['000000000000000g', 1]),
	]) {
		damage();
		const error = t.throws(() => new ReservationTable(configuration.reservationStore(uuid, silent)), { instanceOf: UsageError });
		t.regex(error.message, /^[^\n]+damaged reservations[^\n]+\.$/);
	}
	t.throws(() => row('writeExclusive', ['0000000000000000', 1]), { code: 'SQLITE_CONSTRAINT_CHECK' });
	row('writeExclusive', [one, 1]);
	t.notThrows(() => new ReservationTable(configuration.reservationStore(uuid, silent)));
});
