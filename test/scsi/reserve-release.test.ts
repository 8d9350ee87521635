import test from 'ava';
import { Registrant } from '../../src/reservation/registrant.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { Nexus } from '../../src/scsi/nexus.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { cdb, good, invalidField } from './initiator.ts';
import { conflict, isid, names, setUpShared, types } from './reservations.ts';

const reserve6 = [0x16, 0, 0, 0, 0, 0];
const release6 = [0x17, 0, 0, 0, 0, 0];
const reserve10 = [0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const release10 = [0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const write = cdb.write10(0, 1);

for (const [name, reserve, release] of [
	['(6)', reserve6, release6],
	['(10)', reserve10, release10],
] as const) {
	test(`RESERVE ${name}: one nexus has the unit until it releases it; RELEASE ${name} of another is good and does nothing`, async (t) => {
		const { a, b, table } = setUpShared();
		t.is((await a.send(reserve)).status, good);
		t.is((await a.send(reserve)).status, good, 'again');
		t.is((await b.send(reserve)).status, conflict);
		t.is((await b.send(release)).status, good);
		t.is((await b.send(write)).status, conflict);
		t.is((await a.send(write)).status, good);
		t.is((await a.send(release)).status, good);
		t.is((await b.send(write)).status, good);
		t.false(table.restricts);
		t.is((await b.send(reserve)).status, good);
	});

	test(`RESERVE ${name} and RELEASE ${name} for a third party or of extents: INVALID FIELD IN CDB`, async (t) => {
		const { a, table } = setUpShared();
		for (const each of [reserve, release]) {
			t.deepEqual((await a.send([each[0]!, 0x10, ...each.slice(2)])).sense, invalidField(1, 4));
			t.deepEqual((await a.send([each[0]!, 0x01, ...each.slice(2)])).sense, invalidField(1, 0));
		}
		t.false(table.restricts);
	});
}

test('the two lengths are one reservation', async (t) => {
	const { a, b } = setUpShared();
	t.is((await a.send(reserve6)).status, good);
	t.is((await a.send(release10)).status, good);
	t.is((await b.send(reserve10)).status, good);
	t.is((await a.send(reserve6)).status, conflict);
});

test('it ends with a reset of the unit or the target by anybody, and with its nexus, not with another', async (t) => {
	const { a, b, unit, target } = setUpShared();
	const held = async () => (await b.send(write)).status === conflict;
	const take = async () => {
		while (unit.takeAttention(a.nexus) !== undefined);
		t.is((await a.send(reserve6)).status, good);
		t.true(await held());
	};
	await take();
	unit.reset();
	t.false(await held());
	await take();
	target.reset();
	t.false(await held());
	await take();
	target.detach(new Nexus(names.a, isid));
	target.detach(setUpShared().a.nexus);
	t.true(await held(), 'a nexus that was not attached');
	target.detach(a.nexus);
	t.false(await held());
	target.attach(a.nexus);
	await take();
	target.unmap(0);
	t.false(unit.reservations.restricts, 'the LUN is gone');
});

test('while anybody is registered it is a conflict for everybody (SPC-2), except for whom the reservation lets do everything: good, and nothing happens (SPC-4)', async (t) => {
	for (const [name, type] of Object.entries(types)) {
		const { a, b, c, table } = setUpShared();
		await a.register(0n, 5n);
		await b.register(0n, 6n);
		for (const each of [a, b, c]) {
			for (const command of [reserve6, release6, reserve10, release10])
				t.is((await each.send(command)).status, conflict, 'no reservation yet');
		}
		await a.reserve(5n, type);
		for (const command of [reserve6, release6, reserve10, release10]) {
			t.is((await a.send(command)).status, good, `${name} of the holder`);
			t.is((await b.send(command)).status, /RO$|AR$/.test(name) ? good : conflict, `${name} of a registrant`);
			t.is((await c.send(command)).status, conflict, `${name} of another`);
		}
		t.is(table.unitHolder, undefined);
		t.true(table.isHolder(a.nexus.registrant));
		t.is(await a.release(5n, type), good);
	}
});

test('the same initiator on two targets is two nexuses', async (t) => {
	const { a, attach, unit, table } = setUpShared();
	const second = new ScsiTarget('iqn.2026-11.test:second');
	second.map(0, unit);
	const again = attach(names.a, second);
	t.is((await a.send(reserve6)).status, good);
	t.is((await again.send(write)).status, conflict);
	second.detach(again.nexus);
	t.is((await a.send(write)).status, good);
	t.not(table.unitHolder, undefined);
});

test('a unit that is closed hears no more of its volume and its reservations', async (t) => {
	const { device, table, a } = setUpShared();
	const unit = new LogicalUnit(device, { reservations: table });
	unit.attach(a.nexus);
	unit.takeAttention(a.nexus);
	await a.register(0n, 5n);
	unit.close();
	const host = new Registrant('nvme', 'ab'.repeat(16));
	table.register(host, 6n);
	t.is(table.clear(host, 6n), 'good');
	device.resize(device.sizeBytes * 2);
	t.is(unit.takeAttention(a.nexus), undefined);
	t.is(await a.attention(), 0x2a03, 'the other unit does');
});
