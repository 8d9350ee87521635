import { Association, defaultHostNQN } from '../test/nvme-host/association.ts';
import { connectionLost, type Command } from '../test/nvme-host/command.ts';
import { Namespace } from '../test/nvme-host/namespace.ts';
import type { Queue } from '../test/nvme-host/queue.ts';
import type { Lane, LaneOptions, LaneOwner } from './lane.ts';

const katoMs = 15_000;
const queueEntriesMax = 128;

/** Of the host of a lane, where each has its own; the first one is the usual host. */
export function hostNQN(lane: number): string {
	return lane === 0 ? defaultHostNQN : `${defaultHostNQN.slice(0, -2)}${lane.toString(16).padStart(2, '0')}`;
}

/** One I/O queue; the lanes of a load belong to one association, or to one each. */
export class NvmeLane implements Lane<Command> {
	readonly #namespaces: readonly Namespace[];
	readonly #queue: Queue;
	/** Who ends the association. */
	readonly #isLast: boolean;
	#turn = 0;

	static async open({ port, target, units, depth, lanes, separateHosts = false }: LaneOptions): Promise<NvmeLane[]> {
		// A queue holds one command fewer than it has entries (NVMe Base 2.0, Full Queue); at the most that a target grants, all of them are used.
		const entries = Math.max(2, Math.min(queueEntriesMax, depth + 1));
		const opened: NvmeLane[] = [];
		const ioQueues = separateHosts ? 1 : lanes;
		while (opened.length < lanes) {
			const association = await Association.open({
				port,
				subnqn: target,
				hostnqn: separateHosts ? hostNQN(opened.length) : defaultHostNQN,
				ioQueues,
				depth: entries,
				commandsMax: depth,
				katoMs,
				keepsAlive: true,
			});
			const namespaces: Namespace[] = [];
			for (const nsid of units) namespaces.push(await Namespace.attach(association, nsid));
			opened.push(...association.io.map((queue, index) => new NvmeLane(namespaces, queue, index === ioQueues - 1)));
		}
		return opened;
	}

	private constructor(namespaces: readonly Namespace[], queue: Queue, isLast: boolean) {
		this.#namespaces = namespaces;
		this.#queue = queue;
		this.#isLast = isLast;
	}

	get blockSize(): number {
		return this.#namespaces[0]!.blockSize;
	}

	get sizeBytes(): number {
		return this.#namespaces[0]!.sizeBytes;
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
		this.#next().submitRead(command, lba, blocks);
	}

	write(command: Command, lba: number, blocks: number): void {
		this.#next().submitWrite(command, lba, blocks);
	}

	flush(command: Command): void {
		this.#next().submitFlush(command);
	}

	zero(command: Command, lba: number, blocks: number): void {
		this.#next().submitZero(command, lba, blocks);
	}

	fault(command: Command): string | undefined {
		if (command.status === connectionLost) return String(this.#queue.ended);
		if (command.status !== 0) return `NVMe status ${command.status.toString(16)}h`;
		if (command.receivedBytes !== command.dataInBytes) return `${command.receivedBytes} of ${command.dataInBytes} bytes were sent`;
		return undefined;
	}

	async close(): Promise<void> {
		if (this.#isLast) await this.#namespaces[0]!.association.shutdown();
	}

	#next(): Namespace {
		const namespace = this.#namespaces[this.#turn]!;
		this.#turn = this.#turn + 1 === this.#namespaces.length ? 0 : this.#turn + 1;
		return namespace;
	}
}
