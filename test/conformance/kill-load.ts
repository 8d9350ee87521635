import * as cdbs from '../initiator/cdb.ts';
import { connectionLost, scsiStatus, type Command, type CommandOwner } from '../initiator/command.ts';
import { senseCodes } from '../initiator/disk.ts';
import type { Session } from '../initiator/session.ts';
import { blockBytes, type BlockModel, type ModelWrite } from './block-model.ts';
import type { Random } from './random.ts';

/** What a round's writes look like. */
export type Profile = 'small' | 'mixed' | 'large';

const inFlightBytesMax = 192 * 1024 * 1024;
const readBlocksMax = 128;
const pieceBytes = 1024 * 1024;

/** Data buffers by power of two, used again. */
class BufferPool {
	readonly #free = new Map<number, Buffer[]>();

	take(lengthBytes: number): Buffer {
		const size = 1 << (32 - Math.clz32(Math.max(lengthBytes, blockBytes) - 1));
		return this.#free.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
	}

	give(buffer: Buffer): void {
		const list = this.#free.get(buffer.length);
		if (list === undefined) this.#free.set(buffer.length, [buffer]);
		else list.push(buffer);
	}
}

const buffers = new BufferPool();

function wordsOf(buffer: Buffer, lengthBytes: number): Uint32Array {
	return new Uint32Array(buffer.buffer, buffer.byteOffset, lengthBytes / 4);
}

interface Operation {
	write: ModelWrite | undefined;
	buffer: Buffer | undefined;
	lba: number;
	lengthBytes: number;
	floor: Uint32Array | undefined;
}

export interface LoadCounts {
	writes: number;
	writtenBytes: number;
	trims: number;
	flushes: number;
	reads: number;
	/** Commands whose answer never came. */
	lost: number;
}

export function addCounts(sum: LoadCounts, counts: LoadCounts): void {
	sum.writes += counts.writes;
	sum.writtenBytes += counts.writtenBytes;
	sum.trims += counts.trims;
	sum.flushes += counts.flushes;
	sum.reads += counts.reads;
	sum.lost += counts.lost;
}

/**
 * Keeps a queue of random commands full and tells the model of each submission and answer: writes of 512 B to 16 MiB (one in ten with FUA), UNMAP and
 * WRITE SAME, flushes, and reads that are judged at once.
 */
export class KillLoad implements CommandOwner {
	readonly counts: LoadCounts = { writes: 0, writtenBytes: 0, trims: 0, flushes: 0, reads: 0, lost: 0 };
	/** What was wrong, in words; the round is lost then. */
	failure: string | undefined = undefined;
	readonly #session: Session;
	readonly #lun: number;
	readonly #model: BlockModel;
	readonly #random: Random;
	readonly #profile: Profile;
	readonly #depth: number;
	readonly #operations: (Operation | undefined)[] = [];
	#outstanding = 0;
	#inFlightBytes = 0;
	#isStopped = false;
	readonly #whenIdle: (() => void)[] = [];
	readonly #hotLBA: number;

	constructor(session: Session, lun: number, model: BlockModel, random: Random, profile: Profile, depth: number) {
		this.#session = session;
		this.#lun = lun;
		this.#model = model;
		this.#random = random;
		this.#profile = profile;
		this.#depth = depth;
		this.#hotLBA = random.between(0, Math.floor(model.blocks / 2));
	}

	fill(): void {
		while (!this.#isStopped && this.#outstanding < this.#depth && this.#inFlightBytes < inFlightBytesMax) this.#submitOne();
	}

	/** Submits no more; resolves when every command was answered or lost. */
	async idle(): Promise<void> {
		this.#isStopped = true;
		if (this.#outstanding === 0) return;
		await new Promise<void>((resolve) => {
			this.#whenIdle.push(resolve);
		});
	}

	/** A lie, to prove that the verification notices: takes every write in flight for answered. */
	answerEverything(): void {
		for (const operation of this.#operations)
			if (operation?.write !== undefined && operation.write.answered === 0) this.#model.answer(operation.write);
	}

	finished(command: Command): void {
		const operation = this.#operations[command.index]!;
		this.#operations[command.index] = undefined;
		this.#outstanding--;
		this.#inFlightBytes -= operation.lengthBytes;
		if (command.status === scsiStatus.good) this.#answered(operation);
		else if (command.status === connectionLost) this.counts.lost++;
		else this.#fail(command, operation);
		if (operation.buffer !== undefined) buffers.give(operation.buffer);
		if (this.#session.ended !== undefined) this.#isStopped = true;
		if (this.#isStopped && this.#outstanding === 0) for (const resolve of this.#whenIdle) resolve();
		this.fill();
	}

	#answered({ write, buffer, lba, lengthBytes, floor }: Operation): void {
		if (write !== undefined) {
			if (write.answered === 0) this.#model.answer(write);
		} else if (buffer !== undefined) {
			const mismatch = this.#model.check(lba, wordsOf(buffer, lengthBytes), floor);
			if (mismatch !== undefined) this.failure ??= `a read under load, LBA ${mismatch.lba}: ${mismatch.words}`;
		}
	}

	#fail(command: Command, operation: Operation): void {
		const { key, code, qualifier } = senseCodes(command.sense);
		const sense = `${key.toString(16)}/${code.toString(16)}/${qualifier.toString(16)}`;
		this.failure ??= `CDB ${Buffer.from(command.cdb).toString('hex')} at LBA ${operation.lba}: status ${command.status}, sense ${sense}`;
		this.#isStopped = true;
	}

	#submitOne(): void {
		const command = this.#session.take();
		if (command === undefined) return;
		command.lun = this.#lun;
		command.owner = this;
		const random = this.#random;
		const choice = random.unit();
		if (choice < 0.78) this.#write(command);
		else if (choice < 0.86) this.#trim(command);
		else if (choice < 0.9) this.#flush(command);
		else this.#read(command);
	}

	#submit(command: Command, operation: Operation): void {
		this.#operations[command.index] = operation;
		this.#outstanding++;
		this.#inFlightBytes += operation.lengthBytes;
		this.#session.submit(command);
	}

	#write(command: Command): void {
		const blocks = this.#sizeBlocks();
		const lba = this.#placeFor(blocks);
		const lengthBytes = blocks * blockBytes;
		const write = this.#model.submit('write', lba, blocks);
		const buffer = buffers.take(lengthBytes);
		this.#model.stamp(write, wordsOf(buffer, lengthBytes));
		command.dataOut = buffer;
		command.dataOutBytes = lengthBytes;
		const fua = this.#random.chance(0.1);
		if (blocks <= 0xffff && this.#random.chance(0.5)) cdbs.write10(command.cdb, lba, blocks, fua);
		else cdbs.write16(command.cdb, lba, blocks, fua);
		this.counts.writes++;
		this.counts.writtenBytes += lengthBytes;
		this.#submit(command, { write, buffer, lba, lengthBytes, floor: undefined });
	}

	#trim(command: Command): void {
		const blocks = this.#random.logarithmic(1, 16_384);
		const lba = this.#placeFor(blocks);
		const write = this.#model.submit('zero', lba, blocks);
		let dataOut: Buffer | undefined = undefined;
		if (this.#random.chance(0.6)) {
			dataOut = cdbs.unmapParameters([{ lba, blocks }]);
			cdbs.unmap(command.cdb, dataOut.length);
		} else {
			dataOut = Buffer.alloc(blockBytes);
			cdbs.writeSame16(command.cdb, lba, blocks, { unmap: this.#random.chance(0.5) });
		}
		command.dataOut = dataOut;
		command.dataOutBytes = dataOut.length;
		this.counts.trims++;
		this.#submit(command, { write, buffer: undefined, lba, lengthBytes: 0, floor: undefined });
	}

	#flush(command: Command): void {
		cdbs.synchronizeCache10(command.cdb);
		this.counts.flushes++;
		this.#submit(command, { write: undefined, buffer: undefined, lba: 0, lengthBytes: 0, floor: undefined });
	}

	#read(command: Command): void {
		const blocks = this.#random.logarithmic(1, readBlocksMax);
		const lba = this.#placeFor(blocks);
		const buffer = buffers.take(blocks * blockBytes);
		command.dataIn = buffer;
		command.dataInBytes = blocks * blockBytes;
		cdbs.read16(command.cdb, lba, blocks);
		this.counts.reads++;
		this.#submit(command, { write: undefined, buffer, lba, lengthBytes: blocks * blockBytes, floor: this.#model.snapshot(lba, blocks) });
	}

	#sizeBlocks(): number {
		const random = this.#random;
		const choice = random.unit();
		if (this.#profile === 'small') return choice < 0.5 ? random.logarithmic(1, 128) : 8 * random.logarithmic(1, 16);
		if (this.#profile === 'large') return random.logarithmic(128, 32_768);
		if (choice < 0.45) return random.logarithmic(1, 128);
		if (choice < 0.7) return 8 * random.logarithmic(1, 64);
		return choice < 0.9 ? random.logarithmic(128, 4096) : random.logarithmic(4096, 32_768);
	}

	/** Half of everything goes to one small region, so that commands overlap; half of the places are page-aligned. */
	#placeFor(blocks: number): number {
		const random = this.#random;
		const last = this.#model.blocks - blocks;
		const lba = random.chance(0.5) ? Math.min(last, this.#hotLBA + random.between(0, 4096)) : random.between(0, last);
		return random.chance(0.5) ? lba - (lba % 8) : lba;
	}
}

/** Reads the whole volume and judges each block; what is right is settled. Resolves to what was wrong, in words. */
export async function verifyVolume(session: Session, lun: number, model: BlockModel): Promise<string | undefined> {
	return await new Promise((resolve) => {
		const totalBytes = model.blocks * blockBytes;
		let nextBytes = 0;
		let outstanding = 0;
		const failures: string[] = [];
		const owner: CommandOwner = {
			finished(command) {
				outstanding--;
				const lba = command.a;
				const buffer = command.dataIn!;
				if (command.status !== scsiStatus.good) {
					const { key, code, qualifier } = senseCodes(command.sense);
					const sense = `${key.toString(16)}/${code.toString(16)}/${qualifier.toString(16)}`;
					const information = command.sense.length >= 7 ? `, information ${command.sense.toString('hex', 3, 7)}h` : '';
					failures.push(
						`reading ${command.dataInBytes / blockBytes} blocks from LBA ${lba}: status ${command.status}, sense ${sense}${information}`,
					);
				} else {
					const words = wordsOf(buffer, command.dataInBytes);
					const mismatch = model.check(lba, words);
					if (mismatch !== undefined) failures.push(`LBA ${mismatch.lba}: ${mismatch.words}`);
					else model.settle(lba, words);
				}
				buffers.give(buffer);
				submit();
				if (outstanding === 0) resolve(failures[0]);
			},
		};
		const submit = (): void => {
			while (outstanding < 8 && nextBytes < totalBytes && failures.length === 0) {
				const command = session.take()!;
				const lengthBytes = Math.min(pieceBytes, totalBytes - nextBytes);
				command.lun = lun;
				command.owner = owner;
				command.a = nextBytes / blockBytes;
				command.dataIn = buffers.take(lengthBytes);
				command.dataInBytes = lengthBytes;
				cdbs.read16(command.cdb, command.a, lengthBytes / blockBytes);
				nextBytes += lengthBytes;
				outstanding++;
				session.submit(command);
			}
		};
		submit();
	});
}
