import { randomBytes } from 'node:crypto';
import type { Command, CommandOwner } from './command.ts';
import * as commands from './commands.ts';
import { HostError } from './host-error.ts';
import { Queue, type QueueOptions, type Result } from './queue.ts';
import { u16, u32 } from './wire.ts';

export const discoveryNQN = 'nqn.2014-08.org.nvmexpress.discovery';
export const defaultHostNQN = 'nqn.2014-08.org.nvmexpress:uuid:6f4a2c1e-9b3d-4e57-8a10-5d2c7e9f0b63';

export interface AssociationOptions extends QueueOptions {
	subnqn: string;
	hostnqn?: string;
	/** 16 bytes; a random one by default. */
	hostid?: Uint8Array;
	/** I/O queues, all connected at once; 1 by default, 0 for a discovery controller. */
	ioQueues?: number;
	/** Entries of each I/O queue. */
	depth?: number;
	/** Keep Alive Timeout; 0 for none. Keep alives go out by themselves only with `keepsAlive`. */
	katoMs?: number;
	keepsAlive?: boolean;
	/** CATTR: ask for no submission queue flow control, as Linux does. True by default. */
	disableFlowControl?: boolean;
	/** Runs on each queue whose Connect demands authentication (AUTHREQ). */
	authenticate?: (queue: Queue) => Promise<void>;
	/** Stops after the Connect of the admin queue: no enabling, no Identify, no I/O queues. */
	connectOnly?: boolean;
}

/** Log page 70h, one entry (1,024 bytes). */
export interface DiscoveryEntry {
	trtype: number;
	adrfam: number;
	subtype: number;
	treq: number;
	portid: number;
	cntlid: number;
	asqsz: number;
	trsvcid: string;
	subnqn: string;
	traddr: string;
}

/** Completion of an Asynchronous Event Request. */
export interface AsynchronousEvent {
	type: number;
	information: number;
	lid: number;
}

const adminEntries = 32;
/** Outstanding on the admin queue beside Asynchronous Event Requests. */
const adminCommandsMax = 31;
const numberOfQueues = 0x07;
const katoUnitMs = 500;

/**
 * A host and one controller: the admin queue, the I/O queues, and what has to be said before they work.
 *
 *     Connect (admin) → CC.EN → CSTS.RDY → Identify → Number of Queues → Connect (I/O) …
 */
export class Association {
	readonly options: AssociationOptions;
	readonly hostid: Uint8Array;
	readonly admin: Queue;
	readonly io: Queue[] = [];
	cntlid = 0xffff;
	/** Result of the admin queue's Connect. */
	connectResult = 0;
	/** Controller Capabilities, once enabled. */
	cap = 0n;
	/** The Identify Controller data, once enabled. */
	identity: Buffer = Buffer.alloc(0);
	readonly #events: AsynchronousEvent[] = [];
	readonly #eventWaiters: ((event: AsynchronousEvent) => void)[] = [];
	#keepAlive: NodeJS.Timeout | undefined = undefined;

	/** Rejects with HostError. */
	static async open(options: AssociationOptions): Promise<Association> {
		const admin = await Queue.open({ ...options, commandsMax: adminCommandsMax });
		const association = new Association(options, admin);
		try {
			await association.#start();
		} catch (error) {
			association.destroy();
			throw error;
		}
		return association;
	}

	private constructor(options: AssociationOptions, admin: Queue) {
		this.options = options;
		this.admin = admin;
		this.hostid = options.hostid ?? randomBytes(16);
	}

	/** Connect on a queue, every field as the caller wants it; the others as an orderly host has them. Nothing is concluded from the result. */
	async connect(queue: Queue, fields: Partial<commands.ConnectFields & commands.ConnectData> = {}): Promise<Result> {
		const { options } = this;
		const isAdmin = (fields.qid ?? 0) === 0;
		const command = {
			recfmt: 0,
			qid: 0,
			sqsize: (isAdmin ? adminEntries : (options.depth ?? 128)) - 1,
			cattr: (options.disableFlowControl ?? true) ? commands.cattrDisableFlowControl : 0,
			kato: isAdmin ? (options.katoMs ?? 0) : 0,
			...fields,
		};
		const dataOut = commands.connectData({
			hostid: this.hostid,
			cntlid: this.cntlid,
			subnqn: options.subnqn,
			hostnqn: options.hostnqn ?? defaultHostNQN,
			...fields,
		});
		return await queue.execute((sqe) => commands.connect(sqe, command), { dataOut });
	}

	/** Opens and connects one more I/O queue. */
	async addQueue(qid: number, fields: Partial<commands.ConnectFields & commands.ConnectData> = {}): Promise<Queue> {
		const entries = this.options.depth ?? 128;
		const queue = await Queue.open({ ...this.options, commandsMax: this.options.commandsMax ?? entries });
		const { status, result0 } = await this.connect(queue, { qid, ...fields });
		if (status !== 0) {
			queue.destroy();
			throw new HostError(`Connect of queue ${qid} was refused with status ${status.toString(16)}h, ${result0.toString(16)}h`);
		}
		await this.#connected(queue, result0);
		// IOCCSZ counts 16-byte units and the SQE is in it.
		if (this.identity.length > 0) queue.inCapsuleBytesMax = u32(this.identity, 1792) * 16 - 64;
		this.io.push(queue);
		return queue;
	}

	async propertyGet(offset: number, wide = false): Promise<bigint> {
		const { result0, result1 } = await this.admin.expectGood((sqe) => commands.propertyGet(sqe, offset, wide));
		return BigInt(result0) | (BigInt(result1) << 32n);
	}

	async propertySet(offset: number, value: number): Promise<void> {
		await this.admin.expectGood((sqe) => commands.propertySet(sqe, offset, value));
	}

	/** CC.EN with the entry sizes that there are, then waits for CSTS.RDY as long as CAP.TO allows. */
	async enable(): Promise<void> {
		this.cap = await this.propertyGet(commands.property.cap, true);
		// IOCQES 4, IOSQES 6, NVM command set.
		await this.propertySet(commands.property.cc, (4 << 20) | (6 << 16) | 1);
		await this.#untilStatus((csts) => (csts & 1) === 1, 'CSTS.RDY');
	}

	async identify(cns: number, options: { nsid?: number; cntid?: number; csi?: number } = {}): Promise<Buffer> {
		return (await this.admin.expectGood((sqe) => commands.identify(sqe, cns, options), { dataInBytes: 4096 })).data;
	}

	async logPage(lid: number, lengthBytes: number, options: commands.LogPageOptions = {}): Promise<Buffer> {
		return (await this.admin.expectGood((sqe) => commands.getLogPage(sqe, lid, lengthBytes, options), { dataInBytes: lengthBytes })).data;
	}

	async getFeature(fid: number, options: { nsid?: number; sel?: number; dword11?: number } = {}): Promise<number> {
		return (await this.admin.expectGood((sqe) => commands.getFeatures(sqe, fid, options))).result0;
	}

	async setFeature(fid: number, dword11: number, options: { nsid?: number } = {}): Promise<number> {
		return (await this.admin.expectGood((sqe) => commands.setFeatures(sqe, fid, dword11, options))).result0;
	}

	async keepAlive(): Promise<void> {
		await this.admin.expectGood((sqe) => commands.keepAlive(sqe));
	}

	/** True: the controller says that the command was aborted. */
	async abort(sqid: number, cid: number): Promise<boolean> {
		return ((await this.admin.expectGood((sqe) => commands.abort(sqe, sqid, cid))).result0 & 1) === 0;
	}

	/** The discovery log, read again while its generation changes under way. */
	async discover(): Promise<{ generation: bigint; entries: DiscoveryEntry[] }> {
		for (let attempt = 0; attempt < 10; attempt++) {
			const header = await this.logPage(0x70, 1024);
			const generation = header.readBigUInt64LE(0);
			const count = Number(header.readBigUInt64LE(8));
			const whole = await this.logPage(0x70, 1024 * (count + 1));
			if (whole.readBigUInt64LE(0) !== generation) continue;
			return { generation, entries: Array.from({ length: count }, (_none, index) => entryOf(whole.subarray(1024 * (index + 1)))) };
		}
		throw new HostError('the discovery log does not come to rest');
	}

	/** Keeps so many Asynchronous Event Requests outstanding from now on; their events come out of nextEvent(). */
	watchEvents(requests: number): void {
		const owner: CommandOwner = {
			finished: (command: Command) => {
				if (command.status !== 0) return;
				const event = { type: command.result0 & 7, information: (command.result0 >>> 8) & 0xff, lid: (command.result0 >>> 16) & 0xff };
				const waiter = this.#eventWaiters.shift();
				if (waiter === undefined) this.#events.push(event);
				else waiter(event);
				this.admin.submit(command);
			},
		};
		for (let index = 0; index < requests; index++) {
			const command = this.admin.take();
			if (command === undefined) throw new HostError('every command of the admin queue is in use');
			commands.asynchronousEventRequest(command.sqe);
			command.owner = owner;
			this.admin.submit(command);
		}
	}

	/** The next asynchronous event that nobody has had yet. */
	async nextEvent(): Promise<AsynchronousEvent> {
		const event = this.#events.shift();
		if (event !== undefined) return event;
		return await new Promise((resolve) => {
			this.#eventWaiters.push(resolve);
		});
	}

	get eventsWaiting(): number {
		return this.#events.length;
	}

	/** Normal shutdown (CC.SHN), waits for CSTS.SHST, then closes every connection. */
	async shutdown(): Promise<void> {
		clearInterval(this.#keepAlive);
		const cc = Number(await this.propertyGet(commands.property.cc));
		await this.propertySet(commands.property.cc, cc | (1 << 14));
		await this.#untilStatus((csts) => ((csts >>> 2) & 3) === 2, 'CSTS.SHST');
		this.destroy();
	}

	/** Cuts every connection without a word. */
	destroy(): void {
		clearInterval(this.#keepAlive);
		for (const queue of this.io) queue.destroy();
		this.admin.destroy();
	}

	async #start(): Promise<void> {
		const { options } = this;
		const { status, result0 } = await this.connect(this.admin);
		if (status !== 0) throw new HostError(`Connect was refused with status ${status.toString(16)}h, ${result0.toString(16)}h`);
		this.connectResult = result0;
		this.cntlid = result0 & 0xffff;
		await this.#connected(this.admin, result0);
		if (options.connectOnly === true) return;
		await this.enable();
		this.identity = await this.identify(0x01);
		if (options.keepsAlive === true && (options.katoMs ?? 0) > 0) {
			const send = (): void => void this.keepAlive().catch(() => clearInterval(this.#keepAlive));
			this.#keepAlive = setInterval(send, options.katoMs! / 2).unref();
		}
		const wanted = options.ioQueues ?? 1;
		if (wanted === 0) return;
		const granted = await this.setFeature(numberOfQueues, (wanted - 1) | ((wanted - 1) << 16));
		const count = Math.min((granted & 0xffff) + 1, (granted >>> 16) + 1);
		if (count < wanted) throw new HostError(`${wanted} I/O queues were asked for, ${count} granted`);
		// In order, so that io[n] has identifier n + 1.
		for (let qid = 1; qid <= wanted; qid++) await this.addQueue(qid);
	}

	async #connected(queue: Queue, result: number): Promise<void> {
		// SQHD FFFFh in the answer to Connect: the controller does without submission queue flow control.
		queue.flowControl = queue.sqhd !== 0xffff;
		// AUTHREQ: bit 17 ATR, bit 18 ASCR.
		if ((result & 0x60000) !== 0) await this.options.authenticate?.(queue);
	}

	async #untilStatus(isReached: (csts: number) => boolean, name: string): Promise<void> {
		const timeoutMs = Math.max(1, Number((this.cap >> 24n) & 0xffn)) * katoUnitMs;
		const startMs = performance.now();
		for (;;) {
			const csts = Number(await this.propertyGet(commands.property.csts));
			if (isReached(csts)) return;
			if ((csts & 2) !== 0) throw new HostError('CSTS.CFS: the controller has failed');
			if (performance.now() - startMs > timeoutMs) throw new HostError(`${name} did not come within ${timeoutMs} ms`);
		}
	}
}

function entryOf(entry: Buffer): DiscoveryEntry {
	return {
		trtype: entry[0]!,
		adrfam: entry[1]!,
		subtype: entry[2]!,
		treq: entry[3]!,
		portid: u16(entry, 4),
		cntlid: u16(entry, 6),
		asqsz: u16(entry, 8),
		trsvcid: text(entry, 32, 32),
		subnqn: text(entry, 256, 256),
		traddr: text(entry, 512, 256),
	};
}

function text(buffer: Buffer, at: number, lengthBytes: number): string {
	return buffer.toString('latin1', at, at + lengthBytes).replace(/[\0 ]+$/, '');
}
