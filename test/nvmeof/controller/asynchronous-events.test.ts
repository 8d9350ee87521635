import test from 'ava';
import { limits } from '../../../src/nvmeof/limits.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import { attach, attachOther, sqe } from './host.ts';

const namespaceChanged = 0x0004_0002;

async function listening(events = 0x100) {
	const parts = await attach();
	await parts.admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: events }));
	const request = (cid = 0) => parts.admin.begin(sqe({ opcode: 0x0c, cid }));
	const read = (lid: number, rae = false) =>
		parts.admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: lid | (rae ? 0x8000 : 0) | 0x03ff_0000 }));
	return { ...parts, request, read };
}

test('an Asynchronous Event Request is held while nothing happens, up to AERL; one more is refused', async (t) => {
	const { request, admin } = await listening();
	const held = Array.from({ length: limits.asynchronousEventRequests }, (_, cid) => request(cid));
	t.true(held.every(({ step, finished }) => step === 'pending' && !finished));
	t.true(held.every(({ request: { awaitsEvent } }) => awaitsEvent));
	const more = await admin.finish(request(99));
	t.deepEqual([more.status, more.dnr], [0x105, true]);
});

test('a namespace that comes, goes or grows is one event until the list was read', async (t) => {
	const { request, read, admin, subsystem, device } = await listening();
	const first = request();
	subsystem.addNamespace(2, new MemoryDevice());
	t.is((await admin.finish(first)).result0, namespaceChanged);
	const second = request();
	device.resize(2 * 1024 * 1024);
	subsystem.removeNamespace(2);
	t.false(second.finished, 'masked until the log is read');
	await read(0x04, true);
	t.false(second.finished, 'RAE keeps the mask');
	await read(0x04);
	t.false(second.finished, 'the host has read of it');
	device.resize(3 * 1024 * 1024);
	t.is((await admin.finish(second)).result0, namespaceChanged);
});

test('an event that nobody waited for is told to the next request, once', async (t) => {
	const { request, subsystem, admin } = await listening();
	subsystem.addNamespace(2, new MemoryDevice());
	subsystem.addNamespace(3, new MemoryDevice());
	const first = request();
	t.is(first.step, 'finished');
	t.is((await admin.finish(first)).result0, namespaceChanged);
	t.is(request().step, 'pending');
});

test('an event whose log was read before it could be told is not told', async (t) => {
	const { request, read, subsystem } = await listening();
	subsystem.addNamespace(2, new MemoryDevice());
	await read(0x04);
	t.is(request().step, 'pending');
});

test('what the host did not ask for is not told, also when it asks later or stops asking meanwhile', async (t) => {
	const { request, subsystem, admin } = await listening(0);
	const configure = (bits: number) => admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: bits }));
	subsystem.addNamespace(2, new MemoryDevice());
	await configure(0x100);
	const held = request(1);
	t.false(held.finished, 'what was before is past');
	t.is((await admin.run(sqe({ opcode: 0x08, cid: 9, cdw10: 1 << 16 }))).result0, 0);
	subsystem.addNamespace(3, new MemoryDevice());
	await configure(0);
	t.is(request(2).step, 'pending');
	subsystem.addNamespace(4, new MemoryDevice());
	t.is(admin.outstanding.size, 1);
});

test('a volume that is faulted is told within a tick, with the log page that shows it', async (t) => {
	const { request, device, tick, admin, read } = await listening(0x104);
	const held = request();
	tick(1000);
	t.false(held.finished);
	device.fault = 'an fdatasync failed';
	tick(1000);
	t.is((await admin.finish(held)).result0, 0x0002_0001);
	t.is((await read(0x02)).data[0]! & 0b0100, 0b0100);
	const next = request();
	tick(2000);
	t.false(next.finished, 'it is still the same fault');
});

test('every controller is told by itself', async (t) => {
	const { fabric, request, admin, subsystem } = await listening();
	const other = await attachOther(fabric, '4');
	await other.admin.run(sqe({ opcode: 0x09, cdw10: 0x0b, cdw11: 0x100 }));
	const [mine, theirs] = [request(), other.admin.begin(sqe({ opcode: 0x0c }))];
	subsystem.addNamespace(2, new MemoryDevice());
	t.is((await admin.finish(mine)).result0, namespaceChanged);
	t.is((await other.admin.finish(theirs)).result0, namespaceChanged);
	await admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: 0x03ff_0004 }));
	const list = await other.admin.run(sqe({ opcode: 0x02, nsid: 0xffff_ffff, cdw10: 0x03ff_0004 }));
	t.is(list.data.readUInt32LE(0), 2, 'one host’s reading takes nothing from another');
});

test('more namespaces changed than the list holds: FFFFFFFFh', async (t) => {
	const { controller } = await listening();
	for (let nsid = 1; nsid <= limits.changedNamespaces; nsid++) controller.changedNamespaces.add(nsid);
	t.is(controller.changedNamespaces.page().readUInt32LE(4092), limits.changedNamespaces);
	controller.changedNamespaces.add(limits.changedNamespaces + 1);
	t.is(controller.changedNamespaces.page().readUInt32LE(0), 0xffff_ffff);
	t.is(controller.changedNamespaces.page().readUInt32LE(4), 0);
});

test('the connection goes with requests outstanding: nothing is finished, and later events find nobody', async (t) => {
	const { request, admin, subsystem } = await listening();
	const held = request();
	admin.close();
	t.false(held.finished);
	t.notThrows(() => subsystem.addNamespace(2, new MemoryDevice()));
});
