import * as fc from 'fast-check';
import type { BlockDevice } from '../../src/blockvol/block-device.ts';
import { checkVolume } from '../../src/blockvol/check.ts';
import { createGroupSnapshot } from '../../src/blockvol/group-snapshot.ts';
import { pageBytes } from '../../src/blockvol/limits.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { VolumeFault, VolumeUsageError } from '../../src/blockvol/volume-fault.ts';
import { silent } from '../../src/os/logger.ts';
import { good } from './commands.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';
import { type Windows, WindowedDevice } from './windows.ts';

const kib = 1024;
const root = '/data';
const volumesMax = 3;
const snapshotsMax = 12;
/** The second window lies over the end of a block of the page map (1,008 entries), the third ends with one. */
const windows: Windows = { count: 3, windowBytes: 64 * kib, gapBytes: 1000 * pageBytes - 64 * kib };

/** `volume` and `snapshot` are numbers to choose by, among those that there are. `waits`: until it is done; else what follows runs beside it. */
export type TreeStep =
	| Change
	| { kind: 'snapshot'; volume: number }
	| { kind: 'group' }
	| { kind: 'restore'; volume: number; snapshot: number; keepsLive: boolean }
	| { kind: 'delete'; volume: number; snapshot: number; waits: boolean }
	| { kind: 'clone'; volume: number; snapshot: number; waits: boolean }
	| { kind: 'flatten'; volume: number }
	| { kind: 'resize'; volume: number; pages: number }
	| { kind: 'remove'; volume: number }
	| { kind: 'diff'; volume: number; snapshot: number; other: number }
	| { kind: 'look'; volume: number; snapshot: number }
	| { kind: 'flushToLayers'; volume: number; waits: boolean }
	| { kind: 'merged'; volume: number; waits: boolean }
	| { kind: 'reopen'; volume: number }
	| Crash;

/** Of all volumes at once, before so many more operations of the disk, or when it is quiet. */
type Crash = { kind: 'kill'; operations: number } | { kind: 'powerLoss'; operations: number };
type Change = { volume: number; first: number; blocks: number; fill: number } & ({ kind: 'write' } | { kind: 'zero' });

export interface TreeTuning {
	readonly seed: number;
	readonly flushStartBytes: number;
	readonly directBytesMin: number;
	readonly overwriteBytesMin: number;
	readonly belowBlocks: number;
	readonly sliceBytes: number;
}

const volume = fc.nat(volumesMax - 1);
const snapshot = fc.nat(snapshotsMax - 1);
const waits = fc.boolean();
const changed = {
	volume,
	first: fc.nat(383),
	blocks: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 400 })),
	fill: fc.integer({ min: 1, max: 255 }),
};
const weighted: [number, fc.Arbitrary<TreeStep>][] = [
	[24, fc.record({ kind: fc.constant('write'), ...changed })],
	[8, fc.record({ kind: fc.constant('zero'), ...changed })],
	[10, fc.record({ kind: fc.constant('snapshot'), volume })],
	[1, fc.record({ kind: fc.constant('group') })],
	[5, fc.record({ kind: fc.constant('restore'), volume, snapshot, keepsLive: fc.boolean() })],
	[8, fc.record({ kind: fc.constant('delete'), volume, snapshot, waits })],
	[5, fc.record({ kind: fc.constant('clone'), volume, snapshot, waits })],
	[3, fc.record({ kind: fc.constant('flatten'), volume })],
	[2, fc.record({ kind: fc.constant('resize'), volume, pages: fc.integer({ min: 1, max: 24 }) })],
	[2, fc.record({ kind: fc.constant('remove'), volume })],
	[4, fc.record({ kind: fc.constant('diff'), volume, snapshot, other: fc.nat(snapshotsMax) })],
	[4, fc.record({ kind: fc.constant('look'), volume, snapshot })],
	[2, fc.record({ kind: fc.constant('flushToLayers'), volume, waits })],
	[2, fc.record({ kind: fc.constant('merged'), volume, waits })],
	[2, fc.record({ kind: fc.constant('reopen'), volume })],
	[3, fc.record({ kind: fc.constant('kill'), operations: fc.nat(60) })],
	[3, fc.record({ kind: fc.constant('powerLoss'), operations: fc.nat(60) })],
];
const step = fc.oneof(...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })));
const tuned: fc.Arbitrary<TreeTuning> = fc.record({
	seed: fc.nat(),
	flushStartBytes: fc.constantFrom(8 * kib, 64 * kib, 1024 * kib),
	directBytesMin: fc.constantFrom(8 * kib, Infinity),
	overwriteBytesMin: fc.constantFrom(12 * kib, Infinity),
	belowBlocks: fc.constantFrom(2, 16),
	sliceBytes: fc.constantFrom(1024 * kib, 8 * 2 ** 40),
});

/**
 * Random sequences of everything that a tree of volumes takes, beside merges, flattenings, clones and flusher cycles that are still under way, against a model that keeps whole
 * copies. Throws with the smallest sequence that disagrees.
 */
export async function agreeOnTrees(runs: number, seed?: number): Promise<void> {
	await fc.assert(
		fc.asyncProperty(tuned, fc.array(step, { maxLength: 60, size: 'max' }), async (tuning, steps) => {
			await agreeOnTree(tuning, steps);
		}),
		{ numRuns: runs, ...(seed === undefined ? {} : { seed }), includeErrorInReport: true },
	);
}

/** One sequence, as a failure prints it. */
export function agreeOnTree(tuning: TreeTuning, steps: readonly TreeStep[]): Promise<void> {
	return new TreeLife(tuning).run(steps);
}

interface Member {
	readonly name: string;
	content: Buffer;
	readonly snapshots: Map<string, Buffer>;
	/** Deletions under way: a crash decides. */
	readonly going: Map<string, Buffer>;
	/** Those of the moment of the crash. */
	readonly unsettled: Map<string, Buffer>;
	/** Work under way beside the steps. */
	readonly beside: Set<Promise<void>>;
}

class TreeLife {
	readonly #tuning: TreeTuning;
	readonly #members = new Map<string, Member>();
	readonly #volumes = new Map<string, Volume>();
	/** Clones that are being made: a crash leaves no volume, or one that nobody was promised. */
	readonly #young = new Map<string, Promise<void>>();
	#disk: SimulatedDisk;
	#life = 0;
	#names = 0;
	#failure: Error | undefined;

	constructor(tuning: TreeTuning) {
		this.#tuning = tuning;
		this.#disk = new SimulatedDisk({ seed: tuning.seed });
	}

	async run(steps: readonly TreeStep[]): Promise<void> {
		await this.#disk.makeDirectory(root);
		await this.#disk.syncDirectory('/');
		const sizeBytes = windows.count * windows.windowBytes;
		const { sliceBytes } = this.#tuning;
		const geometry = { uuid: uuidOf(0), sizeBytes: WindowedDevice.deviceBytes(windows, sizeBytes), blockSize: 512 as const };
		await Volume.create(this.#disk, `${root}/v0`, { ...geometry, segmentBytes: 64 * kib, sliceBytes });
		await this.#admit('v0', Buffer.alloc(sizeBytes));
		for (const one of steps) {
			await withinTime(this.#step(one), one.kind);
			if (this.#failure !== undefined) throw this.#failure;
		}
		await withinTime(this.#end(), 'the end', 60_000);
	}

	async #step(one: TreeStep): Promise<void> {
		if (one.kind === 'kill' || one.kind === 'powerLoss') return this.#crash(one);
		if (one.kind === 'group') return this.#group();
		const member = this.#chosen(one.volume);
		const open = this.#open(member);
		if (one.kind === 'write' || one.kind === 'zero') return this.#change(member, one);
		if (one.kind === 'snapshot') {
			if (member.snapshots.size >= snapshotsMax) return;
			const name = this.#name();
			await open.createSnapshot(name);
			member.snapshots.set(name, member.content);
			return;
		}
		if (one.kind === 'resize') return this.#resize(member, one.pages);
		if (one.kind === 'remove') return this.#remove(member);
		if (one.kind === 'flatten') return open.flatten();
		if (one.kind === 'flushToLayers') return this.#beside(member, open.flushToLayers(), one.waits);
		if (one.kind === 'merged') return this.#beside(member, open.merged(), one.waits);
		if (one.kind === 'reopen') {
			await this.#settle(member);
			await open.close();
			await this.#start(member.name);
			return this.#judgeLive(member);
		}
		const name = [...member.snapshots.keys()][one.snapshot % Math.max(1, member.snapshots.size)];
		if (name === undefined) return;
		if (one.kind === 'restore') await this.#restore(member, name, one.keepsLive);
		else if (one.kind === 'delete') await this.#delete(member, name, one.waits);
		else if (one.kind === 'clone') await this.#clone(member, name, one.waits);
		else if (one.kind === 'look') await this.#judgeSnapshot(member, name);
		else await this.#diff(member, name, [...member.snapshots.keys(), undefined][one.other % (member.snapshots.size + 1)]);
	}

	async #change(member: Member, { kind, first, blocks, fill }: Change): Promise<void> {
		const device = this.#device(member);
		const offset = (first % (member.content.length / 512)) * 512;
		const wanted = Math.min(blocks * 512, member.content.length - offset);
		const length = kind === 'write' ? device.stretch(offset, wanted) : wanted;
		const next = Buffer.from(member.content);
		next.fill(kind === 'zero' ? 0 : fill, offset, offset + length);
		member.content = next;
		if (kind === 'zero') await good((completion) => device.zero(offset, length, false, completion), 'a zero');
		else await good((completion) => device.write(offset, Buffer.alloc(length, fill), false, completion), 'a write');
		const seen = Buffer.alloc(device.stretch(offset, length));
		await good((completion) => device.read(offset, seen, completion), 'a read');
		mustEqual(seen, next.subarray(offset, offset + seen.length), member.name);
	}

	async #group(): Promise<void> {
		const members = [...this.#members.values()];
		if (members.some(({ snapshots }) => snapshots.size >= snapshotsMax)) return;
		const name = this.#name();
		await createGroupSnapshot(
			members.map((member) => this.#open(member)),
			name,
		);
		for (const member of members) member.snapshots.set(name, member.content);
	}

	async #restore(member: Member, name: string, keepsLive: boolean): Promise<void> {
		const kept = keepsLive && member.snapshots.size < snapshotsMax ? this.#name() : undefined;
		await this.#open(member).restoreSnapshot(name, kept === undefined ? {} : { keepLiveAs: kept });
		if (kept !== undefined) member.snapshots.set(kept, member.content);
		member.content = member.snapshots.get(name) as Buffer;
		await this.#judgeLive(member);
	}

	async #delete(member: Member, name: string, waiting: boolean): Promise<void> {
		// A clone that is being made of it has found it, or is told that it is gone: one of the two would have to be guessed.
		await this.#settle(member);
		member.going.set(name, member.snapshots.get(name) as Buffer);
		member.snapshots.delete(name);
		const life = this.#life;
		const done = this.#open(member).deleteSnapshot(name);
		await this.#beside(
			member,
			done.then(() => {
				if (life === this.#life) member.going.delete(name);
			}),
			waiting,
		);
	}

	async #clone(member: Member, name: string, waiting: boolean): Promise<void> {
		if (this.#members.size + this.#young.size >= volumesMax) return;
		const clone = `c${++this.#names}`;
		const content = member.snapshots.get(name) as Buffer;
		const life = this.#life;
		const made = Volume.clone(this.#disk, this.#open(member), name, `${root}/${clone}`, uuidOf(this.#names)).then(async () => {
			if (life !== this.#life) return;
			await this.#disk.syncDirectory(root);
			if (life === this.#life) await this.#admit(clone, content);
		});
		const watched = made.finally(() => this.#young.delete(clone));
		this.#young.set(clone, watched);
		await this.#beside(member, watched, waiting);
	}

	async #resize(member: Member, pages: number): Promise<void> {
		if (member.content.length > 512 * kib) return;
		const open = this.#open(member);
		await open.resize(open.sizeBytes + pages * pageBytes);
		member.content = Buffer.concat([member.content, Buffer.alloc(pages * pageBytes)]);
	}

	async #remove(member: Member): Promise<void> {
		if (this.#members.size === 1) return;
		await this.#settle(member);
		await this.#open(member).close();
		this.#members.delete(member.name);
		this.#volumes.delete(member.name);
		await this.#removeDirectory(member.name);
	}

	/** Every page that differs has to be named, whatever else is. */
	async #diff(member: Member, from: string, to: string | undefined): Promise<void> {
		const older = member.snapshots.get(from) as Buffer;
		const newer = to === undefined ? member.content : (member.snapshots.get(to) as Buffer);
		const named = new Set<number>();
		let end = 0;
		for await (const { firstPage, pages } of this.#open(member).diff(from, to)) {
			if (firstPage < end || pages < 1) throw new SimulationFailure(`diff names page ${firstPage} after ${end}`);
			end = firstPage + pages;
			for (let page = firstPage; page < end; page++) named.add(page);
		}
		for (let at = 0; at < Math.max(older.length, newer.length); at += pageBytes) {
			const [a, b] = [older, newer].map((bytes) => Buffer.concat([bytes.subarray(at, at + pageBytes), Buffer.alloc(pageBytes)]));
			const page = (at + Math.min(windows.count - 1, Math.floor(at / windows.windowBytes)) * windows.gapBytes) / pageBytes;
			if (a?.subarray(0, pageBytes).equals(b?.subarray(0, pageBytes) ?? Buffer.alloc(0)) !== true && !named.has(page))
				throw new SimulationFailure(`diff of ${member.name} from ${from} to ${to ?? 'live'} does not name page ${page}`);
		}
	}

	/** What runs beside the steps goes on until the moment of the crash, and what was acknowledged is there afterwards. */
	async #crash({ kind, operations }: Crash): Promise<void> {
		if (kind === 'powerLoss') for (const open of this.#volumes.values()) await good((completion) => open.flush(completion), 'a flush');
		const disk = this.#disk;
		const seed = this.#tuning.seed + ++this.#names;
		const take = (): SimulatedDisk => (kind === 'kill' ? disk.killed(seed) : disk.surviving(seed));
		let left: SimulatedDisk | undefined;
		let count = 0;
		const note = (): void => {
			left = take();
			for (const member of this.#members.values()) for (const [name, content] of member.going) member.unsettled.set(name, content);
			for (const name of this.#young.keys()) unborn.add(name);
		};
		const unborn = new Set<string>();
		disk.onOperation = (operation) => {
			if (isChanging(operation) && left === undefined && count++ >= operations) note();
		};
		for (const member of this.#members.values()) void this.#open(member).flushToLayers();
		for (const member of this.#members.values()) {
			await this.#open(member).flushToLayers();
			await this.#open(member).merged();
		}
		if (left === undefined) note();
		this.#disk = left ?? disk;
		this.#life++;
		for (const open of this.#volumes.values()) open.abandon();
		disk.freeze();
		mustBeLawful(disk);
		for (const name of unborn) {
			await this.#removeDirectory(name);
			this.#members.delete(name);
			this.#volumes.delete(name);
		}
		this.#young.clear();
		for (const member of this.#members.values()) {
			member.beside.clear();
			await this.#start(member.name);
			const names = new Set(
				this.#open(member)
					.snapshots()
					.map(({ name }) => name),
			);
			for (const [name, content] of member.unsettled) if (names.has(name)) member.snapshots.set(name, content);
			member.going.clear();
			member.unsettled.clear();
			await this.#judge(member);
		}
	}

	async #end(): Promise<void> {
		for (const member of this.#members.values()) await this.#settle(member);
		for (const member of this.#members.values()) await this.#judge(member);
		for (const open of this.#volumes.values()) {
			if (this.#tuning.seed % 3 !== 0) await open.merged();
			await open.close();
		}
		const directories = [...this.#members.keys()].map((name) => `${root}/${name}`);
		for (const directory of directories) {
			const findings = await checkVolume(this.#disk, directory, directories);
			if (findings.length > 0) throw new SimulationFailure(`check of ${directory}: ${findings.map(({ message }) => message).join('; ')}`);
		}
		mustBeLawful(this.#disk);
	}

	async #judge(member: Member): Promise<void> {
		const names = this.#open(member)
			.snapshots()
			.map(({ name }) => name);
		if (names.toSorted().join() !== [...member.snapshots.keys()].toSorted().join())
			throw new SimulationFailure(`${member.name} has the snapshots ${names.join()}, not ${[...member.snapshots.keys()].join()}`);
		await this.#judgeLive(member);
		for (const name of member.snapshots.keys()) await this.#judgeSnapshot(member, name);
	}

	#judgeLive(member: Member): Promise<void> {
		return shows(this.#open(member), member.content, member.name);
	}

	async #judgeSnapshot(member: Member, name: string): Promise<void> {
		const view = await this.#open(member).openSnapshot(name);
		try {
			await shows(view, member.snapshots.get(name) as Buffer, `${member.name}@${name}`);
		} finally {
			await view.close();
		}
	}

	/** Has work go on while the next steps are taken, unless they wait for it. */
	async #beside(member: Member, work: Promise<void>, waiting: boolean): Promise<void> {
		const life = this.#life;
		const watched = work.then(
			() => undefined,
			(error: unknown) => {
				// Volumes that a crash ended may say anything.
				if (life !== this.#life && (error instanceof VolumeUsageError || error instanceof VolumeFault)) return;
				this.#failure ??= error instanceof Error ? error : new SimulationFailure(messageOf(error));
			},
		);
		member.beside.add(watched);
		void watched.then(() => member.beside.delete(watched));
		if (waiting) await watched;
	}

	async #settle(member: Member): Promise<void> {
		await Promise.all(member.beside);
		if (this.#failure !== undefined) throw this.#failure;
	}

	async #admit(name: string, content: Buffer): Promise<void> {
		await this.#start(name);
		this.#members.set(name, { name, content, snapshots: new Map(), going: new Map(), unsettled: new Map(), beside: new Set() });
	}

	async #start(name: string): Promise<void> {
		const { flushStartBytes, directBytesMin, overwriteBytesMin, belowBlocks } = this.#tuning;
		const tuning = {
			walSegmentsMax: 4,
			flushStartBytes,
			flushIdleMs: 0,
			dirtyPagesMax: 64,
			zeroRangesMax: 8,
			mapCacheBlocks: 8,
			belowBlocks,
			layerFilesMax: 4,
			directBytesMin,
			overwriteBytesMin,
			markAfterWrites: 1,
			mergeShare: 1,
		};
		this.#volumes.set(name, await Volume.open(this.#disk, `${root}/${name}`, { log: silent, tuning }));
	}

	async #removeDirectory(name: string): Promise<void> {
		const directory = `${root}/${name}`;
		const all = this.#disk.paths().filter((path) => path.startsWith(`${directory}/`));
		const directories = [`${directory}/wal`, `${directory}/layers`].filter((path) => all.includes(path));
		for (const path of all) if (!directories.includes(path)) await this.#disk.remove(path);
		for (const path of directories) await this.#disk.removeDirectory(path);
		if (this.#disk.paths().includes(directory)) await this.#disk.removeDirectory(directory);
		await this.#disk.syncDirectory(root);
	}

	#chosen(number: number): Member {
		return [...this.#members.values()][number % this.#members.size] as Member;
	}

	#open({ name }: Pick<Member, 'name'>): Volume {
		return this.#volumes.get(name) as Volume;
	}

	#device(member: Member): WindowedDevice {
		return new WindowedDevice(this.#open(member), windows);
	}

	#name(): string {
		return `s${++this.#names}`;
	}
}

/** Every byte of the windows. */
async function shows(device: BlockDevice, expected: Buffer, what: string): Promise<void> {
	const windowed = new WindowedDevice(device, windows);
	if (windowed.sizeBytes !== expected.length)
		throw new SimulationFailure(`${what} has ${windowed.sizeBytes} bytes, not ${expected.length}`);
	for (let at = 0; at < expected.length;) {
		const seen = Buffer.alloc(windowed.stretch(at, expected.length - at), 0x77);
		const from = at;
		await good((completion) => windowed.read(from, seen, completion), what);
		mustEqual(seen, expected.subarray(at, at + seen.length), `${what} from ${at}`);
		at += seen.length;
	}
}

function mustEqual(seen: Buffer, expected: Buffer, what: string): void {
	if (seen.equals(expected)) return;
	const at = seen.findIndex((byte, index) => byte !== expected[index]);
	throw new SimulationFailure(`${what} differs at byte ${at}: ${seen[at]}, not ${expected[at]}`);
}

function mustBeLawful({ violations }: SimulatedDisk): void {
	if (violations.length > 0) throw new SimulationFailure(violations.join('; '));
}

function uuidOf(number: number): string {
	return `0b0e6a44-6f6b-4c59-9d0e-${number.toString(16).padStart(12, '0')}`;
}
