import { ReservationTable } from '../../src/reservation/reservation-table.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { Nexus } from '../../src/scsi/nexus.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { MemoryStore } from '../reservation/fixture.ts';
import { type Answer, be, run } from './initiator.ts';
import { MemoryDevice } from './memory-device.ts';
import { ScriptedSanitizer } from './scripted-sanitizer.ts';

export const conflict = 0x18;

/** SPC-4, service actions of PERSISTENT RESERVE IN and OUT. */
export const reserveIn = { readKeys: 0, readReservation: 1, reportCapabilities: 2, readFullStatus: 3 } as const;
export const out = {
	register: 0,
	reserve: 1,
	release: 2,
	clear: 3,
	preempt: 4,
	preemptAndAbort: 5,
	registerAndIgnore: 6,
	registerAndMove: 7,
} as const;

export const types = { WE: 1, EA: 3, WERO: 5, EARO: 6, WEAR: 7, EAAR: 8 } as const;

export interface ListOptions {
	/** Byte 20. */
	specIPt?: boolean;
	allTgPt?: boolean;
	aptpl?: boolean;
	transportIds?: readonly Buffer[];
}

export function parameterList(key: bigint, serviceActionKey: bigint, options: ListOptions = {}): Buffer {
	const { transportIds = [] } = options;
	const ids = Buffer.concat(transportIds);
	const flags = (options.specIPt === true ? 8 : 0) | (options.allTgPt === true ? 4 : 0) | (options.aptpl === true ? 1 : 0);
	const basic = Buffer.from([...be(key, 8), ...be(serviceActionKey, 8), 0, 0, 0, 0, flags, 0, 0, 0]);
	return options.specIPt === true ? Buffer.concat([basic, Buffer.from(be(ids.length, 4)), ids]) : basic;
}

export function moveList(
	key: bigint,
	serviceActionKey: bigint,
	port: number,
	id: Buffer,
	options: { unreg?: boolean; aptpl?: boolean } = {},
): Buffer {
	const flags = (options.unreg === true ? 2 : 0) | (options.aptpl === true ? 1 : 0);
	return Buffer.from([...be(key, 8), ...be(serviceActionKey, 8), 0, flags, ...be(port, 2), ...be(id.length, 4), ...id]);
}

/** SPC-4, iSCSI TransportID: format 01b with an ISID, 00b without. */
export function iscsiTransportId(name: string, isid?: string): Buffer {
	const text = isid === undefined ? name : `${name},i,0x${isid}`;
	const length = Math.max(20, Math.ceil((text.length + 1) / 4) * 4);
	const data = Buffer.alloc(4 + length);
	data[0] = (isid === undefined ? 0x00 : 0x40) | 5;
	data.writeUInt16BE(length, 2);
	data.write(text, 4);
	return data;
}

export function outCdb(serviceAction: number, scopeAndType: number, listLength: number): number[] {
	return [0x5f, serviceAction, scopeAndType, 0, 0, ...be(listLength, 4), 0];
}

export function inCdb(serviceAction: number, allocationLength = 4096): number[] {
	return [0x5e, serviceAction, 0, 0, 0, 0, 0, ...be(allocationLength, 2), 0];
}

/** Who sends commands to the unit, and how each of them ended. */
export interface Initiator {
	readonly nexus: Nexus;
	readonly send: (cdb: readonly number[], dataOut?: Buffer) => Promise<Answer>;
	readonly out: (serviceAction: number, list: Buffer, scopeAndType?: number) => Promise<Answer>;
	/** The status of REGISTER. */
	readonly register: (key: bigint, serviceActionKey: bigint, options?: ListOptions) => Promise<number>;
	readonly reserve: (key: bigint, type: number) => Promise<number>;
	readonly release: (key: bigint, type: number) => Promise<number>;
	readonly preempt: (key: bigint, preempted: bigint, type: number) => Promise<number>;
	/** The next unit attention, undefined if TEST UNIT READY is good. */
	readonly attention: () => Promise<number | undefined>;
}

export const names = { a: 'iqn.2026-11.test:a', b: 'iqn.2026-11.test:b', c: 'iqn.2026-11.test:c' };
export const isid = '00023d000001';
export const portTag = 7;

/** A target with one unit, which persists, and three initiators that have heard of everything so far. */
export function setUpShared(options: { persists?: boolean } = {}) {
	const store = new MemoryStore();
	const table = new ReservationTable(options.persists === false ? undefined : store);
	const device = new MemoryDevice({ sanitizer: new ScriptedSanitizer() });
	const unit = new LogicalUnit(device, { reservations: table });
	const target = new ScsiTarget('iqn.2026-11.test:disk', { targetPortalGroupTag: portTag });
	target.map(0, unit);
	const attach = (name: string, through = target) => {
		const nexus = new Nexus(name, isid);
		if (!through.attach(nexus)) throw new Error('not attached');
		while (unit.takeAttention(nexus) !== undefined);
		return initiator(unit, nexus);
	};
	return { store, table, device, unit, target, attach, a: attach(names.a), b: attach(names.b), c: attach(names.c) };
}

export function initiator(unit: LogicalUnit, nexus: Nexus): Initiator {
	const send = (cdb: readonly number[], dataOut?: Buffer) => run(unit, nexus, cdb, dataOut);
	const act = (serviceAction: number, list: Buffer, scopeAndType = 0) => send(outCdb(serviceAction, scopeAndType, list.length), list);
	const statusOf = async (serviceAction: number, list: Buffer, scopeAndType = 0) => (await act(serviceAction, list, scopeAndType)).status;
	return {
		nexus,
		send,
		out: act,
		register: (key, next, options) => statusOf(out.register, parameterList(key, next, options)),
		reserve: (key, type) => statusOf(out.reserve, parameterList(key, 0n), type),
		release: (key, type) => statusOf(out.release, parameterList(key, 0n), type),
		preempt: (key, preempted, type) => statusOf(out.preempt, parameterList(key, preempted), type),
		attention: async () => (await send([0, 0, 0, 0, 0, 0])).sense?.code,
	};
}

/** READ KEYS. */
export async function keysOf({ send }: Initiator): Promise<bigint[]> {
	const { dataIn } = await send(inCdb(reserveIn.readKeys, 0xffff));
	return Array.from({ length: dataIn.readUInt32BE(4) / 8 }, (_, index) => dataIn.readBigUInt64BE(8 + 8 * index));
}
