import { connectionLost, type Command } from '../test/nvme-host/command.ts';
import { ioOpcode, range } from '../test/nvme-host/commands.ts';
import { Queue } from '../test/nvme-host/queue.ts';
import type { Lane, LaneOptions, LaneOwner } from './lane.ts';

const nsid = 1;

/** A connection to bare-server.c: the queue of the NVMe lanes with nothing in front of it, so that a command costs this side the same. Reads only. */
export class BareLane implements Lane<Command> {
	readonly blockSize = 4096;
	/** The server knows; it cuts who asks for more. */
	readonly sizeBytes = Number.MAX_SAFE_INTEGER;
	readonly #queue: Queue;

	static async open({ port, depth, lanes }: LaneOptions): Promise<BareLane[]> {
		const queues = await Promise.all(Array.from({ length: lanes }, async () => await Queue.open({ port, commandsMax: depth })));
		return queues.map((queue) => new BareLane(queue));
	}

	private constructor(queue: Queue) {
		this.#queue = queue;
		// There is no Connect in which to settle that a completion may be a flag.
		queue.flowControl = false;
	}

	get outstanding(): number {
		return this.#queue.outstanding;
	}

	get nowMs(): number {
		return this.#queue.nowMs;
	}

	take(owner: LaneOwner<Command>): Command | undefined {
		const command = this.#queue.take();
		if (command !== undefined) command.owner = owner;
		return command;
	}

	read(command: Command, lba: number, blocks: number): void {
		range(command.sqe, ioOpcode.read, nsid, lba, blocks);
		command.dataOutBytes = 0;
		command.dataInBytes = blocks * this.blockSize;
		this.#queue.submit(command);
	}

	write(): void {
		throw new Error('the bare server only reads');
	}

	flush(): void {
		throw new Error('the bare server only reads');
	}

	zero(): void {
		throw new Error('the bare server only reads');
	}

	fault(command: Command): string | undefined {
		if (command.status === connectionLost) return String(this.#queue.ended);
		if (command.receivedBytes !== command.dataInBytes) return `${command.receivedBytes} of ${command.dataInBytes} bytes were sent`;
		return undefined;
	}

	async close(): Promise<void> {
		this.#queue.destroy();
	}
}
