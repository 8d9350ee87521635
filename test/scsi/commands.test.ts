import test from 'ava';
import * as fc from 'fast-check';
import { defineCommand } from '../../src/scsi/command.ts';
import type { CommandRow } from '../../src/scsi/command.ts';
import { commands, findCommand } from '../../src/scsi/commands.ts';
import { bits, u32be, u8 } from '../../src/scsi/field.ts';
import { cdb, good, invalidField, setUp, hex } from './initiator.ts';
import { ScriptedSanitizer } from './scripted-sanitizer.ts';

/** 4 bytes, in hex digits. */
function be(value: number): string {
	return value.toString(16).padStart(8, '0');
}

const illegalOpcode = { key: 5, code: 0x2000 };

test('an operation code that is not in the table: INVALID COMMAND OPERATION CODE', async (t) => {
	const { send } = setUp();
	const there = new Set(commands.map((command) => command.opcode));
	for (let opcode = 0; opcode < 256; opcode++)
		if (!there.has(opcode)) t.deepEqual((await send([opcode])).sense, illegalOpcode, opcode.toString(16));
});

test('commands that do not exist here: FORMAT UNIT, READ LONG, WRITE LONG, READ BUFFER', async (t) => {
	const { send } = setUp();
	for (const opcode of [0x04, 0x3e, 0x3f, 0x3c, 0x3b, 0x1d]) t.deepEqual((await send([opcode])).sense, illegalOpcode);
	t.deepEqual((await send([0xa3, 0x0f])).sense, invalidField(1, 4), 'REPORT TIMESTAMP');
});

test('every command refuses NACA with INVALID FIELD IN CDB at the CONTROL byte, and does nothing', async (t) => {
	for (const command of commands) {
		const { send, device } = setUp({ sanitizer: new ScriptedSanitizer() });
		const bytes = Array.from({ length: command.lengthBytes }, () => 0);
		bytes[0] = command.opcode;
		if (command.serviceAction !== undefined) bytes[1] = command.serviceAction;
		bytes[command.lengthBytes - 1] = 0x04;
		t.deepEqual((await send(bytes)).sense, invalidField(command.lengthBytes - 1, 2), command.name);
		t.deepEqual(device.calls, []);
	}
});

test('CDB lengths are those of the operation code group', (t) => {
	const lengths: readonly number[] = [6, 10, 10, 0, 16, 12, 0, 0];
	for (const { name, opcode, usage } of commands) t.is(usage.length, lengths[opcode >> 5]!, name);
});

test('the table ascends, and each of its rows is found by its CDB', (t) => {
	let last = -1;
	for (const command of commands) {
		const key = command.opcode * 32 + (command.serviceAction ?? 0);
		t.true(key > last, command.name);
		last = key;
		t.is(findCommand(Buffer.from([command.opcode, command.serviceAction ?? 0])), command);
	}
});

test('a row whose fields overlap, leave the CDB or cover the operation code is refused at load', (t) => {
	const row: Omit<CommandRow, 'fields'> = { name: 'TEST', opcode: 0xc0, lengthBytes: 6, reservation: 'free', start: () => 'finished' };
	t.throws(() => defineCommand({ ...row, fields: { a: u8(1), b: bits(1, 3, 1) } }), { message: /field b/ });
	t.throws(() => defineCommand({ ...row, fields: { a: u32be(3) } }), { message: /field a/ });
	t.throws(() => defineCommand({ ...row, fields: { a: u8(0) } }), { message: /field a/ });
	t.throws(() => defineCommand({ ...row, serviceAction: 3, fields: { a: bits(1, 4, 1) } }), { message: /serviceAction/ });
	t.deepEqual(defineCommand({ ...row, serviceAction: 3, fields: { a: bits(1, 7, 1), b: u8(3) } }).usage, [0xc0, 0x83, 0, 0xff, 0, 0x04]);
});

test('REPORT SUPPORTED OPERATION CODES, all: each command with its service action and length, with and without time-outs', async (t) => {
	const { send } = setUp({ sanitizer: new ScriptedSanitizer() });
	for (const [options, size] of [
		[0x00, 8],
		[0x80, 20],
	] as const) {
		const { dataIn } = await send(cdb.reportOperationCodes(options));
		t.is(dataIn.readUInt32BE(0), dataIn.length - 4);
		t.is(dataIn.length, 4 + size * commands.length);
		for (const [index, command] of commands.entries()) {
			const at = 4 + size * index;
			t.is(dataIn[at], command.opcode);
			t.is(dataIn.readUInt16BE(at + 2), command.serviceAction ?? 0);
			t.is(dataIn[at + 5], (size === 20 ? 2 : 0) + (command.serviceAction === undefined ? 0 : 1));
			t.is(dataIn.readUInt16BE(at + 6), command.lengthBytes);
			if (size === 20) t.is(dataIn.toString('hex', at + 8, at + 20), hex('000a', '00'.repeat(6), be(command.timeoutSeconds)));
		}
	}
});

test('REPORT SUPPORTED OPERATION CODES, one: usage data by the standard, for READ (16), WRITE SAME (16), READ CAPACITY (16)', async (t) => {
	const { send } = setUp();
	t.is((await send(cdb.reportOperationCodes(1, 0x88))).dataIn.toString('hex'), hex('00030010', '88f8', 'ff'.repeat(12), '0004'));
	t.is((await send(cdb.reportOperationCodes(1, 0x93))).dataIn.toString('hex'), hex('00030010', '93ff', 'ff'.repeat(12), '0004'));
	t.is(
		(await send(cdb.reportOperationCodes(2, 0x9e, 0x10))).dataIn.toString('hex'),
		hex('00030010', '9e10', '00'.repeat(8), 'ffffffff', '0004'),
	);
	t.is((await send(cdb.reportOperationCodes(1, 0x00))).dataIn.toString('hex'), hex('00030006', '000000000004'));
	t.is(
		(await send(cdb.reportOperationCodes(0x81, 0x00))).dataIn.toString('hex'),
		hex('00830006', '000000000004', '000a', '00'.repeat(6), be(30)),
	);
});

test('REPORT SUPPORTED OPERATION CODES, one that is not there: SUPPORT 001b', async (t) => {
	const { send } = setUp();
	for (const request of [
		cdb.reportOperationCodes(1, 0x5d),
		cdb.reportOperationCodes(2, 0x9e, 0x13),
		cdb.reportOperationCodes(2, 0x5e, 4),
		cdb.reportOperationCodes(2, 0x5f, 8),
		cdb.reportOperationCodes(3, 0x48),
		cdb.reportOperationCodes(3, 0x28, 1),
		cdb.reportOperationCodes(0x81, 0x5d),
	]) {
		t.is((await send(request)).dataIn.toString('hex'), '00010000');
	}
});

test('REPORT SUPPORTED OPERATION CODES that asks with a service action where there is none, or without where there is: INVALID FIELD IN CDB', async (t) => {
	const { send } = setUp();
	t.deepEqual((await send(cdb.reportOperationCodes(1, 0x9e))).sense, invalidField(2, 2));
	t.deepEqual((await send(cdb.reportOperationCodes(2, 0x28))).sense, invalidField(2, 2));
	for (const options of [4, 5, 6, 7]) t.deepEqual((await send(cdb.reportOperationCodes(options, 0x28))).sense, invalidField(2, 2));
	t.is((await send(cdb.reportOperationCodes(3, 0x28))).dataIn[1], 3);
	t.is((await send(cdb.reportOperationCodes(3, 0x9e, 0x10))).dataIn[1], 3);
});

test('REPORT SUPPORTED OPERATION CODES does not lie: what it lists is carried out, what it does not list is refused', async (t) => {
	const { send } = setUp();
	const nested = new Set([0x5e, 0x5f, 0x83, 0x84, 0x9e, 0xa3, 0xa4]);
	for (let opcode = 0; opcode < 256; opcode++) {
		for (const serviceAction of nested.has(opcode) ? [...Array(32).keys()] : [0]) {
			const supported = (await send(cdb.reportOperationCodes(3, opcode, serviceAction))).dataIn[1] === 3;
			const { sense } = await send([opcode, serviceAction], Buffer.alloc(512));
			const unknown =
				sense?.code === 0x2000 || (sense?.code === 0x2400 && sense.field?.byte === 1 && sense.field.bit === 4 && nested.has(opcode));
			t.is(unknown, !supported, `${opcode.toString(16)}/${serviceAction}`);
		}
	}
});

test('usage data does not lie: bits outside of it change nothing', async (t) => {
	const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
	await fc.assert(
		fc.asyncProperty(fc.constantFrom(...commands), sixteen, sixteen, async (command, one, other) => {
			const { opcode, serviceAction, usage } = command;
			const bytes = usage.map((used, index) => {
				if (index === 0) return opcode;
				// The service action stands as its value where the usage data would have ones.
				return index === 1 && serviceAction !== undefined ? (one[1]! & used & ~0x1f) | serviceAction : one[index]! & used;
			});
			const noisy = bytes.map((byte, index) => {
				if (index === 0) return opcode;
				const looked = index === 1 && serviceAction !== undefined ? usage[1]! | 0x1f : usage[index]!;
				return byte | (other[index]! & ~looked);
			});
			t.deepEqual(await outcome(noisy), await outcome(bytes), command.name);
		}),
		{ numRuns: 500 },
	);
});

async function outcome(bytes: readonly number[]) {
	const { send, device } = setUp();
	const { status, sense, dataIn, step, task } = await send(bytes, Buffer.alloc(4096, 3));
	return { status, sense, dataIn, step, calls: device.calls, offsetBytes: task.offsetBytes, lengthBytes: task.lengthBytes, fua: task.fua };
}

test('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: abort task and task set, clear task set, unit and target reset; a minute for each', async (t) => {
	const { send } = setUp();
	t.is((await send([0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])).dataIn.toString('hex'), 'da000000');
	t.is((await send([0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0])).dataIn.toString('hex'), hex('da00000c', '01000000', be(600), be(0)));
	const { status, dataIn } = await send([0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 4, 0, 0]);
	t.is(status, good);
	t.is(dataIn.length, 4);
	t.deepEqual((await send([0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0])).sense, invalidField(6, 7));
});
