import test, { type ExecutionContext } from 'ava';
import { read10, write10 } from './cdb.ts';
import { connectionLost, type Command } from './command.ts';
import { InitiatorDisk } from './disk.ts';
import { ScriptedTarget } from './scripted-target.ts';
import { Session } from './session.ts';
import { opcode, u24, u32 } from './wire.ts';

async function start(t: ExecutionContext, target = new ScriptedTarget()) {
	await target.listen();
	const session = await Session.open({ port: target.port, targetName: 'iqn.2026-11.dev.blockport.test:scripted' });
	t.teardown(async () => {
		session.destroy();
		await target.close();
	});
	return { target, session, disk: new InitiatorDisk(session, 0) };
}

/** Submits a command and resolves with it when it is over. */
async function executed(session: Session, fill: (command: Command) => void): Promise<Command> {
	const command = session.take()!;
	fill(command);
	return await new Promise((resolve) => {
		command.owner = { finished: resolve };
		session.submit(command);
	});
}

for (const pieceBytes of [0, 1, 7, 100]) {
	test(`a read over several Data-In PDUs with phase collapse arrives whole, cut into ${pieceBytes || 'no'} pieces`, async (t) => {
		const { target, session, disk } = await start(t);
		target.pieceBytes = pieceBytes;
		const content = Buffer.from(Array.from({ length: 1024 }, (_value, index) => (index * 7) & 0xff));
		target.onPDU = ({ header }) => {
			const tag = u32(header, 16);
			target.send(
				{ opcode: opcode.dataIn, flags: 0, tag, countsStatus: false, at: { 40: 0 }, data: content.subarray(0, 510) },
				{ opcode: opcode.dataIn, flags: 0x81, tag, at: { 40: 510 }, data: content.subarray(510) },
			);
		};
		const result = await disk.execute((cdb) => read10(cdb, 0, 2), { dataInBytes: 1024 });
		t.is(result.status, 0);
		t.deepEqual(result.data, content);
		t.is(session.outstanding, 0);
	});
}

test('a write sends immediate data, unsolicited data up to FirstBurstLength, and the rest for each R2T, in PDUs of the target’s size', async (t) => {
	const { target, session, disk } = await start(t);
	const content = Buffer.from(Array.from({ length: 40_960 }, (_value, index) => (index * 13) & 0xff));
	const seen = Buffer.alloc(content.length);
	const sequences: [number, number, number][] = [];
	target.onPDU = ({ header, data }) => {
		const tag = u32(header, 16);
		const isDataOut = header[0] === opcode.dataOut;
		const offset = isDataOut ? u32(header, 40) : 0;
		data.copy(seen, offset);
		t.true(u24(header, 5) <= 8192);
		if (isDataOut) sequences.push([u32(header, 20), u32(header, 36), offset]);
		if (!isDataOut || (header[1]! & 0x80) === 0) return;
		const end = offset + data.length;
		if (end === content.length) target.send({ opcode: opcode.scsiResponse, tag });
		else target.send({ opcode: opcode.r2t, tag, countsStatus: false, at: { 20: 77, 36: 0, 40: end, 44: content.length - end } });
	};
	const result = await disk.execute((cdb) => write10(cdb, 0, 80), { dataOut: content });
	t.is(result.status, 0);
	t.deepEqual(seen, content);
	t.is(session.r2tsReceived, 1);
	t.deepEqual(sequences, [
		[0xffffffff, 0, 8192],
		[77, 0, 16_384],
		[77, 1, 24_576],
		[77, 2, 32_768],
	]);
});

test('with InitialR2T=Yes and ImmediateData=No nothing but the command is sent before the R2T', async (t) => {
	const silent = new ScriptedTarget();
	silent.loginKeys = 'InitialR2T=Yes\0ImmediateData=No\0';
	const { target, disk } = await start(t, silent);
	target.onPDU = ({ header, data }) => {
		const tag = u32(header, 16);
		if (header[0] === opcode.dataOut) {
			target.send({ opcode: opcode.scsiResponse, tag });
			return;
		}
		t.is(data.length, 0);
		t.is(header[1]! & 0x80, 0x80);
		target.send({ opcode: opcode.r2t, tag, countsStatus: false, at: { 20: 5, 40: 0, 44: 512 } });
	};
	t.is((await disk.execute((cdb) => write10(cdb, 0, 1), { dataOut: Buffer.alloc(512) })).status, 0);
	t.is(target.received.length, 2);
});

test('commands beyond MaxCmdSN wait, and go in order as the window opens', async (t) => {
	const narrow = new ScriptedTarget();
	narrow.windowCommands = 2;
	const { target, session } = await start(t, narrow);
	let unanswered = 0;
	const order: number[] = [];
	target.onPDU = ({ header }) => {
		order.push(u32(header, 24));
		t.true(++unanswered <= 2, 'never more than the window');
		setImmediate(() => {
			unanswered--;
			target.send({ opcode: opcode.scsiResponse, tag: u32(header, 16) });
		});
	};
	await Promise.all(Array.from({ length: 20 }, async () => await executed(session, (command) => command.cdb.fill(0))));
	t.deepEqual(
		order,
		Array.from({ length: 20 }, (_value, index) => index + 1),
	);
});

test('a cut connection ends every command as lost, those that wait for the window too', async (t) => {
	const narrow = new ScriptedTarget();
	narrow.windowCommands = 1;
	const { target, session } = await start(t, narrow);
	target.onPDU = () => target.cut();
	const commands = await Promise.all(Array.from({ length: 5 }, async () => await executed(session, (command) => command.cdb.fill(0))));
	t.deepEqual(
		commands.map((command) => command.status),
		Array.from({ length: 5 }, () => connectionLost),
	);
	t.is(session.outstanding, 0);
});

test('sense data, residual counts and NOP-In pings are understood', async (t) => {
	const { target, disk } = await start(t);
	const sense = Buffer.from('700005000000000a00000000210000000000', 'hex');
	target.onPDU = ({ header }) => {
		if ((header[0]! & 0x3f) === opcode.nopOut) {
			t.is(u32(header, 20), 99, 'the ping is answered with its tag');
			return;
		}
		target.send(
			{ opcode: opcode.nopIn, tag: 0xffffffff, countsStatus: false, at: { 20: 99 } },
			{
				opcode: opcode.scsiResponse,
				flags: 0x82,
				tag: u32(header, 16),
				at: { 0: 0x21820002, 44: 512 },
				data: Buffer.concat([Buffer.of(0, sense.length), sense]),
			},
		);
	};
	const result = await disk.execute((cdb) => read10(cdb, 0, 1), { dataInBytes: 512 });
	t.deepEqual([result.status, result.residual, result.sense], [2, 512, sense]);
});

const faults = {
	'a StatSN that skips one': (tag: number) => [{ opcode: opcode.scsiResponse, tag, at: { 24: 5 } }],
	'an answer for an unknown tag': () => [{ opcode: opcode.scsiResponse, tag: 0x12345 }],
	'Data-In beyond what was asked for': (tag: number) => [{ opcode: opcode.dataIn, flags: 0x81, tag, data: Buffer.alloc(516) }],
	'Data-In out of order': (tag: number) => [
		{ opcode: opcode.dataIn, flags: 0, countsStatus: false, tag, at: { 40: 4 }, data: Buffer.alloc(4) },
	],
	'an R2T for a read': (tag: number) => [{ opcode: opcode.r2t, countsStatus: false, tag, at: { 44: 512 } }],
	'a Reject': (tag: number) => [{ opcode: opcode.reject, tag, data: Buffer.alloc(48) }],
};
for (const [fault, answers] of Object.entries(faults)) {
	test(`a target that sends ${fault} is not listened to any more`, async (t) => {
		const { target, session } = await start(t);
		target.onPDU = ({ header }) => target.send(...answers(u32(header, 16)));
		const command = await executed(session, (taken) => {
			taken.dataInBytes = 512;
			read10(taken.cdb, 0, 1);
		});
		t.is(command.status, connectionLost);
		t.truthy(session.ended);
	});
}

test('a refused login says its status', async (t) => {
	const { createServer } = await import('node:net');
	const server = createServer((socket) => {
		const refusal = Buffer.alloc(48);
		refusal[0] = opcode.loginResponse;
		refusal.writeUInt16BE(0x0202, 36);
		socket.on('data', (data) => {
			data.copy(refusal, 16, 16, 20);
			socket.write(refusal);
		});
		socket.on('error', () => undefined);
	});
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.teardown(() => server.close());
	const address = server.address();
	const port = typeof address === 'object' && address !== null ? address.port : 0;
	await t.throwsAsync(Session.open({ port, targetName: 'iqn.2026-11.dev.blockport.test:refused' }), { message: /0202h/ });
});
