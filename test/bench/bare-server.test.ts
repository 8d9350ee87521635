import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { BareServer, NoCompiler } from '../../bench/bare-server.ts';
import { connectionLost } from '../nvme-host/command.ts';
import { ioOpcode, range } from '../nvme-host/commands.ts';
import { Queue } from '../nvme-host/queue.ts';
import { temporaryDirectory } from '../temporary.ts';

const pageBytes = 4096;
const pages = 1024;

test('bare-server.c answers reads with the bytes of its file, also many at once and long ones, and cuts who asks for what lies outside it', async (t) => {
	const folder = await temporaryDirectory(t);
	const server = new BareServer({ folder, units: [{ target: '', lun: 0, sizeBytes: pages * pageBytes }], initiators: [] });
	try {
		await server.start();
	} catch (error) {
		if (!(error instanceof NoCompiler)) throw error;
		t.log(error.message);
		t.pass();
		return;
	}
	t.teardown(async () => await server.stop());
	const file = readFileSync(join(folder, 'data'));
	t.is(file.length, pages * pageBytes);
	const queue = await Queue.open({ port: server.port, commandsMax: 512 });
	t.teardown(() => queue.destroy());
	queue.flowControl = false;
	const read = async (page: number, count: number): Promise<Buffer> => {
		const result = await queue.execute((sqe) => range(sqe, ioOpcode.read, 1, page, count), { dataInBytes: count * pageBytes });
		t.like(result, { status: 0, bySuccessFlag: true });
		return result.data;
	};
	// More than the server's output holds: what is left over is answered once there is room.
	const wanted = Array.from({ length: 512 }, (_none, index) => ({ page: (index * 37) % (pages - 32), count: index % 8 === 0 ? 32 : 1 }));
	const found = await Promise.all(wanted.map(async ({ page, count }) => await read(page, count)));
	for (const [index, { page, count }] of wanted.entries())
		if (!file.subarray(page * pageBytes, (page + count) * pageBytes).equals(found[index]!)) t.fail(`command ${index} had other bytes`);
	t.deepEqual(await read(pages - 1, 1), file.subarray(-pageBytes));
	const outside = await queue.execute((sqe) => range(sqe, ioOpcode.read, 1, pages - 1, 2), { dataInBytes: 2 * pageBytes });
	t.is(outside.status, connectionLost);
	const again = await Queue.open({ port: server.port, commandsMax: 8 });
	t.teardown(() => again.destroy());
	const write = await again.execute((sqe) => range(sqe, ioOpcode.write, 1, 0, 1), { dataOut: Buffer.alloc(pageBytes) });
	t.is(write.status, connectionLost, 'it only reads');
});
