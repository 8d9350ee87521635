import { Association } from '../test/nvme-host/association.ts';
import { connectionLost, type Command } from '../test/nvme-host/command.ts';
import { Namespace } from '../test/nvme-host/namespace.ts';
import type { Queue } from '../test/nvme-host/queue.ts';
import type { Lane, LaneOptions, LaneOwner } from './lane.ts';

const katoMs = 15_000;
const queueEntriesMax = 128;

/** One I/O queue; all lanes of a load belong to one association. */
export class NvmeLane implements Lane<Command> {
	readonly #namespace: Namespace;
	readonly #queue: Queue;
	readonly #isLast: boolean;

	static async open({ port, target, unit, depth, lanes }: LaneOptions): Promise<NvmeLane[]> {
		// A queue holds one command fewer than it has entries (NVMe Base 2.0, Full Queue); at the most that a target grants, all of them are used.
		const entries = Math.max(2, Math.min(queueEntriesMax, depth + 1));
		const association = await Association.open({
			port,
			subnqn: target,
			ioQueues: lanes,
			depth: entries,
			commandsMax: depth,
			katoMs,
			keepsAlive: true,
		});
		const namespace = await Namespace.attach(association, unit);
		return association.io.map((queue, index) => new NvmeLane(namespace, queue, index === lanes - 1));
	}

	private constructor(namespace: Namespace, queue: Queue, isLast: boolean) {
		this.#namespace = namespace;
		this.#queue = queue;
		this.#isLast = isLast;
	}

	get blockSize(): number {
		return this.#namespace.blockSize;
	}

	get sizeBytes(): number {
		return this.#namespace.sizeBytes;
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
		this.#namespace.submitRead(command, lba, blocks);
	}

	write(command: Command, lba: number, blocks: number): void {
		this.#namespace.submitWrite(command, lba, blocks);
	}

	flush(command: Command): void {
		this.#namespace.submitFlush(command);
	}

	fault(command: Command): string | undefined {
		if (command.status === connectionLost) return String(this.#queue.ended);
		if (command.status !== 0) return `NVMe status ${command.status.toString(16)}h`;
		if (command.receivedBytes !== command.dataInBytes) return `${command.receivedBytes} of ${command.dataInBytes} bytes were sent`;
		return undefined;
	}

	async close(): Promise<void> {
		if (this.#isLast) await this.#namespace.association.shutdown();
	}
}
