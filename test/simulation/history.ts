import { checkVolume } from '../../src/blockvol/check.ts';
import type { BlockDevice, Outcome } from '../../src/blockvol/block-device.ts';
import type { Moment } from '../../src/blockvol/rewinder.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { silent } from '../../src/os/logger.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { Random, seedOf } from './random.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';

const kib = 1024;
const page = 4 * kib;
const directory = '/data/volume';
const window = { windowMs: 4000, maxBytes: 16 * 64 * kib };

/** What the volume held from some change on. */
interface State {
	readonly content: Buffer;
	/** When the change that led to it was submitted, and when it was acknowledged: Infinity if it never was. */
	readonly submittedMs: number;
	readonly acknowledgedMs: number;
	/** Where the log ended when nothing else was under way; undefined if that is not known, or if two states share it. */
	lsn: number | undefined;
}

/** All that is on a disk: what was live since the history began, oldest first, and the snapshots. */
interface Past {
	readonly states: readonly State[];
	readonly snapshots: ReadonlyMap<string, Buffer>;
}

interface Crash {
	readonly disk: SimulatedDisk;
	readonly before: Past;
	/** What the step that was under way adds, one after the other: a crash leaves any number of them. */
	readonly after: readonly Past[];
	readonly nowMs: number;
	readonly step: string;
	readonly operation: string;
}

export interface HistoryExplored {
	crashes: number;
	moments: number;
	states: number;
	/** How often nothing was left to be shown of the moment that was asked for. */
	beyond: number;
}

/**
 * A volume that keeps a history, under random writes, zeros, snapshots, restores, resizes, restarts and rewinds, with a clock of its own. At random moments of the window it is put back: what is shown must be what the volume held
 * then, to the last byte. A crash at a random operation (each one, those of the rewinds at the end too, if `crashesMax` is infinite) leaves each change done or not done; the history goes on behind it.
 */
export async function exploreHistory(seed: number, steps: number, crashesMax: number, momentsAtEnd: number): Promise<HistoryExplored> {
	const result: HistoryExplored = { crashes: 0, moments: 0, states: 0, beyond: 0 };
	const life = new HistoryLife(seed, new SimulatedDisk({ seed }), 1_700_000_000_000);
	await withinTime(life.begin(), 'beginning');
	const random = new Random(seedOf(seed, 31));
	const crashes: Crash[] = [];
	let seen = 0;
	if (crashesMax > 0)
		life.disk.onOperation = (operation) => {
			if (!isChanging(operation)) return;
			const place = seen++ < crashesMax ? crashes.length : random.below(seen);
			if (place >= crashesMax) return;
			const left = random.chance(0.25) ? life.disk.killed(random.next()) : life.disk.surviving(random.next());
			const what = `${operation.kind} ${operation.path} at ${operation.positionBytes}`;
			const [before, after] = [asItIs(life.past), life.after.map(asItIs)];
			crashes[place] = { disk: left, before, after, nowMs: life.nowMs, step: life.step, operation: what };
		};
	try {
		await withinTime(life.run(steps), 'the volume', 120_000);
		if (crashesMax < Infinity) life.disk.onOperation = undefined;
		for (let at = 0; at < momentsAtEnd; at++) await withinTime(life.lookBack(), 'a rewind');
		life.disk.onOperation = undefined;
		await withinTime(life.end(), 'the end', 60_000);
	} catch (error) {
		throw new SimulationFailure(`${messageOf(error)}\n  history, seed ${seed}, ${life.step}, no crash`, { cause: error });
	}
	result.moments += life.moments;
	result.beyond += life.beyond;
	result.states = life.past.states.length;
	// Of very many crashes a little each.
	const looks = crashesMax < Infinity ? 3 : 1;
	for (const crash of crashes) {
		result.crashes++;
		const next = new HistoryLife(seedOf(seed, result.crashes), crash.disk, crash.nowMs);
		try {
			await withinTime(next.recover(crash.before, crash.after), 'recovery', 60_000);
			for (let at = 0; at < looks; at++) await withinTime(next.lookBack(), 'a rewind');
			await withinTime(next.run(looks), 'the volume', 60_000);
			for (let at = 0; at < looks; at++) await withinTime(next.lookBack(), 'a rewind');
			await withinTime(next.end(), 'the end', 60_000);
		} catch (error) {
			const where = `history, seed ${seed}, crash ${result.crashes} in ${crash.step}, before ${crash.operation}; then ${next.step}`;
			throw new SimulationFailure(`${messageOf(error)}\n  ${where}`, { cause: error });
		}
		result.moments += next.moments;
		result.beyond += next.beyond;
	}
	return result;
}

class HistoryLife {
	readonly disk: SimulatedDisk;
	readonly #random: Random;
	#volume: Volume | undefined;
	past: Past = { states: [], snapshots: new Map() };
	after: readonly Past[] = [];
	step = 'begin';
	nowMs: number;
	moments = 0;
	beyond = 0;
	#numbers = 0;

	constructor(seed: number, disk: SimulatedDisk, nowMs: number) {
		this.disk = disk;
		this.nowMs = nowMs;
		this.#random = new Random(seedOf(seed, 30));
	}

	async begin(): Promise<void> {
		await this.disk.makeDirectory('/data');
		await this.disk.syncDirectory('/');
		const sizeBytes = 64 * kib;
		const uuid = '6d8a1c52-70f3-4a8e-9a1b-3d5e6f7a8b90';
		const sliceBytes = this.#random.pick([32, 1024]) * kib;
		await Volume.create(this.disk, directory, { uuid, sizeBytes, blockSize: 512, segmentBytes: 64 * kib, sliceBytes });
		await this.#open();
		const content = Buffer.alloc(sizeBytes);
		// In place and straight to the layer, too, before there is a history.
		for (let at = 0; at < 6; at++) await this.#fill(content, 0, 32 * kib, at + 1);
		await this.#live().keepHistory(window);
		this.#tick(1, 20);
		this.past = { states: [{ content, submittedMs: 0, acknowledgedMs: 0, lsn: this.#live().history?.toLSN }], snapshots: new Map() };
		this.#tick(1, 20);
	}

	async run(steps: number): Promise<void> {
		for (let at = 0; at < steps; at++) await this.#step();
	}

	/** Opens what a crash left; finds out how much of the step that was under way is done. */
	async recover(before: Past, after: readonly Past[]): Promise<void> {
		this.step = 'recover';
		this.disk.quotaBytes = Infinity;
		await this.#open();
		const faults: string[] = [];
		for (const past of [before, ...after].toReversed()) {
			try {
				await this.#judge(past);
			} catch (error) {
				faults.push(messageOf(error));
				continue;
			}
			// What nobody was told of, and is there all the same, counts as done from now on; another size from a moment on that nobody was told of.
			const isResized = before.states.at(-1)?.content.length !== past.states.at(-1)?.content.length;
			const states = past.states.map((state, at) =>
				isResized && at === past.states.length - 1 ? state : { ...state, acknowledgedMs: Math.min(state.acknowledgedMs, this.nowMs) },
			);
			this.past = { ...past, states };
			this.#tick(1, 2000);
			return;
		}
		throw new SimulationFailure(`none of the states that a crash may leave: ${faults.join('; ')}`);
	}

	/** Puts the volume back to a random moment of its history, and compares. */
	async lookBack(): Promise<void> {
		const name = this.#name('r');
		if (!(await this.#rewind(name))) return;
		const left = new Map([...this.past.snapshots].filter(([one]) => one !== name));
		await this.#do(`delete ${name}`, { ...this.past, snapshots: left }, () => this.#live().deleteSnapshot(name));
	}

	async end(): Promise<void> {
		this.step = 'end';
		const volume = this.#live();
		if (this.#random.chance(0.3)) await volume.keepHistory(undefined);
		if (this.#random.chance(0.7)) await volume.merged();
		await volume.close();
		const findings = await checkVolume(this.disk, directory, [directory]);
		if (findings.length > 0) throw new SimulationFailure(`check: ${findings.map(({ message }) => message).join('; ')}`);
		if (this.disk.violations.length > 0) throw new SimulationFailure(this.disk.violations.join('; '));
	}

	async #step(): Promise<void> {
		const random = this.#random;
		const volume = this.#live();
		const { snapshots } = this.past;
		const known = [...snapshots.keys()];
		const dice = random.below(100);
		if (dice < 60) await this.#write();
		else if (dice < 62) await this.#squeeze();
		else if (dice < 65) {
			const name = this.#name('s');
			await this.#do(`snapshot ${name}`, { ...this.past, snapshots: new Map([...snapshots, [name, this.#content()]]) }, () =>
				volume.createSnapshot(name),
			);
		} else if (dice < 70 && known.length > 0) {
			const gone = random.pick(known);
			const left = new Map([...snapshots].filter(([name]) => name !== gone));
			await this.#do(`delete ${gone}`, { ...this.past, snapshots: left }, () => volume.deleteSnapshot(gone));
		} else if (dice < 74 && known.length > 0) {
			const onto = random.pick(known);
			const kept = random.chance(0.5) ? this.#name('k') : undefined;
			const more: [string, Buffer][] = kept === undefined ? [] : [[kept, this.#content()]];
			await this.#change(`restore ${onto}`, snapshots.get(onto) as Buffer, new Map([...snapshots, ...more]), () =>
				volume.restoreSnapshot(onto, kept === undefined ? {} : { keepLiveAs: kept }),
			);
		} else if (dice < 77) {
			const content = this.#content();
			const larger = Buffer.concat([content, Buffer.alloc(page * random.between(1, 3))]);
			await this.#change(`resize to ${larger.length}`, larger, snapshots, () => volume.resize(larger.length));
		} else if (dice < 82) {
			this.step = 'reopen';
			await volume.close();
			await this.#open();
		} else if (dice < 84) {
			this.step = 'flush and wait for merges';
			await volume.flushToLayers();
			await volume.merged();
		} else if (dice < 86) {
			this.step = 'idle';
			this.#tick(window.windowMs / 8, window.windowMs / 2);
		} else if (dice < 97) await this.lookBack();
		else await this.#rewind(this.#name('v'));
		this.#tick(0, 40);
	}

	/** One write, or several at once: whoever is told of one knows nothing of the others. */
	async #write(): Promise<void> {
		const random = this.#random;
		const count = random.pick([1, 1, 1, 2, 5]);
		const commands: (() => Promise<void>)[] = [];
		const pasts: Past[] = [];
		const told: State[] = [];
		let content = this.#content();
		for (let at = 0; at < count; at++) {
			// What needs an old page to be read may change places with what is submitted behind it.
			const isZero = random.chance(0.25);
			// Zeros in parts of pages are several records, of which a moment may have some.
			const grain = count > 1 || isZero ? page : 512;
			const offset = random.below(content.length / grain) * grain;
			const wanted = random.pick(grain === page ? [page, 3 * page, 4 * page] : [512, 1536, page, 3 * page, 4 * page]);
			const length = Math.min(wanted, content.length - offset);
			const fill = isZero ? 0 : random.between(1, 255);
			const next = Buffer.from(content).fill(fill, offset, offset + length);
			content = next;
			const state = { content: next, submittedMs: this.nowMs, acknowledgedMs: Infinity, lsn: undefined as number | undefined };
			told.push(state);
			pasts.push({ ...this.past, states: [...this.past.states, ...told] });
			commands.push(async () => {
				state.submittedMs = this.nowMs;
				const volume = this.#live();
				await good((completion) =>
					isZero ? volume.zero(offset, length, true, completion) : volume.write(offset, Buffer.alloc(length, fill), true, completion),
				);
				state.acknowledgedMs = this.nowMs;
			});
		}
		this.step = `${count} writes`;
		this.after = pasts;
		const running = commands.map((command) => {
			const work = command();
			this.#tick(0, 3);
			return work;
		});
		await Promise.all(running);
		const last = told.at(-1);
		if (last !== undefined) last.lsn = this.#live().history?.toLSN;
		this.past = pasts.at(-1) as Past;
		this.after = [];
	}

	/** The disk is full for a while: writes are refused or done, the history may lose its oldest part or all of it, and goes on. */
	async #squeeze(): Promise<void> {
		const random = this.#random;
		const volume = this.#live();
		this.disk.quotaBytes = this.disk.usedBytes + random.pick([0, page, 64 * kib]);
		for (let count = random.between(1, 12); count > 0; count--) {
			const content = this.#content();
			const offset = random.below(content.length / page) * page;
			const length = Math.min(4 * page, content.length - offset);
			const fill = random.between(1, 255);
			const state = {
				content: Buffer.from(content).fill(fill, offset, offset + length),
				submittedMs: this.nowMs,
				acknowledgedMs: Infinity,
				lsn: undefined,
			};
			const past = { ...this.past, states: [...this.past.states, state] };
			this.step = 'a write while the disk is full';
			this.after = [past];
			const outcome = await outcomeOf((completion) => volume.write(offset, Buffer.alloc(length, fill), true, completion));
			this.after = [];
			if (outcome === 'good') {
				state.acknowledgedMs = this.nowMs;
				this.past = past;
			} else if (outcome !== 'noSpace') throw new SimulationFailure(`a write to a full disk ended with ${outcome}`);
			this.#tick(1, 20);
		}
		this.step = 'the disk has room again';
		this.disk.quotaBytes = Infinity;
		for (let at = 0; volume.isFull; at++) {
			if (at > 1000) throw new SimulationFailure('the volume stays full');
			await new Promise((resolve) => {
				setTimeout(resolve, 2);
			});
		}
		await volume.flushToLayers();
	}

	/** A step that changes nothing that is live. */
	async #do(step: string, after: Past, work: () => Promise<unknown>): Promise<void> {
		this.step = step;
		this.after = [after];
		await work();
		this.past = after;
		this.after = [];
	}

	async #change(step: string, content: Buffer, snapshots: ReadonlyMap<string, Buffer>, work: () => Promise<unknown>): Promise<void> {
		this.#tick(1, 3);
		const state = { content, submittedMs: this.nowMs, acknowledgedMs: Infinity, lsn: undefined };
		// An LSN behind which the volume became another without a record says nothing of the state before.
		const states = this.past.states.map((one, at, all) => (at === all.length - 1 ? { ...one, lsn: undefined } : one));
		await this.#do(step, { states: [...states, state], snapshots }, async () => {
			await work();
			this.#tick(1, 3);
		});
		state.acknowledgedMs = this.nowMs;
	}

	/** Makes a snapshot of a random moment, which must show what was live then; false if the moment is not in the history. */
	async #rewind(name: string): Promise<boolean> {
		const volume = this.#live();
		const report = volume.history;
		if (report === undefined) throw new SimulationFailure('the history is off');
		const { states } = this.past;
		const known = states.filter(
			({ lsn, submittedMs }) => lsn !== undefined && (submittedMs > this.nowMs - window.windowMs || this.#random.chance(0.02)),
		);
		const byLSN = this.#random.chance(0.2) && known.length > 0 ? this.#random.pick(known) : undefined;
		const oldestMs = Math.max(report.fromMs ?? Infinity, this.nowMs - window.windowMs) - 5;
		const moment: Moment =
			byLSN?.lsn === undefined ? { timeMs: this.#random.between(Math.min(oldestMs, this.nowMs), this.nowMs) } : { lsn: byLSN.lsn };
		this.step = `rewind to ${JSON.stringify(moment)}`;
		this.after = [];
		const momentMs = 'timeMs' in moment ? moment.timeMs : (byLSN?.submittedMs ?? 0);
		const isOld = momentMs <= this.nowMs - window.windowMs;
		const isBeyond =
			isOld || ('timeMs' in moment ? moment.timeMs <= (report.fromMs ?? Infinity) : moment.lsn < (report.fromLSN ?? Infinity));
		const candidates = 'timeMs' in moment ? heldAt(states, moment.timeMs) : byLSN === undefined ? [] : [byLSN];
		this.after = candidates.map(({ content }) => ({ ...this.past, snapshots: new Map([...this.past.snapshots, [name, content]]) }));
		try {
			await volume.rewind(moment, name);
		} catch (error) {
			// A full disk a moment ago may still take its share.
			if (!isBeyond && !/given up while it was being read/.test(messageOf(error))) throw error;
			this.beyond++;
			return false;
		}
		this.moments++;
		const view = await volume.openSnapshot(name);
		const faults: string[] = [];
		try {
			for (const { content } of candidates) {
				const fault = await difference(view, content);
				if (fault === undefined) {
					this.past = { ...this.past, snapshots: new Map([...this.past.snapshots, [name, content]]) };
					return true;
				}
				faults.push(fault);
			}
		} finally {
			await view.close();
			this.after = [];
		}
		throw new SimulationFailure(`${candidates.length} states are possible, none is shown: ${faults.join('; ')}`);
	}

	async #judge(past: Past): Promise<void> {
		const volume = this.#live();
		const live = past.states.at(-1)?.content ?? Buffer.alloc(0);
		const fault = await difference(volume, live);
		if (fault !== undefined) throw new SimulationFailure(`live: ${fault}`);
		const names = volume.snapshots().map(({ name }) => name);
		if (names.toSorted().join() !== [...past.snapshots.keys()].toSorted().join())
			throw new SimulationFailure(`snapshots ${names.join()}, not ${[...past.snapshots.keys()].join()}`);
		for (const [name, content] of past.snapshots) {
			const view = await volume.openSnapshot(name);
			const wrong = await difference(view, content);
			await view.close();
			if (wrong !== undefined) throw new SimulationFailure(`${name}: ${wrong}`);
		}
	}

	async #open(): Promise<void> {
		const tuning = {
			walSegmentsMax: 4,
			flushStartBytes: this.#random.pick([8 * kib, 256 * kib]),
			flushIdleMs: 0,
			mapCacheBlocks: 8,
			belowBlocks: this.#random.pick([2, 8]),
			layerFilesMax: this.#random.pick([1, 16]),
			directBytesMin: 8 * kib,
			overwriteBytesMin: 12 * kib,
			markAfterWrites: 1,
			mergeShare: 1,
			historyTickMs: 0,
			noSpaceRetryMs: 2,
		};
		this.#volume = await Volume.open(this.disk, directory, { log: silent, tuning, now: () => this.nowMs });
	}

	async #fill(content: Buffer, from: number, length: number, byte: number): Promise<void> {
		content.fill(byte, from, from + length);
		await good((completion) => this.#live().write(from, Buffer.alloc(length, byte), false, completion));
	}

	#content(): Buffer {
		return (this.past.states.at(-1) as State).content;
	}

	#live(): Volume {
		if (this.#volume === undefined) throw new Error('the volume is not open');
		return this.#volume;
	}

	#name(kind: string): string {
		return `${kind}${++this.#numbers}-${this.#random.below(1e9)}`;
	}

	#tick(least: number, most: number): void {
		this.nowMs += this.#random.between(least, most);
	}
}

/** What was under way is acknowledged later, in a life that the crash never saw. */
function asItIs({ states, snapshots }: Past): Past {
	return { states: states.map((state) => ({ ...state })), snapshots };
}

/** States that may be shown of a time: from the last that was acknowledged before it to the last that was submitted before it. */
function heldAt(states: readonly State[], timeMs: number): State[] {
	const first = Math.max(
		0,
		states.findLastIndex(({ acknowledgedMs }) => acknowledgedMs < timeMs),
	);
	const last = states.findIndex(({ submittedMs }) => submittedMs >= timeMs);
	return states.slice(first, last < 0 ? undefined : last);
}

async function difference(device: BlockDevice, expected: Buffer): Promise<string | undefined> {
	if (device.sizeBytes !== expected.length) return `${device.sizeBytes} bytes, not ${expected.length}`;
	const seen = Buffer.alloc(expected.length, 0x77);
	await good((completion) => device.read(0, seen, completion));
	if (seen.equals(expected)) return undefined;
	const at = seen.findIndex((byte, index) => byte !== expected[index]);
	return `byte ${at} is ${seen[at]}, not ${expected[at]}`;
}

async function good(start: Start): Promise<void> {
	const outcome = await outcomeOf(start);
	if (outcome !== 'good') throw new SimulationFailure(`a command ended with ${outcome}`);
}

type Start = (completion: { complete(outcome: Outcome): void }) => void;

function outcomeOf(start: Start): Promise<Outcome> {
	return new Promise((resolve) => {
		start({ complete: resolve });
	});
}
