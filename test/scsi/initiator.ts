import { writeBytesMax } from '../../src/blockvol/block-device.ts';
import type { BlockDevice, Outcome } from '../../src/blockvol/block-device.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import type { LogicalUnitOptions } from '../../src/scsi/logical-unit.ts';
import { Nexus } from '../../src/scsi/nexus.ts';
import { ScsiTask, status } from '../../src/scsi/task.ts';
import type { NextStep } from '../../src/scsi/task.ts';
import { MemoryDevice } from './memory-device.ts';
import type { MemoryDeviceOptions } from './memory-device.ts';

export interface DecodedSense {
	key: number;
	/** Additional sense code and qualifier. */
	code: number;
	information?: number;
	/** Where the field pointer points. */
	field?: { in: 'cdb' | 'parameterList'; byte: number; bit: number };
}

export interface Answer {
	status: number;
	sense?: DecodedSense;
	dataIn: Buffer;
	/** What start() said. */
	step: NextStep;
	task: ScsiTask;
}

/** Fixed and descriptor format, by offsets written down here once more, apart from the code under test. */
export function decodeSense(data: Buffer): DecodedSense {
	const fixed = (data[0]! & 0x7e) === 0x70;
	const sense: DecodedSense = fixed
		? { key: data[2]! & 0x0f, code: data.readUInt16BE(12) }
		: { key: data[1]! & 0x0f, code: data.readUInt16BE(2) };
	let specific: Buffer | undefined;
	if (fixed) {
		if ((data[0]! & 0x80) !== 0) sense.information = data.readUInt32BE(3);
		specific = data.subarray(15, 18);
	} else {
		for (let at = 8; at < 8 + data[7]!; at += 2 + data[at + 1]!) {
			if (data[at] === 0) sense.information = Number(data.readBigUInt64BE(at + 4));
			if (data[at] === 2) specific = data.subarray(at + 4, at + 7);
		}
	}
	if (specific !== undefined && (specific[0]! & 0x80) !== 0) {
		sense.field = { in: (specific[0]! & 0x40) !== 0 ? 'cdb' : 'parameterList', byte: specific.readUInt16BE(1), bit: specific[0]! & 0x07 };
	}
	return sense;
}

export function newNexus(name = 'iqn.2026-11.test:host'): Nexus {
	return new Nexus(name, '00023d000001');
}

/** What a test needs: a device, a unit over it, and a nexus that has no unit attention waiting. */
export function setUp(options: MemoryDeviceOptions & LogicalUnitOptions = {}) {
	const device = new MemoryDevice(options);
	const unit = new LogicalUnit(device, options);
	const nexus = newNexus();
	unit.attach(nexus);
	unit.takeAttention(nexus);
	const send = (cdb: readonly number[], dataOut?: Buffer) => run(unit, nexus, cdb, dataOut);
	return { device, unit, nexus, send };
}

/** Starts a command, not more. The promise resolves when a pending one is done. */
export function begin(
	start: (task: ScsiTask) => NextStep,
	cdb: readonly number[],
	dataOutBytes = 0,
): { task: ScsiTask; step: NextStep; done: Promise<void> } {
	const task = new ScsiTask();
	task.cdb.set(cdb);
	task.dataOutBytes = dataOutBytes;
	const { promise, resolve } = Promise.withResolvers<void>();
	task.owner = { taskFinished: () => resolve() };
	return { task, step: start(task), done: promise };
}

/** Carries a command to its end, as a transport would. */
export function run(unit: LogicalUnit, nexus: Nexus, cdb: readonly number[], dataOut: Buffer = Buffer.alloc(0)): Promise<Answer> {
	return carryOut(unit, (task) => unit.start(task, nexus), cdb, dataOut);
}

export async function carryOut(
	unit: LogicalUnit | undefined,
	start: (task: ScsiTask) => NextStep,
	cdb: readonly number[],
	dataOut: Buffer = Buffer.alloc(0),
): Promise<Answer> {
	const { task, step, done } = begin(start, cdb, dataOut.length);
	let next = step;
	let dataIn: Buffer = Buffer.alloc(0);
	if (next === 'parameters') next = unit!.parameters(task, dataOut.subarray(0, task.lengthBytes));
	if (next === 'pending') await done;
	if (next === 'read' || next === 'write') {
		// An initiator that sends less than its CDB says is the transport's affair; here zeros make up for it.
		const data = Buffer.alloc(task.lengthBytes);
		if (next === 'write') dataOut.copy(data);
		const outcome = await transfer(unit!.device, next, task, data);
		if (outcome !== 'good') unit!.fail(task, outcome);
		else if (next === 'read') dataIn = data;
	}
	if (task.dataIn !== undefined) dataIn = task.dataIn;
	const answer: Answer = { status: task.status, dataIn, step, task };
	if (task.sense !== undefined) answer.sense = decodeSense(task.sense);
	if ((task.status === status.checkCondition) !== (task.sense !== undefined))
		throw new Error('sense data without CHECK CONDITION, or the reverse');
	return answer;
}

async function transfer(device: BlockDevice, direction: 'read' | 'write', task: ScsiTask, data: Buffer): Promise<Outcome> {
	for (let at = 0; at < data.length; at += writeBytesMax) {
		const piece = data.subarray(at, at + writeBytesMax);
		const { promise, resolve } = Promise.withResolvers<Outcome>();
		if (direction === 'read') device.read(task.offsetBytes + at, piece, { complete: resolve });
		else device.write(task.offsetBytes + at, piece, task.fua, { complete: resolve });
		const outcome = await promise;
		if (outcome !== 'good') return outcome;
	}
	return 'good';
}

/** Hex digits in groups that mean something. */
export function hex(...groups: string[]): string {
	return groups.join('');
}

/** Bytes of an unsigned number, big-endian. */
export function be(value: number | bigint, bytes: number): number[] {
	return Array.from({ length: bytes }, (_, index) => Number((BigInt(value) >> BigInt(8 * (bytes - 1 - index))) & 0xffn));
}

export const cdb = {
	read10: (lba: number, blocks: number, flags = 0) => [0x28, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
	read12: (lba: number, blocks: number, flags = 0) => [0xa8, flags, ...be(lba, 4), ...be(blocks, 4), 0, 0],
	read16: (lba: number | bigint, blocks: number, flags = 0) => [0x88, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
	write10: (lba: number, blocks: number, flags = 0) => [0x2a, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
	write12: (lba: number, blocks: number, flags = 0) => [0xaa, flags, ...be(lba, 4), ...be(blocks, 4), 0, 0],
	write16: (lba: number | bigint, blocks: number, flags = 0) => [0x8a, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
	verify10: (lba: number, blocks: number, flags = 0) => [0x2f, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
	verify12: (lba: number, blocks: number, flags = 0) => [0xaf, flags, ...be(lba, 4), ...be(blocks, 4), 0, 0],
	verify16: (lba: number | bigint, blocks: number, flags = 0) => [0x8f, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
	synchronizeCache10: (lba: number, blocks: number, flags = 0) => [0x35, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
	synchronizeCache16: (lba: number | bigint, blocks: number, flags = 0) => [0x91, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
	writeSame10: (lba: number, blocks: number, flags = 0) => [0x41, flags, ...be(lba, 4), 0, ...be(blocks, 2), 0],
	writeSame16: (lba: number | bigint, blocks: number, flags = 0) => [0x93, flags, ...be(lba, 8), ...be(blocks, 4), 0, 0],
	unmap: (listLength: number, flags = 0) => [0x42, flags, 0, 0, 0, 0, 0, ...be(listLength, 2), 0],
	inquiry: (allocationLength = 255) => [0x12, 0, 0, ...be(allocationLength, 2), 0],
	vpd: (page: number, allocationLength = 1024) => [0x12, 1, page, ...be(allocationLength, 2), 0],
	readCapacity10: () => [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
	readCapacity16: (allocationLength = 32) => [0x9e, 0x10, ...be(0, 8), ...be(allocationLength, 4), 0, 0],
	modeSense6: (page: number, subpage = 0, flags = 0, allocationLength = 255) => [0x1a, flags, page, subpage, allocationLength, 0],
	modeSense10: (page: number, subpage = 0, flags = 0, allocationLength = 1024) => [
		0x5a,
		flags,
		page,
		subpage,
		0,
		0,
		0,
		...be(allocationLength, 2),
		0,
	],
	modeSelect6: (listLength: number, flags = 0x10) => [0x15, flags, 0, 0, listLength, 0],
	modeSelect10: (listLength: number, flags = 0x10) => [0x55, flags, 0, 0, 0, 0, 0, ...be(listLength, 2), 0],
	testUnitReady: () => [0, 0, 0, 0, 0, 0],
	requestSense: (desc = 0, allocationLength = 252) => [0x03, desc, 0, 0, allocationLength, 0],
	reportLuns: (select = 0, allocationLength = 4096) => [0xa0, 0, select, 0, 0, 0, ...be(allocationLength, 4), 0, 0],
	reportOperationCodes: (options: number, opcode = 0, serviceAction = 0, allocationLength = 65536) => [
		0xa3,
		0x0c,
		options,
		opcode,
		...be(serviceAction, 2),
		...be(allocationLength, 4),
		0,
		0,
	],
};

export const good = 0x00;
export const checkCondition = 0x02;

/** Expected sense of INVALID FIELD IN CDB. */
export function invalidField(byte: number, bit: number): DecodedSense {
	return { key: 5, code: 0x2400, field: { in: 'cdb', byte, bit } };
}

export function invalidParameter(byte: number, bit: number): DecodedSense {
	return { key: 5, code: 0x2600, field: { in: 'parameterList', byte, bit } };
}

export const lbaOutOfRange: DecodedSense = { key: 5, code: 0x2100 };
export const parameterListLengthError: DecodedSense = { key: 5, code: 0x1a00 };
