import type { Association } from './association.ts';
import type { Command } from './command.ts';
import * as commands from './commands.ts';
import { HostError } from './host-error.ts';
import type { Queue, Result, Transfer } from './queue.ts';

const { ioOpcode } = commands;

/**
 * One namespace over all I/O queues of an association, which it uses in turn. The submit… methods cost no promise: they take a pooled command that has its owner;
 * load generators use them. The others are for tests and throw when the status is not 0.
 */
export class Namespace {
	readonly association: Association;
	readonly nsid: number;
	/** Identify Namespace. */
	readonly identity: Buffer;
	readonly blockSize: number;
	readonly blocks: number;
	readonly #queues: readonly Queue[];
	#turn = 0;

	static async attach(association: Association, nsid: number): Promise<Namespace> {
		return new Namespace(association, nsid, await association.identify(0x00, { nsid }));
	}

	private constructor(association: Association, nsid: number, identity: Buffer) {
		this.association = association;
		this.nsid = nsid;
		this.identity = identity;
		this.#queues = association.io;
		// FLBAS picks one of the LBA formats from byte 128 on; LBADS is a power of two.
		this.blockSize = 1 << identity[128 + (identity[26]! & 0x0f) * 4 + 2]!;
		this.blocks = Number(identity.readBigUInt64LE(0));
	}

	get sizeBytes(): number {
		return this.blocks * this.blockSize;
	}

	/** How many commands are outstanding on all queues. */
	get outstanding(): number {
		return this.#queues.reduce((sum, queue) => sum + queue.outstanding, 0);
	}

	/** A command of the next queue that has one; undefined when all are in use. */
	take(): Command | undefined {
		for (let tried = 0; tried < this.#queues.length; tried++) {
			const queue = this.#queues[this.#turn]!;
			this.#turn = this.#turn + 1 === this.#queues.length ? 0 : this.#turn + 1;
			const command = queue.take();
			if (command !== undefined) return command;
		}
		return undefined;
	}

	/** Reads into command.dataIn, or nowhere when that is undefined. */
	submitRead(command: Command, lba: number, blocks: number): void {
		commands.range(command.sqe, ioOpcode.read, this.nsid, lba, blocks);
		command.dataOutBytes = 0;
		command.dataInBytes = blocks * this.blockSize;
		command.queue.submit(command);
	}

	/** Writes command.dataOut from command.dataOutStart on. */
	submitWrite(command: Command, lba: number, blocks: number): void {
		commands.range(command.sqe, ioOpcode.write, this.nsid, lba, blocks);
		command.dataInBytes = 0;
		command.dataOutBytes = blocks * this.blockSize;
		command.queue.submit(command);
	}

	submitFlush(command: Command): void {
		commands.flush(command.sqe, this.nsid);
		command.dataInBytes = 0;
		command.dataOutBytes = 0;
		command.queue.submit(command);
	}

	submitZero(command: Command, lba: number, blocks: number): void {
		commands.range(command.sqe, ioOpcode.writeZeroes, this.nsid, lba, blocks, deallocated);
		command.dataInBytes = 0;
		command.dataOutBytes = 0;
		command.queue.submit(command);
	}

	async execute(fill: (sqe: Buffer) => void, transfer: Transfer = {}, queueIndex?: number): Promise<Result> {
		return await this.#queue(queueIndex).execute(fill, transfer);
	}

	async read(lba: number, blocks: number, queueIndex?: number): Promise<Buffer> {
		const fill = (sqe: Buffer): void => commands.range(sqe, ioOpcode.read, this.nsid, lba, blocks);
		return (await this.#queue(queueIndex).expectGood(fill, { dataInBytes: blocks * this.blockSize })).data;
	}

	async write(lba: number, dataOut: Buffer, options: { fua?: boolean; solicited?: boolean; queueIndex?: number } = {}): Promise<Result> {
		const { fua = false, solicited = false, queueIndex } = options;
		const fill = (sqe: Buffer): void => commands.range(sqe, ioOpcode.write, this.nsid, lba, dataOut.length / this.blockSize, { fua });
		return await this.#queue(queueIndex).expectGood(fill, { dataOut, solicited });
	}

	async flush(): Promise<void> {
		await this.#queue().expectGood((sqe) => commands.flush(sqe, this.nsid));
	}

	async zero(lba: number, blocks: number, deac = true): Promise<void> {
		await this.#queue().expectGood((sqe) => commands.range(sqe, ioOpcode.writeZeroes, this.nsid, lba, blocks, { deac }));
	}

	async deallocate(ranges: readonly { lba: number; blocks: number }[]): Promise<void> {
		const dataOut = commands.datasetRanges(ranges);
		await this.#queue().expectGood((sqe) => commands.datasetManagement(sqe, this.nsid, ranges.length), { dataOut });
	}

	async compare(lba: number, dataOut: Buffer): Promise<Result> {
		return await this.#queue().execute((sqe) => commands.range(sqe, ioOpcode.compare, this.nsid, lba, dataOut.length / this.blockSize), {
			dataOut,
		});
	}

	async verify(lba: number, blocks: number): Promise<Result> {
		return await this.#queue().execute((sqe) => commands.range(sqe, ioOpcode.verify, this.nsid, lba, blocks));
	}

	/** The fused pair; the results of Compare and of Write. */
	async compareAndWrite(lba: number, expected: Buffer, data: Buffer, queueIndex?: number): Promise<[Result, Result]> {
		const queue = this.#queue(queueIndex);
		const half = async (opcode: number, fuse: 1 | 2, dataOut: Buffer): Promise<Result> =>
			await queue.execute((sqe) => commands.range(sqe, opcode, this.nsid, lba, dataOut.length / this.blockSize, { fuse }), { dataOut });
		return await Promise.all([half(ioOpcode.compare, commands.fuse.first, expected), half(ioOpcode.write, commands.fuse.second, data)]);
	}

	#queue(index?: number): Queue {
		if (index === undefined) {
			index = this.#turn;
			this.#turn = (this.#turn + 1) % this.#queues.length;
		}
		const queue = this.#queues[index];
		if (queue === undefined) throw new HostError(`there is no I/O queue ${index + 1}`);
		return queue;
	}
}

const deallocated = { deac: true };
