import type { ChapAccess } from '../../src/iscsi/chap.ts';
import { Connection, type ConnectionEnvironment, type ConnectionHost } from '../../src/iscsi/connection.ts';
import { MemoryPlan } from '../../src/iscsi/memory-plan.ts';
import * as pdu from '../../src/iscsi/pdu.ts';
import type { Portal } from '../../src/iscsi/portal.ts';
import type { Redirection, TargetRegistry } from '../../src/iscsi/registry.ts';
import { SessionTable } from '../../src/iscsi/session-table.ts';
import { Statistics } from '../../src/iscsi/statistics.ts';
import type { Logger } from '../../src/os/logger.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { Transmitter } from '../../src/wire/transmitter.ts';
import { FlatDevice } from './flat-device.ts';

export const targetName = 'iqn.2026-11.test:disk';
export const initiatorName = 'iqn.2026-11.test:initiator';

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A listener's world without sockets: one target with a volume under LUN 0. */
export class World {
	readonly device: FlatDevice;
	readonly target = new ScsiTarget(targetName);
	readonly unit: LogicalUnit;
	readonly statistics = new Statistics();
	readonly budget: MemoryBudget;
	readonly environment: ConnectionEnvironment & { accepting: boolean; portals: readonly Portal[] };
	readonly strangers = new Set<string>();
	/** What an initiator has to prove itself by, to the target and in discovery. */
	chap: ChapAccess | undefined;
	discoveryChap: ChapAccess | undefined;
	redirection: Redirection | undefined;
	/** The next bytes that are asked for; when there are none left, 1, 2, 3, … */
	readonly randomness: Buffer[] = [];

	constructor(options: { budgetBytes?: number; deviceBytes?: number } = {}) {
		this.device = new FlatDevice({ sizeBytes: options.deviceBytes ?? 1024 * 1024 });
		this.unit = new LogicalUnit(this.device);
		this.target.map(0, this.unit);
		this.budget = new MemoryBudget(options.budgetBytes ?? 64 * 1024 * 1024);
		const plan = new MemoryPlan(this.budget);
		const registry: TargetRegistry = {
			find: (name) => (name === targetName ? this.target : undefined),
			visibleTo: ({ initiatorName: name }) => (this.strangers.has(name) ? [] : [this.target]),
			admits: ({ initiatorName: name }) => !this.strangers.has(name),
			chapOf: () => this.chap,
			discoveryChap: () => this.discoveryChap,
			redirection: () => this.redirection,
		};
		this.environment = {
			registry,
			sessions: new SessionTable(plan, this.statistics),
			plan,
			statistics: this.statistics,
			log: silent,
			portals: [{ host: '192.0.2.1', port: 3260 }],
			accepting: true,
			now: () => new Date(0),
			random: (lengthBytes) =>
				this.randomness.shift() ?? Buffer.from(Array.from({ length: lengthBytes }, (_, index) => (index + 1) & 0xff)),
		};
	}

	connect(): Peer {
		return new Peer(this);
	}
}

/** A PDU that came from the target. */
export interface Answer {
	readonly opcode: number;
	readonly bhs: Buffer;
	readonly data: Buffer;
}

/** Names of key=value pairs, in order. */
export type Keys = Record<string, string>;

/** The initiator's end of a connection to a core, in memory. */
export class Peer implements ConnectionHost {
	readonly world: World;
	readonly transmitter: Transmitter;
	readonly connection: Connection;
	localAddress = '192.0.2.1';
	portalGroupTag: number | undefined;
	readonly remote = '192.0.2.2:40000';
	remoteAddress = '192.0.2.2';
	/** While true nothing leaves the target's side. */
	blocked = false;
	ended = false;
	destroyed: string | undefined;
	cmdSN = 1;
	headerDigest = false;
	dataDigest = false;
	#stuck = false;
	#output: Buffer[] = [];
	#rest: Buffer = Buffer.alloc(0);
	#scheduled = false;

	constructor(world: World) {
		this.world = world;
		this.transmitter = new Transmitter(
			{
				write: (pieces) => {
					for (const piece of pieces) this.#output.push(Buffer.from(piece));
					this.#stuck = this.blocked;
					return !this.blocked;
				},
			},
			{ roomAgain: () => this.connection.roomAgain() },
		);
		this.connection = new Connection(world.environment, this);
	}

	get closed(): boolean {
		return this.ended || this.destroyed !== undefined;
	}

	/** Bytes that the target does not want yet. */
	get unreadBytes(): number {
		return this.#rest.length;
	}

	resume(): void {
		if (this.#scheduled) return;
		this.#scheduled = true;
		queueMicrotask(() => {
			this.#scheduled = false;
			this.#feed();
		});
	}

	resumeLater(): void {
		setImmediate(() => this.resume());
	}

	end(): void {
		this.ended = true;
	}

	destroy(reason: string): void {
		this.destroyed = reason;
	}

	/** The target's output may leave again. */
	unblock(): void {
		this.blocked = false;
		if (this.#stuck) this.transmitter.drained();
	}

	/** The socket breaks. */
	cut(): void {
		this.destroyed = 'cut';
		this.connection.socketClosed('cut');
		this.transmitter.close();
	}

	/** Bytes to the target, in a buffer that is overwritten afterwards, as a receive buffer is. */
	send(...pieces: Uint8Array[]): void {
		for (const piece of pieces) {
			this.#rest = Buffer.concat([this.#rest, piece]);
			this.#feed();
		}
	}

	/** A PDU with header fields as given; lengths, padding and digests are filled in. */
	pdu(bhs: Buffer, data: Uint8Array = Buffer.alloc(0)): Buffer {
		pdu.BHS.dataSegmentLength.set(bhs, 0, data.length);
		const parts: Uint8Array[] = [bhs];
		if (this.headerDigest) parts.push(littleEndian(crc32c(bhs)));
		if (data.length > 0) {
			const whole = Buffer.alloc(pdu.padded(data.length));
			whole.set(data);
			parts.push(whole);
			if (this.dataDigest) parts.push(littleEndian(crc32c(whole)));
		}
		return Buffer.concat(parts);
	}

	/** All PDUs that came since the last call. */
	async answers(): Promise<Answer[]> {
		await settled();
		return this.takeAnswers();
	}

	takeAnswers(): Answer[] {
		const all = Buffer.concat(this.#output);
		this.#output = [];
		const found: Answer[] = [];
		for (let at = 0; at < all.length;) {
			const bhs = all.subarray(at, at + pdu.bhsBytes);
			const length = pdu.BHS.dataSegmentLength.get(bhs, 0);
			at += pdu.bhsBytes;
			if (this.headerDigest) {
				if (all.readUInt32LE(at) !== crc32c(bhs)) throw new Error('header digest of the target');
				at += 4;
			}
			const data = all.subarray(at, at + length);
			const end = at + pdu.padded(length);
			if (this.dataDigest && length > 0 && all.readUInt32LE(end) !== crc32c(all.subarray(at, end)))
				throw new Error('data digest of the target');
			at = end + (this.dataDigest && length > 0 ? 4 : 0);
			found.push({ opcode: bhs[0]! & 0x3f, bhs, data });
		}
		return found;
	}

	/** The one PDU that came. */
	async answer(): Promise<Answer> {
		const answers = await this.answers();
		if (answers.length !== 1) throw new Error(`${answers.length} PDUs: ${answers.map((each) => each.opcode.toString(16)).join(' ')}`);
		return answers[0]!;
	}

	/** Straight to full feature phase. */
	async login(
		keys: Keys = {},
		options: { isid?: string; tsih?: number; cid?: number; initiator?: string; discovery?: boolean } = {},
	): Promise<Answer> {
		const said: Keys = {
			InitiatorName: options.initiator ?? initiatorName,
			SessionType: options.discovery === true ? 'Discovery' : 'Normal',
			...(options.discovery === true ? {} : { TargetName: targetName }),
			...keys,
		};
		const bhs = loginRequest({ ...options, cmdSN: this.cmdSN });
		this.send(this.pdu(bhs, text(said)));
		const answer = await this.answer();
		if (answer.bhs[36] === 0) {
			this.headerDigest = said['HeaderDigest']?.startsWith('CRC32C') ?? false;
			this.dataDigest = said['DataDigest']?.startsWith('CRC32C') ?? false;
		}
		return answer;
	}

	/** Like open-iscsi: unsolicited data, long bursts. Unit attentions are taken. */
	async open(keys: Keys = {}, options: Parameters<Peer['login']>[1] = {}): Promise<this> {
		const answer = await this.login({ ...generous, ...keys }, options);
		if (answer.bhs[36] !== 0) throw new Error(`login status ${answer.bhs.toString('hex', 36, 38)}`);
		this.send(this.command({ cdb: '00', tag: 0xfffe }));
		await this.answers();
		return this;
	}

	/** A SCSI Command PDU with the next CmdSN. */
	command(options: CommandOptions): Buffer {
		const bhs = Buffer.alloc(pdu.bhsBytes);
		bhs[0] = pdu.opcode.scsiCommand | (options.immediate === true ? pdu.immediateBit : 0);
		bhs[1] = (options.final === false ? 0 : 0x80) | (options.read === undefined ? 0 : 0x40) | (options.write === undefined ? 0 : 0x20) | 1;
		if (options.lun !== undefined) bhs[9] = options.lun;
		pdu.SCSICommand.initiatorTaskTag.set(bhs, 0, options.tag);
		pdu.SCSICommand.expectedDataTransferLength.set(bhs, 0, options.read ?? options.write ?? 0);
		pdu.SCSICommand.cmdSN.set(bhs, 0, options.cmdSN ?? (options.immediate === true ? this.cmdSN : this.cmdSN++));
		Buffer.from(options.cdb, 'hex').copy(bhs, 32);
		return this.pdu(bhs, options.data);
	}

	dataOut(options: { tag: number; transferTag?: number; offset: number; dataSN: number; final: boolean; data: Uint8Array }): Buffer {
		const bhs = Buffer.alloc(pdu.bhsBytes);
		bhs[0] = pdu.opcode.dataOut;
		bhs[1] = options.final ? 0x80 : 0;
		pdu.DataOut.initiatorTaskTag.set(bhs, 0, options.tag);
		pdu.DataOut.targetTransferTag.set(bhs, 0, options.transferTag ?? pdu.noTag);
		pdu.DataOut.dataSN.set(bhs, 0, options.dataSN);
		pdu.DataOut.bufferOffset.set(bhs, 0, options.offset);
		return this.pdu(bhs, options.data);
	}

	/** Any other request: opcode, byte 1, words at offsets. */
	request(opcode: number, flags: number, words: Record<number, number>, data?: Uint8Array): Buffer {
		const bhs = Buffer.alloc(pdu.bhsBytes);
		bhs[0] = opcode;
		bhs[1] = flags;
		for (const [offset, value] of Object.entries(words)) bhs.writeUInt32BE(value, Number(offset));
		if (pdu.carriesCmdSN(opcode & 0x3f) && words[24] === undefined) {
			pdu.BHS.cmdSN.set(bhs, 0, this.cmdSN);
			if ((opcode & pdu.immediateBit) === 0) this.cmdSN++;
		}
		return this.pdu(bhs, data);
	}

	/** Task management, immediate as initiators send it. */
	manage(code: number, tag: number, options: { lun?: number; referenced?: number; refCmdSN?: number } = {}): Buffer {
		const words = { 16: tag, 20: options.referenced ?? pdu.noTag, 32: options.refCmdSN ?? 0, 8: (options.lun ?? 0) << 16 };
		return this.request(pdu.opcode.taskManagementRequest | pdu.immediateBit, 0x80 | code, words);
	}

	#feed(): void {
		if (this.connection.closed || this.#rest.length === 0) return;
		const buffer = this.#rest;
		this.#rest = Buffer.alloc(0);
		this.transmitter.hold();
		const stopped = this.connection.receive(buffer, 0, buffer.length);
		this.transmitter.letGo();
		this.#rest = Buffer.concat([buffer.subarray(stopped), this.#rest]);
		buffer.fill(0xee, 0, stopped);
	}
}

export interface CommandOptions {
	/** Hexadecimal. */
	cdb: string;
	tag: number;
	/** Expected data transfer length, in the direction that is named. */
	read?: number;
	write?: number;
	data?: Uint8Array;
	final?: boolean;
	immediate?: boolean;
	cmdSN?: number;
	lun?: number;
}

export const generous: Keys = {
	InitialR2T: 'No',
	ImmediateData: 'Yes',
	MaxRecvDataSegmentLength: '262144',
	MaxBurstLength: '16776192',
	FirstBurstLength: '262144',
	MaxOutstandingR2T: '1',
};

export function loginRequest(options: {
	isid?: string;
	tsih?: number;
	cid?: number;
	cmdSN?: number;
	tag?: number;
	currentStage?: number;
	nextStage?: number;
	transit?: boolean;
	more?: boolean;
	versionMin?: number;
}): Buffer {
	const bhs = Buffer.alloc(pdu.bhsBytes);
	bhs[0] = pdu.opcode.loginRequest | pdu.immediateBit;
	const { LoginRequest } = pdu;
	LoginRequest.nextStage.set(bhs, 0, options.nextStage ?? 3);
	LoginRequest.currentStage.set(bhs, 0, options.currentStage ?? 1);
	LoginRequest.continue.set(bhs, 0, options.more === true ? 1 : 0);
	LoginRequest.transit.set(bhs, 0, options.transit === false ? 0 : 1);
	LoginRequest.versionMin.set(bhs, 0, options.versionMin ?? 0);
	LoginRequest.isid.set(bhs, 0, Buffer.from(options.isid ?? '00023d000001', 'hex'));
	LoginRequest.tsih.set(bhs, 0, options.tsih ?? 0);
	LoginRequest.cid.set(bhs, 0, options.cid ?? 0);
	LoginRequest.initiatorTaskTag.set(bhs, 0, options.tag ?? 0);
	LoginRequest.cmdSN.set(bhs, 0, options.cmdSN ?? 1);
	return bhs;
}

export function text(keys: Keys): Buffer {
	return Buffer.from(
		Object.entries(keys)
			.map(([key, value]) => `${key}=${value}\0`)
			.join(''),
	);
}

export function keysOf(data: Buffer): Keys {
	return Object.fromEntries(
		data
			.toString()
			.split('\0')
			.filter((pair) => pair !== '')
			.map((pair) => pair.split(/=(.*)/s, 2) as [string, string]),
	);
}

/** Everything that waits in microtasks, and what follows from it. */
export function settled(): Promise<void> {
	return new Promise((resolve) => {
		setImmediate(resolve);
	});
}

export function statusOf(answer: Answer): string {
	if (answer.opcode !== pdu.opcode.scsiResponse) return answer.opcode.toString(16);
	if (answer.bhs[3] !== 2) return answer.bhs[3]!.toString(16).padStart(2, '0');
	return `02 ${answer.data[4]!.toString(16)}/${answer.data.toString('hex', 14, 16)}`;
}

export function residualOf(answer: Answer): string {
	const flags = answer.bhs[1]!;
	const count = pdu.SCSIResponse.residualCount.get(answer.bhs, 0);
	return (flags & 4) !== 0 ? `O ${count}` : (flags & 2) !== 0 ? `U ${count}` : count === 0 ? 'none' : `? ${count}`;
}

/** CDBs in hexadecimal. */
export function read10(lba: number, blocks: number): string {
	return `2800${hex(lba, 8)}00${hex(blocks, 4)}00`;
}

export function write10(lba: number, blocks: number, fua = false): string {
	return `2a${fua ? '08' : '00'}${hex(lba, 8)}00${hex(blocks, 4)}00`;
}

/** Bytes that tell their place and their seed. */
export function pattern(length: number, seed: number): Buffer {
	const data = Buffer.alloc(length);
	for (let at = 0; at < length; at++) data[at] = (at * 31 + (at >> 9) * 7 + seed * 101) & 0xff;
	return data;
}

function hex(value: number, digits: number): string {
	return value.toString(16).padStart(digits, '0');
}

function littleEndian(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32LE(value);
	return bytes;
}
