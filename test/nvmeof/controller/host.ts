import { Registrant } from '../../../src/reservation/registrant.ts';
import { writeBytesMax } from '../../../src/blockvol/block-device.ts';
import type { Outcome } from '../../../src/blockvol/block-device.ts';
import type { AuthSecrets } from '../../../src/nvmeof/auth-exchange.ts';
import { NvmeFabric } from '../../../src/nvmeof/fabric.ts';
import type { NvmController } from '../../../src/nvmeof/nvm-controller.ts';
import type { Portal, SubsystemRegistry } from '../../../src/nvmeof/registry.ts';
import { type NextStep, type QueueLink, type QueueLogic, Request } from '../../../src/nvmeof/request.ts';
import { Subsystem } from '../../../src/nvmeof/subsystem.ts';
import { type Logger, silent } from '../../../src/os/logger.ts';
import { MemoryDevice } from '../../scsi/memory-device.ts';
import type { MemoryDeviceOptions } from '../../scsi/memory-device.ts';
import type { NamespaceOptions } from '../../../src/nvmeof/namespace.ts';

export const subsystemNQN = 'nqn.2026-11.test:one';
export const discoveryNQN = 'nqn.2014-08.org.nvmexpress.discovery';
export const hostNQN = 'nqn.2026-11.test:host';
export const hostID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

/** Bytes of a submission queue entry, by offset; flags say SGL. */
export interface SqeFields {
	opcode: number;
	flags?: number;
	cid?: number;
	nsid?: number;
	cdw10?: number;
	cdw11?: number;
	cdw12?: number;
	cdw13?: number;
	cdw14?: number;
	cdw15?: number;
}

export function sqe(fields: SqeFields): Buffer {
	const entry = Buffer.alloc(64);
	entry[0] = fields.opcode;
	entry[1] = fields.flags ?? 0x40;
	entry.writeUInt16LE(fields.cid ?? 0, 2);
	entry.writeUInt32LE((fields.nsid ?? 0) >>> 0, 4);
	for (const [index, value] of [fields.cdw10, fields.cdw11, fields.cdw12, fields.cdw13, fields.cdw14, fields.cdw15].entries()) {
		entry.writeUInt32LE((value ?? 0) >>> 0, 40 + 4 * index);
	}
	return entry;
}

/** A command with its range: Read 02h, Write 01h, Compare 05h, Write Zeroes 08h, Verify 0Ch. `bits` are those of dword 12 above NLB. */
export function ranged(
	opcode: number,
	slba: number | bigint,
	blocks: number,
	options: { nsid?: number; flags?: number; bits?: number; cid?: number } = {},
): Buffer {
	const entry = sqe({
		opcode,
		nsid: options.nsid ?? 1,
		flags: options.flags ?? 0x40,
		cid: options.cid ?? 0,
		cdw12: ((blocks - 1) | (options.bits ?? 0)) >>> 0,
	});
	entry.writeBigUInt64LE(BigInt(slba), 40);
	return entry;
}

export interface ConnectFields {
	recfmt?: number;
	qid?: number;
	sqsize?: number;
	cattr?: number;
	kato?: number;
	flags?: number;
}

export function connectSqe(fields: ConnectFields = {}): Buffer {
	const entry = Buffer.alloc(64);
	entry[0] = 0x7f;
	entry[1] = fields.flags ?? 0x40;
	entry[4] = 0x01;
	entry.writeUInt16LE(fields.recfmt ?? 0, 40);
	entry.writeUInt16LE(fields.qid ?? 0, 42);
	entry.writeUInt16LE(fields.sqsize ?? 31, 44);
	entry[46] = fields.cattr ?? 0;
	entry.writeUInt32LE(fields.kato ?? ((fields.qid ?? 0) === 0 ? 5000 : 0), 48);
	return entry;
}

export interface ConnectDataFields {
	hostid?: Buffer;
	cntlid?: number;
	subnqn?: string | Buffer;
	hostnqn?: string | Buffer;
}

export function connectData(fields: ConnectDataFields = {}): Buffer {
	const data = Buffer.alloc(1024);
	(fields.hostid ?? hostID).copy(data, 0);
	data.writeUInt16LE(fields.cntlid ?? 0xffff, 16);
	Buffer.from(fields.subnqn ?? subsystemNQN).copy(data, 256, 0, 256);
	Buffer.from(fields.hostnqn ?? hostNQN).copy(data, 512, 0, 256);
	return data;
}

export function propertyGet(offset: number, size: number, flags = 0x40): Buffer {
	const entry = Buffer.alloc(64);
	entry[0] = 0x7f;
	entry[1] = flags;
	entry[4] = 0x04;
	entry[40] = size;
	entry.writeUInt32LE(offset, 44);
	return entry;
}

export function propertySet(offset: number, value: number | bigint, size = 0): Buffer {
	const entry = propertyGet(offset, size);
	entry[4] = 0x00;
	entry.writeBigUInt64LE(BigInt(value), 48);
	return entry;
}

/** CC: enabled, with the entry sizes that the standard has. */
export const enabled = 0x0046_0001;

export function fabricsSqe(fctype: number): Buffer {
	const entry = Buffer.alloc(64);
	entry[0] = 0x7f;
	entry[1] = 0x40;
	entry[4] = fctype;
	return entry;
}

export interface Answer {
	status: number;
	dnr: boolean;
	result0: number;
	result1: number;
	data: Buffer;
}

/** A command that is on its way. */
export class Started {
	readonly request = new Request();
	step: NextStep = 'pending';
	/** The request was finished by the logic after it had been pending. */
	finished = false;
	/** It needs no more; the transport has completed it. */
	completed = false;
	readonly done: Promise<void>;
	resolve!: () => void;
	ended: ((aborted: boolean) => void) | undefined;
	dataIn: Buffer = Buffer.alloc(0);

	constructor() {
		this.done = new Promise((resolve) => {
			this.resolve = resolve;
		});
	}
}

/** One queue as a host sees it through a transport: does the data of reads and writes, and what the interface says of aborts. */
export class TestQueue implements QueueLink {
	readonly logic: QueueLogic;
	readonly remote = '192.0.2.7:50000';
	readonly localAddress: string;
	readonly localPort = 4420;
	readonly outstanding = new Set<Started>();
	/** Why the logic wanted the connection closed. */
	readonly closings: string[] = [];
	isClosed = false;

	constructor(fabric: NvmeFabric, localAddress = '192.0.2.1') {
		this.localAddress = localAddress;
		this.logic = fabric.open(this);
	}

	end(reason: string): void {
		this.closings.push(reason);
		this.close();
	}

	destroy(reason: string): void {
		this.closings.push(reason);
		this.close();
	}

	/** The connection goes. */
	close(): void {
		if (this.isClosed) return;
		this.isClosed = true;
		this.logic.closed();
		for (const one of this.outstanding) {
			if (one.step !== 'pending' || one.request.awaitsEvent) this.#complete(one);
		}
	}

	abort(select: (request: Request) => boolean, ended: (aborted: boolean) => void): number {
		let count = 0;
		for (const one of this.outstanding) {
			if (!select(one.request)) continue;
			count++;
			one.ended = ended;
			one.request.aborted = true;
			// Still waiting for its data: nobody works on it.
			if (one.step === 'parameters') {
				one.request.end(0x007);
				one.step = 'finished';
				this.logic.ended(one.request);
				this.#complete(one);
			}
		}
		return count;
	}

	/** Gives a command to the logic; of one that wants data nothing more, before supply(). */
	begin(entry: Buffer): Started {
		const one = new Started();
		entry.copy(one.request.sqe);
		one.request.owner = {
			requestFinished: (request) => {
				if (request !== one.request || one.finished) throw new Error('finished twice, or another one');
				one.finished = true;
				if (one.step !== 'pending') throw new Error(`finished while ${one.step}`);
				this.#complete(one);
			},
		};
		this.outstanding.add(one);
		// Until start() returns it is nobody's pending request.
		one.step = 'finished';
		const step = this.logic.start(one.request);
		one.step = step;
		if (step === 'finished') this.#complete(one);
		return one;
	}

	supply(one: Started, data: Buffer): void {
		if (one.step !== 'parameters') throw new Error(`no data is wanted: ${one.step}`);
		const whole = Buffer.alloc(one.request.lengthBytes);
		data.copy(whole);
		one.step = this.logic.parameters(one.request, whole);
		if (one.step === 'finished') this.#complete(one);
	}

	async run(entry: Buffer, data: Buffer = Buffer.alloc(0)): Promise<Answer> {
		return this.finish(this.begin(entry), data);
	}

	async finish(one: Started, data: Buffer = Buffer.alloc(0)): Promise<Answer> {
		if (one.step === 'parameters') this.supply(one, data);
		if (one.step === 'read' || one.step === 'write') {
			const outcome = await this.#transfer(one, data);
			if (outcome !== 'good') this.logic.fail(one.request, outcome);
			this.#complete(one);
		}
		await one.done;
		return answerOf(one);
	}

	async #transfer(one: Started, data: Buffer): Promise<Outcome> {
		const { request } = one;
		const whole = Buffer.alloc(request.lengthBytes);
		if (one.step === 'write') data.copy(whole);
		for (let at = 0; at < whole.length; at += writeBytesMax) {
			const piece = whole.subarray(at, at + writeBytesMax);
			const { promise, resolve } = Promise.withResolvers<Outcome>();
			if (one.step === 'read') request.device!.read(request.offsetBytes + at, piece, { complete: resolve });
			else request.device!.write(request.offsetBytes + at, piece, request.fua, { complete: resolve });
			const outcome = await promise;
			if (outcome !== 'good') return outcome;
		}
		if (one.step === 'read') one.dataIn = whole;
		return 'good';
	}

	#complete(one: Started): void {
		if (one.completed) throw new Error('completed twice');
		one.completed = true;
		this.outstanding.delete(one);
		one.resolve();
		one.ended?.(one.request.status === 0x007);
	}
}

export function answerOf({ request, dataIn, completed }: Started): Answer {
	if (!completed) throw new Error('still outstanding');
	return {
		status: request.status,
		dnr: request.dnr,
		result0: request.result0 >>> 0,
		result1: request.result1 >>> 0,
		data: request.dataToHost ?? dataIn,
	};
}

export class TestRegistry implements SubsystemRegistry {
	readonly subsystems: Subsystem[] = [];
	readonly #listeners = new Set<() => void>();

	find(nqn: string): Subsystem | undefined {
		return this.subsystems.find((one) => one.nqn === nqn);
	}

	all(): readonly Subsystem[] {
		return this.subsystems;
	}

	onChange(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	changed(): void {
		for (const listener of this.#listeners) listener();
	}
}

export interface SetUpOptions extends MemoryDeviceOptions, NamespaceOptions {
	log?: Logger;
	admits?: (nqn: string) => boolean;
	secretFor?: (nqn: string) => AuthSecrets | undefined;
	portals?: readonly Portal[];
}

/** A fabric with one subsystem, whose namespace 1 is a volume in memory. */
export function setUp(options: SetUpOptions = {}) {
	const registry = new TestRegistry();
	const clock = { nowMs: 1_000_000 };
	const portals: Portal[] = [...(options.portals ?? [{ host: '192.0.2.1', port: 4420 }])];
	const fabric = new NvmeFabric({ registry, log: options.log ?? silent, now: () => clock.nowMs, portals: () => portals });
	const subsystem = new Subsystem({
		nqn: subsystemNQN,
		uuid: '5c2a6b1e-9a40-4d53-8f0e-0d5c1b7a9e01',
		admits: options.admits ?? (() => true),
		secretFor: options.secretFor ?? (() => undefined),
	});
	registry.subsystems.push(subsystem);
	const device = new MemoryDevice(options);
	subsystem.addNamespace(1, device, options);
	const tick = (ms: number): void => {
		for (let at = 0; at < ms; at += 1000) {
			clock.nowMs += Math.min(1000, ms - at);
			fabric.tick();
		}
	};
	return { registry, fabric, subsystem, device, clock, portals, tick };
}

export interface ControllerOptions extends ConnectDataFields {
	kato?: number;
	localAddress?: string;
}

/** Connects an admin queue, and enables the controller. */
export async function connectAdmin(fabric: NvmeFabric, options: ControllerOptions = {}) {
	const admin = new TestQueue(fabric, options.localAddress);
	const answer = await admin.run(connectSqe(options.kato === undefined ? {} : { kato: options.kato }), connectData(options));
	if (answer.status !== 0) throw new Error(`Connect: ${answer.status.toString(16)}`);
	const set = await admin.run(propertySet(0x14, enabled));
	if (set.status !== 0) throw new Error(`CC: ${set.status.toString(16)}`);
	return { admin, cntlid: answer.result0 & 0xffff };
}

export async function connectIO(
	fabric: NvmeFabric,
	cntlid: number,
	options: ConnectDataFields & { qid?: number; sqsize?: number } = {},
): Promise<TestQueue> {
	const io = new TestQueue(fabric);
	const answer = await io.run(connectSqe({ qid: options.qid ?? 1, sqsize: options.sqsize ?? 127 }), connectData({ ...options, cntlid }));
	if (answer.status !== 0) throw new Error(`Connect of an I/O queue: ${answer.status.toString(16)}`);
	return io;
}

/** A host with one I/O queue on the subsystem of setUp(). */
export async function attach(options: SetUpOptions = {}) {
	const parts = setUp(options);
	const { admin, cntlid } = await connectAdmin(parts.fabric);
	const io = await connectIO(parts.fabric, cntlid);
	const controller: NvmController = parts.subsystem.controllers.get(cntlid)!;
	return { ...parts, admin, io, cntlid, controller };
}

/** Another host on the same subsystem. */
export async function attachOther(fabric: NvmeFabric, digit: string, subnqn = subsystemNQN) {
	const options = { hostid: Buffer.alloc(16, Number.parseInt(digit, 16) * 0x11), hostnqn: `nqn.2026-11.test:host-${digit}`, subnqn };
	const { admin, cntlid } = await connectAdmin(fabric, options);
	const io = await connectIO(fabric, cntlid, options);
	return { admin, io, cntlid, registrant: new Registrant('nvme', options.hostid.toString('hex')) };
}

/** Lets completions that are due run. */
export async function settled(): Promise<void> {
	await new Promise((resolve) => {
		setImmediate(resolve);
	});
}
