import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline/promises';
import test from 'ava';
import { demoCommands } from '../../src/cli/demo-commands.ts';
import { agreed, lines, printable, table } from '../../src/cli/terminal.ts';

test('a table has a head, aligned columns and no trailing blanks', async (t) => {
	const text = await table(
		['NAME', 'SIZE'],
		[
			['a', '10 GiB'],
			['longer', '1 B'],
		],
		'none',
	);
	t.is(text, 'NAME    SIZE\na       10 GiB\nlonger  1 B');
	t.is(await table(['NAME'], [], 'There are none.'), 'There are none.');
});

test('what an initiator calls itself cannot steer the terminal', async (t) => {
	t.is(printable('a\u001B[2Jb\nc\u0000\u009B'), 'a?[2Jb?c??');
	t.false((await table(['A'], [['\u001B[2J']], '')).includes('\u001B'));
	t.false(lines([['a', '\u001B[2J']]).includes('\u001B'));
});

test('lines leave out what is not there', (t) => {
	t.is(
		lines([
			['name', 'a'],
			['fault', undefined],
			['longer name', 'b'],
		]),
		'name         a\nlonger name  b',
	);
});

const demo = {
	iscsi: { target: 'iqn.2026-11.dev.blockport:demo', lun: 0 },
	nvme: { subsystem: 'nqn.2026-11.dev.blockport:demo', nsid: 1 },
};
const nowhere = { iscsi: undefined, nvme: undefined, nvmeDiscovery: undefined };

test('the demo’s commands name the port in use, an IPv6 portal in brackets, and loopback for "everywhere"', (t) => {
	const text = demoCommands({ ...nowhere, iscsi: { host: '127.0.0.1', port: 3262 } }, demo).join('\n');
	for (const command of [
		'iscsiadm -m discovery -t sendtargets -p 127.0.0.1:3262',
		'iscsiadm -m node -T iqn.2026-11.dev.blockport:demo -p 127.0.0.1:3262 --login',
		'qemu-img info iscsi://127.0.0.1:3262/iqn.2026-11.dev.blockport:demo/0',
		'-drive file=iscsi://127.0.0.1:3262/iqn.2026-11.dev.blockport:demo/0,format=raw',
		'iscsi-ls -s iscsi://127.0.0.1:3262',
		'iscsi-inq iscsi://127.0.0.1:3262/iqn.2026-11.dev.blockport:demo/0',
	]) {
		t.true(text.includes(command), command);
	}
	t.notRegex(text, /nvme/);
	const iscsi = (host: string) => demoCommands({ ...nowhere, iscsi: { host, port: 1 } }, demo).join();
	t.true(iscsi('::1').includes('iscsi://[::1]:1/'));
	t.true(iscsi('0.0.0.0').includes('iscsi://127.0.0.1:1/'));
});

test('the demo’s commands for nvme-cli: discovery where it is served, I/O where that is, addresses without brackets', (t) => {
	const nvme = { host: '::', port: 4421 };
	const text = demoCommands({ ...nowhere, nvme, nvmeDiscovery: { host: '::1', port: 8010 } }, demo).join('\n');
	for (const command of [
		'sudo nvme discover -t tcp -a ::1 -s 8010',
		'sudo nvme connect -t tcp -a 127.0.0.1 -s 4421 -n nqn.2026-11.dev.blockport:demo',
		'sudo nvme disconnect -n nqn.2026-11.dev.blockport:demo',
	]) {
		t.true(text.split('\n').includes(`  ${command}`), command);
	}
	t.notRegex(text, /iscsi/);
	t.regex(demoCommands({ ...nowhere, nvme }, demo).join('\n'), /discover -t tcp -a 127\.0\.0\.1 -s 4421/);
	t.deepEqual(demoCommands({ ...nowhere, nvme }, { iscsi: demo.iscsi, nvme: undefined }), []);
});

for (const [typed, isYes] of [
	['y\r', true],
	['YES\r', true],
	['n\r', false],
	['\r', false],
	['yesterday\r', false],
	['\u0003', false],
	['\u0004', false],
] as const) {
	test(`a question that is answered with ${JSON.stringify(typed)}: ${isYes ? 'yes' : 'no'}`, async (t) => {
		const input = new PassThrough();
		const terminal = createInterface({ input, output: new PassThrough(), terminal: true });
		t.teardown(() => terminal.close());
		const answer = agreed(terminal.question('Really? '));
		input.write(typed);
		t.is(await answer, isYes);
	});
}

test('a fault of the terminal is no answer', async (t) => {
	await t.throwsAsync(agreed(Promise.reject(new Error('EIO'))), { message: 'EIO' });
});
