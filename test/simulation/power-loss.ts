import { checkVolume } from '../../src/blockvol/check.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { archivedWrites } from './lazy-content.ts';
import { createVolume, Life, type Numbers } from './life.ts';
import type { Ending, Moment } from './model.ts';
import type { Operation } from './operation.ts';
import { Random, seedOf } from './random.ts';
import type { SnapshotLedger } from './snapshot-ledger.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';
import { drawSetting, drawSteps, lazySetting, type Setting } from './workload.ts';

const directory = '/data/volume';

export interface Exploration {
	readonly seed: number;
	readonly steps: number;
	/** Power losses in one line: 2 means one during the recovery from another. */
	readonly depth: number;
	/** States at most. */
	readonly statesMax: number;
	/** A lazily restored volume. */
	readonly isLazy?: boolean;
	/** Only this one: the numbers of crashes and survivors that lead to it, as a failure prints them. */
	readonly path?: readonly number[];
}

export interface Explored {
	states: number;
	crashes: number;
	operations: number;
}

/** A disk that a crash left, and what must be on it. */
interface Crash {
	readonly disk: SimulatedDisk;
	readonly moment: Moment;
	readonly snapshots: SnapshotLedger;
	readonly restoring: Int32Array | undefined;
	readonly step: number;
	readonly operation: Operation;
	readonly path: readonly number[];
}

/**
 * Runs a workload that the seed draws, crashes at every operation that changes the disk, and lets what is left recover: it must hold what was promised, take
 * more writes, and pass the check. During recovery and in the next life it crashes again. Throws a SimulationFailure that says how to see it again.
 */
export async function explore(exploration: Exploration): Promise<Explored> {
	return new Explorer(exploration).run();
}

class Explorer {
	readonly #exploration: Exploration;
	readonly #setting: Setting;
	readonly #numbers: Numbers = { last: archivedWrites };
	readonly #result: Explored = { states: 0, crashes: 0, operations: 0 };

	constructor(exploration: Exploration) {
		this.#exploration = exploration;
		const setting = drawSetting(new Random(seedOf(exploration.seed, 1)));
		this.#setting = exploration.isLazy === true ? lazySetting(setting, new Random(seedOf(exploration.seed, 4))) : setting;
	}

	async run(): Promise<Explored> {
		const { seed, steps, statesMax } = this.#exploration;
		const random = new Random(seedOf(seed, 2));
		const disk = new SimulatedDisk({ seed });
		await disk.makeDirectory('/data');
		await disk.syncDirectory('/');
		const model = await createVolume(disk, directory, this.#setting);
		const life = new Life(disk, model, { directory, setting: this.#setting, random: random.branch(), numbers: this.#numbers });
		const crashes: Crash[] = [];
		this.#record(life, [], 1, crashes, random.branch());
		await this.#guarded(life, [], async () => {
			await life.open();
			await life.run(drawSteps(random.branch(), this.#setting, steps, { restarts: true }));
			await this.#end(life);
		});
		this.#result.crashes = crashes.length;
		this.#result.operations = life.disk.operations;
		for (const crash of shuffled(crashes, random.branch())) {
			if (this.#result.states >= statesMax) break;
			await this.#recover(crash, 1);
		}
		return this.#result;
	}

	/** Notes a crash before every operation that changes a disk of this life. */
	#record(
		life: Life,
		path: readonly number[],
		share: number,
		crashes: Crash[],
		random: Random,
		before?: Pick<Crash, 'moment' | 'snapshots' | 'restoring'>,
	): void {
		let count = 0;
		let opening = before;
		const watch = (disk: SimulatedDisk): void => {
			disk.onOperation = (operation) => {
				if (!isChanging(operation)) return;
				const number = count++;
				const seed = random.next();
				const drawn = random.chance(share);
				const wanted = this.#exploration.path?.[path.length];
				if (wanted === undefined ? !drawn : wanted !== number) return;
				if (opening !== undefined && life.model !== opening.moment.model) opening = undefined;
				// A power loss before the process was killed would have been another crash: what that one left open stays open.
				const ending: Ending = opening?.moment.ending === 'powerLost' || seed % 4 !== 0 ? 'powerLost' : 'killed';
				const moment = opening === undefined ? life.model.moment(ending) : { ...opening.moment, ending };
				const snapshots = (opening ?? life).snapshots.copy();
				const { restoring } = opening ?? life;
				const space = { quotaBytes: Infinity };
				const left = seed % 4 === 0 ? disk.killed(seed, space) : disk.surviving(seed, space);
				crashes.push({ disk: left, moment, snapshots, restoring, step: life.step, operation, path: [...path, number] });
			};
		};
		life.onDisk = watch;
		watch(life.disk);
	}

	async #recover(crash: Crash, depth: number): Promise<void> {
		const { moment, path } = crash;
		this.#result.states++;
		const random = new Random(seedOf(this.#exploration.seed, 3, ...path));
		const life = new Life(crash.disk, moment.model, { directory, setting: this.#setting, random: random.branch(), numbers: this.#numbers });
		life.snapshots = crash.snapshots.copy();
		life.restoring = crash.restoring;
		const nested: Crash[] = [];
		if (depth < this.#exploration.depth) this.#record(life, path, 0.03, nested, random.branch(), crash);
		await this.#guarded(life, [crash], async () => {
			await life.open();
			await life.judge(moment.at, moment.ending);
			await life.run([...drawSteps(random.branch(), this.#setting, 4, { restarts: random.chance(0.1) }), { kind: 'flush' }]);
			await this.#end(life);
		});
		for (const again of nested) await this.#recover(again, depth + 1);
	}

	async #end(life: Life): Promise<void> {
		await life.recoverSpace();
		await life.judgeRunning();
		await life.close();
		life.disk.onOperation = undefined;
		const findings = await checkVolume(life.disk, directory);
		if (findings.length > 0) throw new SimulationFailure(`check found: ${findings.map((finding) => finding.message).join('; ')}`);
		if (life.disk.violations.length > 0)
			throw new SimulationFailure(`the engine broke a rule of the disk: ${life.disk.violations.join('; ')}`);
	}

	async #guarded(life: Life, crashes: readonly Crash[], work: () => Promise<void>): Promise<void> {
		try {
			await withinTime(work(), 'the volume');
		} catch (error) {
			const crash = crashes[0];
			const { seed, steps, depth } = this.#exploration;
			const where =
				crash === undefined
					? `step ${life.step}, no crash yet`
					: `crash (${crash.moment.ending}) at step ${crash.step}, before operation ${crash.operation.number} (${crash.operation.kind} ${crash.operation.path} at ${crash.operation.positionBytes}, ${crash.operation.lengthBytes} bytes)`;
			const path = crash === undefined ? '' : ` --path ${crash.path.join('/')}`;
			const text = messageOf(error);
			throw new SimulationFailure(
				`${text}\n  seed ${seed}, ${where}, step ${life.step} of the life after it\n  again: npx node test/simulation/reproduce.ts ${this.#exploration.isLazy === true ? 'lazy' : 'power-loss'} --seed ${seed} --steps ${steps} --depth ${depth}${path}`,
				{ cause: error },
			);
		}
	}
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
	return list
		.map((item) => ({ item, order: random.next() }))
		.toSorted((a, b) => a.order - b.order)
		.map(({ item }) => item);
}
