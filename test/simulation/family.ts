import { checkVolume } from '../../src/blockvol/check.ts';
import type { BlockDevice, Outcome } from '../../src/blockvol/block-device.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { Random, seedOf } from './random.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';

const kib = 1024;
const page = 4 * kib;
const root = '/data';
const volumesMax = 4;

/** What a volume must show: its bytes, and those of each snapshot. Contents are never changed once they are here. */
interface Member {
	readonly name: string;
	readonly content: Buffer;
	readonly snapshots: ReadonlyMap<string, Buffer>;
}

type Family = ReadonlyMap<string, Member>;

/** A disk that a crash left, and what may be on it: the state before the step that was under way, or the one after. */
interface Crash {
	readonly disk: SimulatedDisk;
	readonly before: Family;
	readonly after: Family;
	readonly step: string;
	readonly operation: string;
}

export interface FamilyExplored {
	crashes: number;
	volumes: number;
	snapshots: number;
}

/**
 * A volume, its clones and theirs: random trees of snapshots, restores, deletions, clones, flattenings and removed volumes, one step at a time, every write acknowledged with FUA. A
 * crash at a random operation (merges run in the background all the time) leaves each step done or not done, and nothing else changed: every volume and every snapshot
 * reads exactly what it must, each file belongs to somebody, and has as many names as there are volumes that need it.
 */
export async function exploreFamily(seed: number, steps: number, crashesMax: number): Promise<FamilyExplored> {
	const result: FamilyExplored = { crashes: 0, volumes: 0, snapshots: 0 };
	const life = new FamilyLife(seed, new SimulatedDisk({ seed }));
	await withinTime(life.begin(), 'beginning');
	const random = new Random(seedOf(seed, 21));
	const crashes: Crash[] = [];
	let seen = 0;
	life.disk.onOperation = (operation) => {
		if (!isChanging(operation)) return;
		// A sample of constant size over all operations, however many there will be.
		const place = seen++ < crashesMax ? crashes.length : random.below(seen);
		if (place >= crashesMax) return;
		const left = random.chance(0.25) ? life.disk.killed(random.next()) : life.disk.surviving(random.next());
		const what = `${operation.kind} ${operation.path} at ${operation.positionBytes}`;
		crashes[place] = { disk: left, before: life.before, after: life.after, step: life.step, operation: what };
	};
	try {
		await withinTime(life.run(steps), 'the family', 120_000);
		await life.judge(life.after);
		life.disk.onOperation = undefined;
		await life.end();
	} catch (error) {
		throw new SimulationFailure(`${messageOf(error)}\n  family, seed ${seed}, ${life.step}, no crash`, { cause: error });
	}
	for (const member of life.after.values()) result.snapshots += member.snapshots.size;
	result.volumes = life.after.size;
	for (const crash of crashes) {
		result.crashes++;
		const next = new FamilyLife(seedOf(seed, result.crashes), crash.disk);
		try {
			await withinTime(next.recover(crash.before, crash.after), 'recovery', 60_000);
			await withinTime(next.run(3), 'the family', 60_000);
			await next.judge(next.after);
			await next.end();
		} catch (error) {
			const where = `family, seed ${seed}, crash ${result.crashes} in ${crash.step}, before ${crash.operation}; then ${next.step}`;
			throw new SimulationFailure(`${messageOf(error)}\n  ${where}`, { cause: error });
		}
	}
	return result;
}

class FamilyLife {
	readonly disk: SimulatedDisk;
	readonly #random: Random;
	readonly #volumes = new Map<string, Volume>();
	before: Family = new Map();
	after: Family = new Map();
	step = 'begin';
	#numbers = 0;

	constructor(seed: number, disk: SimulatedDisk) {
		this.disk = disk;
		this.#random = new Random(seedOf(seed, 20));
	}

	async begin(): Promise<void> {
		await this.disk.makeDirectory(root);
		await this.disk.syncDirectory('/');
		const sizeBytes = this.#random.pick([64, 128]) * kib;
		const geometry = {
			uuid: this.#uuid(),
			sizeBytes,
			blockSize: 512 as const,
			segmentBytes: 64 * kib,
			sliceBytes: this.#random.pick([32, 1024]) * kib,
		};
		await Volume.create(this.disk, `${root}/v0`, geometry);
		await this.#open('v0');
		this.before = this.after = new Map([['v0', { name: 'v0', content: Buffer.alloc(sizeBytes), snapshots: new Map() }]]);
	}

	async run(steps: number): Promise<void> {
		for (let at = 0; at < steps; at++) {
			this.before = this.after;
			await this.#step(this.#random.pick([...this.after.values()]));
		}
		this.before = this.after;
	}

	/** Opens what a crash left; finds out whether the step that was under way is done. */
	async recover(before: Family, after: Family): Promise<void> {
		this.step = 'recover';
		for (const name of new Set([...before.keys(), ...after.keys()])) {
			const isBoth = before.has(name) && after.has(name);
			if (!after.has(name)) {
				// Whoever keeps the list of volumes has crossed it off before: what is left of it goes, and is not opened.
				await this.#removeDirectory(name);
				continue;
			}
			try {
				await this.#open(name);
			} catch (error) {
				// One that was being made or removed is no volume, perhaps: it goes.
				if (isBoth) throw error;
				await this.#removeDirectory(name);
			}
		}
		const states: string[] = [];
		for (const family of [before, after]) {
			try {
				await this.judge(family);
				this.before = this.after = family;
				return;
			} catch (error) {
				states.push(messageOf(error));
			}
		}
		throw new SimulationFailure(`neither the state before the step (${states[0]}) nor the one after it (${states[1]})`);
	}

	/** Every volume and every snapshot, to the last byte. */
	async judge(family: Family): Promise<void> {
		const there = [...this.#volumes.keys()].toSorted();
		if (there.join() !== [...family.keys()].toSorted().join())
			throw new SimulationFailure(`volumes ${there.join()}, not ${[...family.keys()].join()}`);
		for (const { name, content, snapshots } of family.values()) {
			const volume = this.#volume(name);
			await compare(volume, content, name);
			const names = volume.snapshots().map((snapshot) => snapshot.name);
			if (names.toSorted().join() !== [...snapshots.keys()].toSorted().join())
				throw new SimulationFailure(`${name} has the snapshots ${names.join()}, not ${[...snapshots.keys()].join()}`);
			for (const [snapshot, bytes] of snapshots) {
				const view = await volume.openSnapshot(snapshot);
				try {
					await compare(view, bytes, `${name}@${snapshot}`);
				} finally {
					await view.close();
				}
			}
		}
	}

	/** Stops all volumes, some of them in the middle of a merge, and looks at every file. */
	async end(): Promise<void> {
		this.step = 'end';
		for (const volume of this.#volumes.values()) {
			if (this.#random.chance(0.7)) await volume.merged();
			await volume.close();
		}
		const directories = [...this.#volumes.keys()].map((name) => `${root}/${name}`);
		for (const directory of directories) {
			const findings = await checkVolume(this.disk, directory, directories);
			if (findings.length > 0) throw new SimulationFailure(`check of ${directory}: ${findings.map(({ message }) => message).join('; ')}`);
		}
		if (this.disk.violations.length > 0) throw new SimulationFailure(this.disk.violations.join('; '));
	}

	async #step(member: Member): Promise<void> {
		const { name, content, snapshots } = member;
		const random = this.#random;
		const volume = this.#volume(name);
		const dice = random.below(100);
		const known = [...snapshots.keys()];
		if (dice < 40) {
			const offset = random.below(content.length / 512) * 512;
			const length = Math.min(content.length - offset, random.pick([512, page, page, 3 * page, 4 * page]));
			// What a crash leaves whole: one record.
			const isZero = random.chance(0.25);
			const [from, bytes] =
				isZero || random.chance(0.6) ? [offset - (offset % page), Math.ceil(length / page) * page] : [offset, Math.min(length, 3 * page)];
			const end = Math.min(content.length, from + bytes);
			const fill = isZero ? 0 : random.between(1, 255);
			const next = Buffer.from(content);
			next.fill(fill, from, end);
			this.#will(`${isZero ? 'zero' : 'write'} ${name} ${from} to ${end}`, { ...member, content: next });
			if (isZero) await good((completion) => volume.zero(from, end - from, true, completion));
			else await good((completion) => volume.write(from, Buffer.alloc(end - from, fill), true, completion));
		} else if (dice < 56) {
			const snapshot = `s${++this.#numbers}-${random.below(1e9)}`;
			this.#will(`snapshot ${name} ${snapshot}`, { ...member, snapshots: new Map([...snapshots, [snapshot, content]]) });
			await volume.createSnapshot(snapshot);
		} else if (dice < 66 && known.length > 0) {
			const gone = random.pick(known);
			this.#will(`delete ${name}@${gone}`, { ...member, snapshots: new Map([...snapshots].filter(([one]) => one !== gone)) });
			await volume.deleteSnapshot(gone);
		} else if (dice < 73 && known.length > 0) {
			const onto = random.pick(known);
			const kept = random.chance(0.5) ? `k${++this.#numbers}-${random.below(1e9)}` : undefined;
			const more: [string, Buffer][] = kept === undefined ? [] : [[kept, content]];
			this.#will(`restore ${name}@${onto}`, { name, content: snapshots.get(onto) as Buffer, snapshots: new Map([...snapshots, ...more]) });
			await volume.restoreSnapshot(onto, kept === undefined ? {} : { keepLiveAs: kept });
		} else if (dice < 82 && known.length > 0 && this.after.size < volumesMax) {
			const from = random.pick(known);
			const clone = `c${++this.#numbers}-${random.below(1e9)}`;
			this.#will(`clone ${name}@${from} to ${clone}`, { name: clone, content: snapshots.get(from) as Buffer, snapshots: new Map() });
			await Volume.clone(this.disk, volume, from, `${root}/${clone}`, this.#uuid());
			await this.#open(clone);
		} else if (dice < 87) {
			this.#will(`flatten ${name}`, member);
			await volume.flatten();
		} else if (dice < 90 && this.after.size > 1) {
			const rest = new Map(this.after);
			rest.delete(name);
			this.step = `remove ${name}`;
			this.after = rest;
			await volume.close();
			this.#volumes.delete(name);
			await this.#removeDirectory(name);
		} else if (dice < 93) {
			const bytes = content.length + page * random.between(1, 4);
			this.#will(`resize ${name} to ${bytes}`, { ...member, content: Buffer.concat([content, Buffer.alloc(bytes - content.length)]) });
			await volume.resize(bytes);
		} else if (dice < 96) {
			this.#will(`reopen ${name}`, member);
			await volume.close();
			await this.#open(name);
		} else {
			this.#will(`flush ${name} and wait for merges`, member);
			await volume.flushToLayers();
			await volume.merged();
		}
	}

	#will(step: string, member: Member): void {
		this.step = step;
		this.after = new Map(this.after).set(member.name, member);
	}

	#volume(name: string): Volume {
		const volume = this.#volumes.get(name);
		if (volume === undefined) throw new Error(`${name} is not open`);
		return volume;
	}

	async #open(name: string): Promise<void> {
		const tuning = {
			walSegmentsMax: 4,
			flushStartBytes: this.#random.pick([8 * kib, 256 * kib]),
			flushIdleMs: 0,
			snapshotsPendingMax: this.#random.pick([2, 1000]),
			mapCacheBlocks: 8,
			belowBlocks: this.#random.pick([2, 8]),
			layerFilesMax: this.#random.pick([1, 16]),
			directBytesMin: this.#random.pick([8 * kib, Infinity]),
			overwriteBytesMin: Infinity,
			mergeShare: 1,
		};
		this.#volumes.set(name, await Volume.open(this.disk, `${root}/${name}`, { log: silent, tuning }));
	}

	/** As whoever keeps the list of volumes does: the superblock first, so that what is left is no volume. */
	async #removeDirectory(name: string): Promise<void> {
		const directory = `${root}/${name}`;
		const all = this.disk.paths().filter((path) => path.startsWith(`${directory}/`));
		const directories = [`${directory}/wal`, `${directory}/layers`].filter((path) => all.includes(path));
		for (const path of all) if (!directories.includes(path)) await this.disk.remove(path);
		for (const path of directories) await this.disk.removeDirectory(path);
		if (this.disk.paths().includes(directory)) await this.disk.removeDirectory(directory);
		await this.disk.syncDirectory(root);
	}

	#uuid(): string {
		const hex = (digits: number): string => this.#random.next().toString(16).padStart(8, '0').slice(0, digits);
		return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(8)}${hex(4)}`;
	}
}

async function compare(device: BlockDevice, expected: Buffer, what: string): Promise<void> {
	if (device.sizeBytes !== expected.length) throw new SimulationFailure(`${what} has ${device.sizeBytes} bytes, not ${expected.length}`);
	const seen = Buffer.alloc(expected.length, 0x77);
	await good((completion) => device.read(0, seen, completion), what);
	if (seen.equals(expected)) return;
	const at = seen.findIndex((byte, index) => byte !== expected[index]);
	throw new SimulationFailure(`${what} differs at byte ${at}: ${seen[at]}, not ${expected[at]}`);
}

async function good(start: (completion: { complete(outcome: Outcome): void }) => void, what = 'a command'): Promise<void> {
	const outcome = await new Promise<Outcome>((resolve) => {
		start({ complete: resolve });
	});
	if (outcome !== 'good') throw new SimulationFailure(`${what} ended with ${outcome}`);
}
