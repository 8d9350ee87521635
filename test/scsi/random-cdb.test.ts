import test from 'ava';
import * as fc from 'fast-check';
import { commands } from '../../src/scsi/commands.ts';
import { limits } from '../../src/scsi/limits.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { carryOut, newNexus } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';

const legalStatus = new Set([0x00, 0x02, 0x08, 0x18]);
const senseKeys = new Set([0x0, 0x3, 0x4, 0x5, 0x6, 0x7, 0xa, 0xe]);

const anyCdb = fc.uint8Array({ minLength: 16, maxLength: 16 });
/** A known operation code, and few bits elsewhere, so that many commands get beyond their checks. */
const likelyCdb = fc
	.tuple(fc.constantFrom(...commands), fc.array(fc.tuple(fc.integer({ min: 1, max: 15 }), fc.nat(255)), { maxLength: 4 }))
	.map(([command, changes]) => {
		const bytes = new Uint8Array(16);
		bytes[0] = command.opcode;
		bytes[1] = command.serviceAction ?? 0;
		for (const [index, value] of changes) bytes[index]! ^= value;
		return bytes;
	});
const anyLun = fc.oneof(
	fc.constant(new Uint8Array(8)),
	fc.uint8Array({ minLength: 8, maxLength: 8 }),
	fc.nat(255).map((lun) => Uint8Array.of(0x40, lun, 0, 0, 0, 0, 0, 0)),
);
const outcomes = fc.constantFrom(undefined, 'outOfRange', 'noSpace', 'mediumError', 'faulted', 'closed');

test('random CDBs, LUNs, data and outcomes: nothing throws, each command ends with a legal status and legal sense, within the limits', async (t) => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.tuple(fc.oneof(anyCdb, likelyCdb), anyLun, fc.uint8Array({ maxLength: 600 }), outcomes), { minLength: 1, maxLength: 20 }),
			fc.constantFrom(512, 4096),
			fc.boolean(),
			async (steps, blockSize, readOnly) => {
				const device = new MemoryDevice({ blockSize: blockSize === 512 ? 512 : 4096 });
				const target = new ScsiTarget('iqn.2026-11.test:random');
				const unit = new LogicalUnit(device, { readOnly });
				target.map(0, unit);
				const nexus = newNexus();
				target.attach(nexus);
				for (const [bytes, lun, data, outcome] of steps) {
					device.outcome = () => outcome;
					const absent = target.unit(lun) === undefined;
					const { status, sense, dataIn, task, step } = await carryOut(
						absent ? undefined : unit,
						(each) => target.start(each, lun, nexus),
						[...bytes],
						Buffer.from(data),
					);
					t.true(legalStatus.has(status));
					if (sense !== undefined) t.true(senseKeys.has(sense.key));
					if (step === 'parameters') t.true(task.lengthBytes <= device.sizeBytes);
					t.true(dataIn.length <= limits.transferBytesMax);
					if (readOnly) t.is(device.pages, 0);
				}
				for (const call of device.calls) t.true(call.offsetBytes + call.lengthBytes <= device.sizeBytes);
			},
		),
		{ numRuns: 400 },
	);
});
