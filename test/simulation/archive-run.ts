import { archiveSnapshot } from '../../src/archive/archive-snapshot.ts';
import { deleteManifest, listManifests, openManifest } from '../../src/archive/catalogue.ts';
import { collect } from '../../src/archive/collector.ts';
import type { Timing } from '../../src/archive/limits.ts';
import { readList } from '../../src/archive/list-reader.ts';
import { decodeManifest, isZeroRow, rowOf } from '../../src/archive/manifest.ts';
import { entryBytes, listsOf } from '../../src/archive/merkle-tree.ts';
import { contentKey } from '../../src/archive/object-keys.ts';
import { createRepository, openRepository, type Repository, type Runtime } from '../../src/archive/repository.ts';
import { ArchiveError, type CollectResult } from '../../src/archive/repository-types.ts';
import { restoreManifest } from '../../src/archive/restore.ts';
import { objectKinds } from '../../src/archive/sealed-object.ts';
import { verify } from '../../src/archive/verify.ts';
import { MemoryDisk } from '../archive/memory-disk.ts';
import { MemoryStore } from '../archive/memory-store.ts';
import { FakeSink, FakeVolume, noise, type FakeSnapshot } from '../archive/repository-fixture.ts';
import { Random } from './random.ts';

/**
 * Two exporters and two collectors on one repository. Every store call stops twice, before its effect and before its answer; one generator decides who goes on, when the clock jumps (over leases, and
 * over the time after which an export counts as dead), and who is killed, and begins again. A collector that begins again goes on at
 * once, and never in the time of another's lease. After each step that takes an object away or publishes, every manifest must have all that it needs.
 */
export interface ArchiveRunOptions {
	readonly seed: number;
	/** false: a store without conditional puts, on which nobody stands still for longer than timing.abandonMs. */
	readonly canPutIfAbsent: boolean;
}

export interface ArchiveRunResult {
	readonly steps: number;
	readonly exports: number;
	readonly stale: number;
	readonly kills: number;
	readonly deletedObjects: number;
	/** Exports that had to replace what was condemned under their hands: pending manifests of a second version. */
	readonly replaced: number;
	readonly revoked: number;
	/** Batches of dead collectors that another one settled. */
	readonly takenOver: number;
	/** Collectors that came back and took the lease of their own life before away, while it still ran. */
	readonly cameBack: number;
	/** Collections that were left to another one whose lease ran. */
	readonly busy: number;
	readonly blocked: number;
}

/** Of no run yet. */
export function noCounts(): Record<keyof ArchiveRunResult, number> {
	return {
		steps: 0,
		exports: 0,
		stale: 0,
		kills: 0,
		deletedObjects: 0,
		replaced: 0,
		revoked: 0,
		takenOver: 0,
		cameBack: 0,
		busy: 0,
		blocked: 0,
	};
}

const chunkBytes = 4096;
const volumeChunks = 10;
const contents = 14;
const exportsEach = 4;
const collectionsEach = 6;
const dayMs = 86_400_000;

interface Gate {
	readonly actor: Actor;
	readonly resume: () => void;
}

class Killed extends Error {}

/** A process: its own client of the store, its own end. */
class Actor {
	readonly name: string;
	/** Counts up with each life: what belongs to an earlier one never goes on. */
	life = 0;
	isDone = false;
	/** Of a collector, in this life. */
	run = '';
	/** What it puts into its leases; undefined: it cannot be told from others. */
	owner: string | undefined;
	/** Leases of collectors as it saw them last, and when they had been put. */
	leases: ReadonlyMap<string, number> = new Map();
	/** The step up to which it stands still, unless all do. */
	stalledTo = 0;

	constructor(name: string) {
		this.name = name;
	}
}

export class ArchiveRun {
	readonly #random: Random;
	readonly #options: ArchiveRunOptions;
	readonly #bucket: MemoryStore;
	readonly #timing: Timing;
	readonly #actors: Actor[] = [];
	readonly #gates: Gate[] = [];
	readonly #sleeping: { readonly atMs: number; readonly gate: Gate }[] = [];
	readonly #references = new Map<string, readonly string[]>();
	readonly #snapshots = new Map<string, FakeSnapshot>();
	readonly #acknowledged = new Set<string>();
	readonly #deleted = new Set<string>();
	readonly #log: string[] = [];
	#nowMs = 1_000_000;
	#failure: Error | undefined;
	#inspector: Repository | undefined;
	#mustLook = false;
	readonly #counts = noCounts();

	constructor(options: ArchiveRunOptions) {
		this.#options = options;
		this.#random = new Random(options.seed);
		this.#bucket = new MemoryStore({ canPutIfAbsent: options.canPutIfAbsent, nowMs: () => this.#nowMs });
		this.#timing = {
			graceMs: this.#random.pick([0, 0, 500]),
			leaseMs: this.#random.pick([0, 100, 1000]),
			abandonMs: options.canPutIfAbsent ? 2000 : 1000 * dayMs,
			settleMs: 0,
			memoryMs: 10_000 * dayMs,
		};
	}

	async run(): Promise<ArchiveRunResult> {
		await createRepository(this.#bucket, { threads: 0, chunkBytes });
		this.#inspector = await openRepository(new MemoryStore({ sharing: this.#bucket }), { threads: 0, timing: this.#timing });
		for (const name of ['exporter 1', 'exporter 2']) this.#start(new Actor(name), (actor) => this.#exporter(actor));
		for (const name of ['collector 1', 'collector 2']) {
			const actor = new Actor(name);
			if (this.#random.chance(0.8)) actor.owner = name.at(-1)?.repeat(32);
			this.#start(actor, (one) => this.#collector(one));
		}
		while (this.#failure === undefined && this.#actors.some(({ isDone }) => !isDone)) await this.#step();
		if (this.#failure === undefined) await this.#end();
		if (this.#failure !== undefined)
			throw new Error(`seed ${this.#options.seed}: ${this.#failure.message}\n${this.#log.slice(-60).join('\n')}`, { cause: this.#failure });
		return this.#counts;
	}

	/** One store call's effect or answer, a jump of the clock, or a death. */
	async #step(): Promise<void> {
		this.#counts.steps++;
		if (this.#counts.steps > 200_000) {
			this.#failure ??= new Error('it does not end');
			return;
		}
		if (this.#random.chance(0.03)) this.#nowMs += this.#random.pick([1, 50, 300, 1500]);
		if (this.#options.canPutIfAbsent && this.#random.chance(0.002)) this.#nowMs += 5000;
		if (this.#random.chance(0.004)) this.#kill(this.#random.pick(this.#actors));
		for (let at = this.#sleeping.length - 1; at >= 0; at--) {
			if ((this.#sleeping[at]?.atMs ?? Infinity) > this.#nowMs) continue;
			for (const { gate } of this.#sleeping.splice(at, 1)) this.#gates.push(gate);
		}
		const gate = this.#pick();
		if (gate === undefined) this.#nowMs += 100;
		else gate.resume();
		// Everything that follows without the store happens before the next step.
		await new Promise((resolve) => {
			setImmediate(resolve);
		});
		if (this.#mustLook) await this.#look();
	}

	/** Who goes on. Now and then one stands still while the others come far. */
	#pick(): Gate | undefined {
		if (this.#random.chance(0.02)) this.#stall(this.#random.pick(this.#actors));
		const ready = this.#gates.filter(({ actor }) => actor.stalledTo <= this.#counts.steps);
		const from = ready.length === 0 ? this.#gates : ready;
		const gate = from[this.#random.below(from.length)];
		if (gate !== undefined) this.#gates.splice(this.#gates.indexOf(gate), 1);
		return gate;
	}

	#stall(actor: Actor): void {
		actor.stalledTo = this.#counts.steps + this.#random.pick([30, 150, 500]);
	}

	#start(actor: Actor, work: (actor: Actor) => Promise<void>): void {
		this.#actors.push(actor);
		const live = async (): Promise<void> => {
			const life = actor.life;
			try {
				await work(actor);
				actor.isDone = true;
			} catch (error) {
				if (error instanceof Killed || actor.life !== life) return;
				this.#failure ??= error instanceof Error ? error : new Error(String(error));
			}
		};
		this.#lives.set(actor, live);
		void live();
	}

	readonly #lives = new Map<Actor, () => Promise<void>>();

	#kill(actor: Actor): void {
		if (actor.isDone) return;
		this.#counts.kills++;
		this.#log.push(`${actor.name} is killed`);
		actor.life++;
		actor.run = '';
		actor.stalledTo = 0;
		// What waited at a gate waits for ever: an effect that had not happened never does, and an answer is not heard.
		for (let at = this.#gates.length - 1; at >= 0; at--) if (this.#gates[at]?.actor === actor) this.#gates.splice(at, 1);
		for (let at = this.#sleeping.length - 1; at >= 0; at--) if (this.#sleeping[at]?.gate.actor === actor) this.#sleeping.splice(at, 1);
		void this.#lives.get(actor)?.();
	}

	/** A client of the store whose calls stop at gates. */
	async #open(actor: Actor): Promise<Repository> {
		const { life } = actor;
		const store = new MemoryStore({ sharing: this.#bucket });
		const gate = (): Promise<void> =>
			new Promise((resolve, reject) => {
				// What the dead had begun goes no further.
				if (actor.life === life) this.#gates.push({ actor, resume: resolve });
				else reject(new Killed());
			});
		store.before = (call) => {
			if (call.kind === 'delete' && call.key.startsWith('collectors/')) this.#leaseTaken(actor, call.key);
			// Where a decision has been made and is about to be carried out, others get far now and then.
			const isDecided =
				(call.kind === 'put' && call.key.startsWith('manifests/')) ||
				(call.kind === 'list' && call.key === 'condemned/') ||
				(call.kind === 'delete' && /^(?:chunks|lists)/.test(call.key));
			if (isDecided && this.#random.chance(0.15)) {
				this.#stall(actor);
				if (this.#options.canPutIfAbsent && this.#random.chance(0.3)) this.#nowMs += 5000;
			}
			return gate();
		};
		store.after = (call) => {
			this.#log.push(`${actor.name}: ${call.kind} ${call.key.replaceAll(/(?<start>[0-9a-f]{6})[0-9a-f]{20,}/g, '$<start>')}`);
			if (call.kind === 'delete' || (call.kind === 'put' && call.key.startsWith('manifests/'))) this.#mustLook = true;
			if (call.kind === 'put') this.#watch(actor, call.key);
			if (call.kind === 'list' && call.key === 'collectors/') {
				const leases = [...this.#bucket.objects].filter(([key]) => key.startsWith('collectors/'));
				actor.leases = new Map(leases.map(([key, { modifiedMs }]) => [key, modifiedMs]));
			}
			const isWorst = call.key.startsWith('condemned/') || (call.kind === 'delete' && call.key.startsWith('chunks/'));
			if (isWorst && actor.life === life && this.#random.chance(0.03)) this.#kill(actor);
			return gate();
		};
		const random = this.#random.branch();
		const runtime: Runtime = {
			nowMs: () => this.#nowMs,
			random: (bytes) => {
				const drawn = Buffer.alloc(bytes);
				for (let at = 0; at < bytes; at++) drawn[at] = random.below(256);
				return drawn;
			},
			sleep: (ms) =>
				new Promise((resolve) => {
					this.#sleeping.push({ atMs: this.#nowMs + ms, gate: { actor, resume: resolve } });
				}),
		};
		return openRepository(store, { threads: 0, timing: this.#timing, runtime });
	}

	#watch(actor: Actor, key: string): void {
		if (key.endsWith('/pending-2')) this.#counts.replaced++;
		if (key.startsWith('collectors/')) {
			actor.run = key.slice('collectors/'.length);
			this.#collectors.set(key, actor);
		}
		if (key.startsWith('collected/') && !key.startsWith(`collected/${actor.run}`)) this.#counts.takenOver++;
	}

	readonly #collectors = new Map<string, Actor>();

	/** A lease that runs is taken away by its own owner only. */
	#leaseTaken(actor: Actor, key: string): void {
		if (key === `collectors/${actor.run}`) return;
		if (this.#nowMs - (actor.leases.get(key) ?? 0) >= this.#timing.leaseMs) return;
		if (actor.owner !== undefined && this.#collectors.get(key) === actor) this.#counts.cameBack++;
		else this.#failure ??= new Error(`${actor.name} takes ${key} away, which runs and is not its own`);
	}

	async #exporter(actor: Actor): Promise<void> {
		const state = this.#stateOf(actor);
		const repository = await this.#open(actor);
		while (state.exported < exportsEach) {
			const snapshot = state.snapshot;
			try {
				const { manifest } = await archiveSnapshot(repository, snapshot, {
					parallel: 2,
					...(state.hasJournal ? { journal: { disk: state.files.disk, path: 'journal' } } : {}),
				});
				this.#acknowledged.add(manifest.id);
				this.#counts.exports++;
			} catch (error) {
				if (!(error instanceof ArchiveError) || error.code !== 'stale') throw error;
				this.#counts.stale++;
				continue;
			}
			state.exported++;
			state.next();
			if (this.#random.chance(0.6)) {
				const [oldest] = await listManifests(repository, { volumeUuid: snapshot.volume.uuid });
				if (oldest !== undefined) {
					this.#deleted.add(oldest.id);
					await deleteManifest(repository, oldest.id);
				}
			}
		}
	}

	async #collector(actor: Actor): Promise<void> {
		const repository = await this.#open(actor);
		const state = this.#stateOf(actor);
		while (state.exported < collectionsEach) {
			this.#counted(await collect(repository, actor.owner === undefined ? {} : { owner: actor.owner }));
			state.exported++;
			await repository.runtime.sleep(this.#random.pick([0, 50, 400]));
		}
	}

	#counted({ state, deletedObjects }: CollectResult): void {
		this.#counts.deletedObjects += deletedObjects;
		if (state === 'blocked') this.#counts.blocked++;
		if (state === 'busy') this.#counts.busy++;
	}

	readonly #states = new Map<Actor, ActorState>();

	/** What outlives a process: its volume, its journal, how much it has done. */
	#stateOf(actor: Actor): ActorState {
		let state = this.#states.get(actor);
		if (state === undefined) {
			const uuid = `00000000-0000-4000-8000-00000000000${this.#actors.indexOf(actor)}`;
			state = new ActorState(uuid, this.#random.branch(), (snapshot) => this.#snapshots.set(`${uuid}/${snapshot.snapshot.id}`, snapshot));
			this.#states.set(actor, state);
		}
		return state;
	}

	/** The invariant: what a manifest needs is there. Looks into the bucket directly. */
	async #look(): Promise<void> {
		this.#mustLook = false;
		for (const [key, { bytes }] of this.#bucket.objects) {
			if (!key.startsWith('manifests/')) continue;
			const id = key.slice('manifests/'.length);
			if (bytes[4] === objectKinds.revoked) {
				if (!this.#references.has(id)) this.#counts.revoked++;
				this.#references.set(id, []);
				continue;
			}
			if (!this.#references.has(id)) this.#references.set(id, await this.#read(id, bytes));
			const missing = this.#references.get(id)?.find((needed) => !this.#bucket.objects.has(needed));
			if (missing !== undefined) this.#failure ??= new Error(`the manifest ${id} has lost ${missing}`);
		}
	}

	async #read(id: string, bytes: Buffer): Promise<string[]> {
		const repository = this.#inspector;
		if (repository === undefined) return [];
		const manifest = decodeManifest(repository.unsealSmall('manifest', bytes, id, 1 << 24), id, id);
		const needed: string[] = [];
		for (let list = 0; list < listsOf(manifest.chunks); list++) {
			const row = rowOf(manifest.segments, list);
			if (isZeroRow(row)) continue;
			const key = contentKey(repository, 'list', row);
			needed.push(key);
			if (!this.#bucket.objects.has(key)) return needed;
			const entries = await readList(repository, manifest, list);
			for (let at = 0; at < entries.length; at += entryBytes) {
				const entry = entries.subarray(at, at + entryBytes);
				if (!isZeroRow(entry)) needed.push(contentKey(repository, 'chunk', entry));
			}
		}
		return needed;
	}

	/** All is quiet: what was acknowledged is there, byte for byte, and collecting leaves nothing that nobody needs. */
	async #end(): Promise<void> {
		const repository = await openRepository(new MemoryStore({ sharing: this.#bucket }), { threads: 0, timing: this.#timing });
		const manifests = await listManifests(repository);
		for (const id of this.#acknowledged) {
			if (!this.#deleted.has(id) && !manifests.some((manifest) => manifest.id === id))
				throw new Error(`seed ${this.#options.seed}: the manifest ${id} is gone`);
		}
		for (const { id, volume, snapshot } of manifests) {
			const sink = new FakeSink(volume.sizeBytes);
			await restoreManifest(repository, await openManifest(repository, id), sink);
			const wanted = this.#snapshots.get(`${volume.uuid}/${snapshot.id}`);
			if (wanted?.bytes.equals(sink.bytes) !== true)
				this.#failure ??= new Error(`the manifest ${id} holds something else than its snapshot`);
		}
		this.#nowMs += this.#timing.abandonMs + dayMs;
		this.#counted(await collect(repository, { graceMs: 0 }));
		// By then nothing stands still any more, and later nobody has to know of it.
		for (let look = 0; look < 2; look++) {
			this.#nowMs += this.#timing.memoryMs + dayMs;
			await collect(repository, { graceMs: 0 });
		}
		const { findings } = await verify(repository, { mode: 'full' });
		if (findings.length > 0) this.#failure ??= new Error(`verify: ${findings[0]?.object} ${findings[0]?.detail}`);
		const needed = new Set(['repository']);
		for (const { id } of manifests) {
			needed.add(`manifests/${id}`);
			for (const key of await this.#read(id, this.#bucket.objects.get(`manifests/${id}`)?.bytes ?? Buffer.alloc(0))) needed.add(key);
		}
		const orphans = [...this.#bucket.objects.keys()].filter((key) => !needed.has(key));
		if (orphans.length > 0) this.#failure ??= new Error(`orphans: ${orphans.join(' ')}`);
	}
}

class ActorState {
	exported = 0;
	snapshot: FakeSnapshot;
	readonly hasJournal: boolean;
	readonly files = new MemoryDisk();
	readonly #volume: FakeVolume;
	readonly #random: Random;
	readonly #onSnapshot: (snapshot: FakeSnapshot) => void;

	constructor(uuid: string, random: Random, onSnapshot: (snapshot: FakeSnapshot) => void) {
		this.#random = random;
		this.#onSnapshot = onSnapshot;
		this.hasJournal = random.chance(0.5);
		this.#volume = new FakeVolume(chunkBytes * volumeChunks, { uuid });
		this.snapshot = this.#make();
	}

	next(): void {
		this.snapshot = this.#make();
	}

	/** Few contents, so that the volumes share chunks and old ones come back. */
	#make(): FakeSnapshot {
		const changes = this.#random.between(1, 4);
		for (let change = 0; change < changes; change++) {
			const chunk = this.#random.below(volumeChunks);
			const content = this.#random.below(contents);
			this.#volume.write(chunk * chunkBytes, content === 0 ? Buffer.alloc(chunkBytes) : noise(chunkBytes, content));
		}
		const snapshot = this.#volume.snapshot();
		this.#onSnapshot(snapshot);
		return snapshot;
	}
}
