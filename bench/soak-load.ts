import { LatencyHistogram } from './histogram.ts';
import { IscsiLane } from './iscsi-lane.ts';
import { NvmeLane } from './nvme-lane.ts';
import type { Access, Rig } from './rig.ts';
import { pageBytes, type SoakVolume } from './soak-volume.ts';
import { SoakLane, type SoakOp, type SoakOwner } from './soak-lane.ts';

const depth = 8;
const paceMs = 2;
const failuresMax = 10;

interface SoakLoadOptions {
	/** 0: as many as there can be. */
	ratePerSecond: number;
	churnMs: number;
}

/** What one lane of the soak is on. */
interface Place {
	access: Access;
	volume: number;
}

interface ClosableLane {
	resume(): void;
	close(): Promise<void>;
}

/** The load of a soak: a session and a host on each volume, one of which is replaced by a new one from time to time. */
export class SoakLoad implements SoakOwner {
	readonly histograms: Readonly<Record<SoakOp, LatencyHistogram>> = {
		read: new LatencyHistogram(),
		write: new LatencyHistogram(),
		zero: new LatencyHistogram(),
		flush: new LatencyHistogram(),
	};
	readonly failures: string[] = [];
	commands = 0;
	bytes = 0;
	verifiedPages = 0;
	/** Sessions and hosts that there were. */
	sessions = 0;
	readonly #models: readonly SoakVolume[];
	readonly #places: readonly Place[];
	readonly #lanes: ClosableLane[] = [];
	readonly #options: SoakLoadOptions;
	readonly #startMs = performance.now();
	#allowed = 0;
	#submitted = 0;
	#paceTimer: NodeJS.Timeout | undefined = undefined;
	#churnTimer: NodeJS.Timeout | undefined = undefined;
	#churning: Promise<void> = Promise.resolve();
	#turn = 0;
	#seed = 0x2545f491;

	static async start(rig: Rig, models: readonly SoakVolume[], options: SoakLoadOptions): Promise<SoakLoad> {
		const load = new SoakLoad(rig, models, options);
		for (const index of load.#places.keys()) load.#lanes.push(await load.#open(index));
		load.#paceTimer = setInterval(() => load.#pace(), paceMs);
		load.#churnTimer = setInterval(() => {
			load.#churning = load.#churning.then(async () => await load.#churn()).catch((error: unknown) => load.failed(String(error)));
		}, options.churnMs);
		return load;
	}

	private constructor(rig: Rig, models: readonly SoakVolume[], options: SoakLoadOptions) {
		this.#models = models;
		this.#options = options;
		this.#places = models.flatMap((_model, volume) => [rig.iscsi, rig.nvme].map((access) => ({ access, volume })));
	}

	async stop(): Promise<void> {
		clearInterval(this.#churnTimer);
		await this.#churning;
		clearInterval(this.#paceTimer);
		// A lane that failed cannot say goodbye.
		const closed = await Promise.allSettled(this.#lanes.map(async (lane) => await lane.close()));
		for (const one of closed) if (one.status === 'rejected') this.failed(String(one.reason));
	}

	mayGo(): boolean {
		if (this.failures.length > 0) return false;
		if (this.#options.ratePerSecond > 0 && this.#submitted >= this.#allowed) return false;
		this.#submitted++;
		return true;
	}

	done(op: SoakOp, bytes: number): void {
		this.commands++;
		this.bytes += bytes;
		if (op === 'read') this.verifiedPages += bytes / pageBytes;
	}

	failed(reason: string): void {
		if (this.failures.length < failuresMax) this.failures.push(reason);
	}

	async #open(index: number): Promise<ClosableLane> {
		const { access, volume } = this.#places[index]!;
		const wanted = { port: access.port, target: access.target, units: [access.units[volume]!], depth, lanes: 1 };
		this.sessions++;
		if (access.protocol === 'iscsi') {
			const lane = new SoakLane((await IscsiLane.open(wanted))[0]!, this.#models[volume]!, depth, this, this.#random);
			lane.start();
			return lane;
		}
		const lane = new SoakLane((await NvmeLane.open(wanted))[0]!, this.#models[volume]!, depth, this, this.#random);
		lane.start();
		return lane;
	}

	async #churn(): Promise<void> {
		const index = this.#turn++ % this.#places.length;
		await this.#lanes[index]!.close();
		this.#lanes[index] = await this.#open(index);
	}

	#pace(): void {
		const elapsedSeconds = (performance.now() - this.#startMs) / 1000;
		this.#allowed = elapsedSeconds * this.#options.ratePerSecond;
		// What a pause of this process left undone is not made up for by a burst of more than a second.
		this.#submitted = Math.max(this.#submitted, this.#allowed - this.#options.ratePerSecond);
		// Not always the same one first, or the last would get what is left over.
		const first = this.#turn++ % this.#lanes.length;
		for (let at = 0; at < this.#lanes.length; at++) this.#lanes[(first + at) % this.#lanes.length]!.resume();
	}

	readonly #random = (): number => {
		// xorshift32
		let x = this.#seed;
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		this.#seed = x;
		return (x >>> 0) / 0x1_0000_0000;
	};
}
