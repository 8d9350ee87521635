import type { Completion, Outcome } from '../blockvol/block-device.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import type { Command } from './command.ts';
import type { Connection } from './connection.ts';

/** A piece of a command's data that one R2T asks for, on its way from the host to the device, with the memory that it holds. Pooled. */
export class Chunk implements Completion {
	connection: Connection | undefined;
	/** undefined: the command is over, and the data that the R2T asked for goes nowhere. */
	command: Command | undefined;
	commandIdentifier = 0;
	ttag = 0;
	/** Offsets in the command's data. `next`: where the next H2CData has to begin. */
	start = 0;
	next = 0;
	end = 0;
	/** What it holds of the connection's share. */
	grantedBytes = 0;
	/** Of the pool, taken when the first bytes must be kept. */
	buffer: Buffer | undefined;
	/** The device has its data. */
	handed = false;
	/** Ticks of the clock since its R2T was sent. */
	seconds = 0;

	complete(outcome: Outcome): void {
		this.command!.chunkWritten(this, outcome);
	}

	/** Gives back what it holds. The device has nothing of it. */
	drop(): void {
		if (this.buffer !== undefined) bufferPool.release(this.buffer);
		this.buffer = undefined;
		const bytes = this.grantedBytes;
		this.grantedBytes = 0;
		if (bytes > 0) this.connection!.solicited.give(bytes);
	}
}

const pool: Chunk[] = [];
const pooledChunksMax = 1024;

export function acquireChunk(command: Command, start: number, end: number, grantedBytes: number): Chunk {
	const chunk = pool.pop() ?? new Chunk();
	chunk.connection = command.connection;
	chunk.command = command;
	chunk.commandIdentifier = command.commandIdentifier;
	chunk.start = start;
	chunk.next = start;
	chunk.end = end;
	chunk.grantedBytes = grantedBytes;
	return chunk;
}

/** It holds nothing, and no R2T of it is open. */
export function releaseChunk(chunk: Chunk): void {
	chunk.connection = undefined;
	chunk.command = undefined;
	chunk.handed = false;
	chunk.seconds = 0;
	if (pool.length < pooledChunksMax) pool.push(chunk);
}
