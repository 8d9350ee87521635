import test from 'ava';
import * as pdu from '../../src/iscsi/pdu.ts';
import type { Field } from '../../src/wire/layout.ts';

type Table = Record<string, unknown> & { readonly sizeBytes: number };

/*
 * Each PDU as RFC 7143 §11 draws it: the bytes, and what they mean. Written from the figures, not by the code under test.
 */
const vectors: [name: string, table: Table, hex: string, meaning: Record<string, number | string>][] = [
	row(
		'SCSI Command, READ(10) of 8 blocks at 16 (§11.3)',
		pdu.SCSICommand,
		'01c1000000000000 0001000000000000 0000000a 00001000 00000021 00000042 28000000001000000800000000000000',
		{
			opcode: 1,
			immediate: 0,
			final: 1,
			read: 1,
			write: 0,
			attributes: 1,
			lun: '0001000000000000',
			initiatorTaskTag: 10,
			expectedDataTransferLength: 4096,
			cmdSN: 0x21,
			expStatSN: 0x42,
			cdb: '28000000001000000800000000000000',
		},
	),
	row(
		'SCSI Response, CHECK CONDITION with underflow (§11.4)',
		pdu.SCSIResponse,
		'2182000200000014 0000000000000000 0000000a 00000000 00000043 00000022 000000a1 00000003 00000000 00001000',
		{
			opcode: 0x21,
			flags: 0x82,
			response: 0,
			status: 2,
			dataSegmentLength: 20,
			initiatorTaskTag: 10,
			statSN: 0x43,
			expCmdSN: 0x22,
			maxCmdSN: 0xa1,
			expDataSN: 3,
			residualCount: 4096,
		},
	),
	row(
		'Task Management Function Request, ABORT TASK (§11.5)',
		pdu.TaskManagementRequest,
		'4281000000000000 0001000000000000 0000000b 0000000a 00000022 00000043 00000021 00000000 0000000000000000',
		{
			lun: '0001000000000000',
			expStatSN: 0x43,
			final: 1,
			opcode: 2,
			immediate: 1,
			function: 1,
			initiatorTaskTag: 11,
			referencedTaskTag: 10,
			cmdSN: 0x22,
			refCmdSN: 0x21,
		},
	),
	row(
		'Task Management Function Response (§11.6)',
		pdu.TaskManagementResponse,
		'2280010000000000 0000000000000000 0000000b 00000000 00000044 00000022 000000a1 000000000000000000000000',
		{ expCmdSN: 0x22, maxCmdSN: 0xa1, opcode: 0x22, flags: 0x80, response: 1, initiatorTaskTag: 11, statSN: 0x44 },
	),
	row(
		'SCSI Data-Out (§11.7)',
		pdu.DataOut,
		'0580000000002000 0001000000000000 0000000c 00000007 00000000 00000044 00000000 00000002 00004000 00000000',
		{
			lun: '0001000000000000',
			opcode: 5,
			flags: 0x80,
			dataSegmentLength: 8192,
			initiatorTaskTag: 12,
			targetTransferTag: 7,
			expStatSN: 0x44,
			dataSN: 2,
			bufferOffset: 0x4000,
		},
	),
	row(
		'SCSI Data-In with good status and overflow (§11.7)',
		pdu.DataIn,
		'2585000000000200 0000000000000000 0000000d ffffffff 00000045 00000023 000000a2 00000001 00000200 00000010',
		{
			expCmdSN: 0x23,
			maxCmdSN: 0xa2,
			opcode: 0x25,
			flags: 0x85,
			status: 0,
			dataSegmentLength: 512,
			initiatorTaskTag: 13,
			targetTransferTag: pdu.noTag,
			statSN: 0x45,
			dataSN: 1,
			bufferOffset: 512,
			residualCount: 16,
		},
	),
	row(
		'Ready To Transfer (§11.8)',
		pdu.R2T,
		'3180000000000000 0001000000000000 0000000c 00000007 00000045 00000023 000000a2 00000001 00010000 00100000',
		{
			expCmdSN: 0x23,
			maxCmdSN: 0xa2,
			opcode: 0x31,
			flags: 0x80,
			lun: '0001000000000000',
			initiatorTaskTag: 12,
			targetTransferTag: 7,
			statSN: 0x45,
			r2tSN: 1,
			bufferOffset: 65536,
			desiredDataTransferLength: 1048576,
		},
	),
	row(
		'Asynchronous Message, logout request (§11.9)',
		pdu.AsyncMessage,
		'3280000000000000 0000000000000000 ffffffff 00000000 00000046 00000023 000000a2 01020003 00040005 00000000',
		{
			expCmdSN: 0x23,
			maxCmdSN: 0xa2,
			opcode: 0x32,
			flags: 0x80,
			initiatorTaskTag: pdu.noTag,
			statSN: 0x46,
			asyncEvent: 1,
			asyncVCode: 2,
			parameter1: 3,
			parameter2: 4,
			parameter3: 5,
		},
	),
	row(
		'Text Request (§11.10)',
		pdu.TextRequest,
		'0440000000000010 0000000000000000 0000000e 00000009 00000024 00000047 00000000000000000000000000000000',
		{ opcode: 4, flags: 0x40, dataSegmentLength: 16, initiatorTaskTag: 14, targetTransferTag: 9, cmdSN: 0x24, expStatSN: 0x47 },
	),
	row(
		'Text Response (§11.11)',
		pdu.TextResponse,
		'2480000000000040 0000000000000000 0000000e ffffffff 00000047 00000025 000000a4 000000000000000000000000',
		{
			opcode: 0x24,
			flags: 0x80,
			dataSegmentLength: 64,
			initiatorTaskTag: 14,
			targetTransferTag: pdu.noTag,
			statSN: 0x47,
			expCmdSN: 0x25,
			maxCmdSN: 0xa4,
		},
	),
	row(
		'Login Request, operational to full feature (§11.12)',
		pdu.LoginRequest,
		'4387000000000123 00023d000001 0002 00000001 00030000 00000005 00000006 00000000000000000000000000000000',
		{
			opcode: 3,
			immediate: 1,
			transit: 1,
			continue: 0,
			currentStage: 1,
			nextStage: 3,
			versionMax: 0,
			versionMin: 0,
			dataSegmentLength: 0x123,
			isid: '00023d000001',
			tsih: 2,
			initiatorTaskTag: 1,
			cid: 3,
			cmdSN: 5,
			expStatSN: 6,
		},
	),
	row(
		'Login Response, target not found (§11.13)',
		pdu.LoginResponse,
		'2304000000000000 00023d000001 0000 00000001 00000000 00000007 00000005 00000084 02030000 0000000000000000',
		{
			initiatorTaskTag: 1,
			opcode: 0x23,
			transit: 0,
			currentStage: 1,
			nextStage: 0,
			versionMax: 0,
			versionActive: 0,
			isid: '00023d000001',
			tsih: 0,
			statSN: 7,
			expCmdSN: 5,
			maxCmdSN: 0x84,
			statusClass: 2,
			statusDetail: 3,
		},
	),
	row(
		'Logout Request of a connection (§11.14)',
		pdu.LogoutRequest,
		'4681000000000000 0000000000000000 0000000f 00030000 00000025 00000048 00000000000000000000000000000000',
		{ opcode: 6, immediate: 1, reasonCode: 1, final: 1, initiatorTaskTag: 15, cid: 3, cmdSN: 0x25, expStatSN: 0x48 },
	),
	row(
		'Logout Response (§11.15)',
		pdu.LogoutResponse,
		'2680010000000000 0000000000000000 0000000f 00000000 00000048 00000025 000000a4 00000000 0002001400000000',
		{
			expCmdSN: 0x25,
			maxCmdSN: 0xa4,
			opcode: 0x26,
			flags: 0x80,
			response: 1,
			initiatorTaskTag: 15,
			statSN: 0x48,
			time2Wait: 2,
			time2Retain: 20,
		},
	),
	row(
		'SNACK Request (§11.16)',
		pdu.SNACKRequest,
		'1081000000000000 0000000000000000 ffffffff ffffffff 00000000 00000049 0000000000000000 00000011 00000022',
		{
			opcode: 0x10,
			final: 1,
			type: 1,
			initiatorTaskTag: pdu.noTag,
			targetTransferTag: pdu.noTag,
			expStatSN: 0x49,
			begRun: 0x11,
			runLength: 0x22,
		},
	),
	row(
		'Reject, data digest error (§11.17)',
		pdu.Reject,
		'3f80020000000030 0000000000000000 ffffffff 00000000 0000004a 00000026 000000a5 00000003 0000000000000000',
		{
			expCmdSN: 0x26,
			maxCmdSN: 0xa5,
			opcode: 0x3f,
			flags: 0x80,
			reason: 2,
			dataSegmentLength: 48,
			initiatorTaskTag: pdu.noTag,
			statSN: 0x4a,
			dataSN: 3,
		},
	),
	row(
		'NOP-Out, ping (§11.18)',
		pdu.NOPOut,
		'4080000000000008 0000000000000000 00000010 ffffffff 00000026 0000004b 00000000000000000000000000000000',
		{
			opcode: 0,
			immediate: 1,
			flags: 0x80,
			dataSegmentLength: 8,
			initiatorTaskTag: 16,
			targetTransferTag: pdu.noTag,
			cmdSN: 0x26,
			expStatSN: 0x4b,
		},
	),
	row(
		'NOP-In, ping of ours (§11.19)',
		pdu.NOPIn,
		'2080000000000000 0000000000000000 ffffffff 00000012 0000004b 00000026 000000a5 000000000000000000000000',
		{ opcode: 0x20, flags: 0x80, initiatorTaskTag: pdu.noTag, targetTransferTag: 0x12, statSN: 0x4b, expCmdSN: 0x26, maxCmdSN: 0xa5 },
	),
];

for (const [name, table, hex, meaning] of vectors) {
	test(`${name} reads and writes as in the figure`, (t) => {
		const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
		t.is(bytes.length, pdu.bhsBytes);
		t.is(table.sizeBytes, pdu.bhsBytes);
		const written = Buffer.alloc(pdu.bhsBytes);
		for (const [field, value] of Object.entries(meaning)) {
			const accessor = table[field] as Field<number> | Field<Uint8Array>;
			const read = accessor.get(bytes, 0);
			t.is(typeof read === 'number' ? read : Buffer.from(read).toString('hex'), value, field);
			if (typeof value === 'number') (accessor as Field<number>).set(written, 0, value);
			else (accessor as Field<Uint8Array>).set(written, 0, Buffer.from(value, 'hex'));
		}
		t.is(written.toString('hex'), bytes.toString('hex'));
	});
}

test('serial numbers compare across the wrap (RFC 1982)', (t) => {
	t.true(pdu.serialDistance(0, 0xffffffff) > 0);
	t.true(pdu.serialDistance(0xffffffff, 0) < 0);
	t.is(pdu.serialDistance(5, 5), 0);
});

function row(name: string, table: Table, hex: string, meaning: Record<string, number | string>): (typeof vectors)[number] {
	return [name, table, hex, meaning];
}
