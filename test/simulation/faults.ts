import { checkVolume } from '../../src/blockvol/check.ts';
import type { Outcome } from '../../src/blockvol/block-device.ts';
import { VolumeFault } from '../../src/blockvol/volume-fault.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { createVolume, Life } from './life.ts';
import type { Ending, VolumeModel } from './model.ts';
import type { Fault, Operation } from './operation.ts';
import { Random, seedOf } from './random.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { drawSetting, drawSteps, type Setting, type Step } from './workload.ts';

export interface FaultExploration {
	readonly seed: number;
	readonly steps: number;
	readonly statesMax: number;
	/** Only this one: operation and fault. */
	readonly path?: readonly number[];
}

export interface FaultsExplored {
	runs: number;
	operations: number;
	faulted: number;
	outcomes: Map<Outcome, number>;
}

const ill = '/data/ill';
const well = '/data/well';

/** A fault that an operation may meet, and for how long. */
interface Illness {
	readonly name: string;
	readonly fault: Fault;
	/** Every later operation of that kind on the same file fails too, until the disk is healed. */
	readonly stays: boolean;
	/** After it every tenth read returns something wrong, until the disk is healed. */
	readonly lies?: boolean;
	/** The engine must not notice. */
	readonly harmless: boolean;
}

interface Case {
	readonly operation: Operation;
	readonly number: number;
	readonly illness: Illness;
	readonly index: number;
}

/**
 * Runs two volumes on one disk and lets each operation of one of them fail, once per way in which it can. Then: every outcome is legal, the volume says why it is
 * faulted and acknowledges nothing more, the other volume goes on, and after the disk was healed (and after one more power loss) all that was promised is there.
 */
export async function exploreFaults(exploration: FaultExploration): Promise<FaultsExplored> {
	const result: FaultsExplored = { runs: 0, operations: 0, faulted: 0, outcomes: new Map() };
	const operations: Operation[] = [];
	await guarded(exploration, [], 'no fault', () => new FaultRun(exploration, result).run(-1, undefined, operations));
	result.operations = operations.length;
	const random = new Random(seedOf(exploration.seed, 7));
	const cases = operations.flatMap((operation, number) =>
		illnesses(operation).map((illness, index) => ({ operation, number, illness, index })),
	);
	for (const one of inTurns(cases, random)) {
		if (exploration.path !== undefined && (exploration.path[0] !== one.number || exploration.path[1] !== one.index)) continue;
		if (result.runs >= exploration.statesMax) break;
		const { operation, illness } = one;
		const what = `${illness.name} at operation ${one.number} (${operation.kind} ${operation.path} at ${operation.positionBytes}, ${operation.lengthBytes} bytes)`;
		result.runs++;
		await guarded(exploration, [one.number, one.index], what, () => new FaultRun(exploration, result).run(one.number, illness, []));
	}
	return result;
}

class FaultRun {
	readonly #exploration: FaultExploration;
	readonly #result: FaultsExplored;
	readonly #setting: Setting;
	readonly #numbers = { last: 0 };
	#illness: Illness | undefined;
	/** The operation that failed first. */
	#struck: Operation | undefined;

	constructor(exploration: FaultExploration, result: FaultsExplored) {
		this.#exploration = exploration;
		this.#result = result;
		// ENOSPC is among the faults; a disk that runs full by itself would hit the other volume, too.
		this.#setting = { ...drawSetting(new Random(seedOf(exploration.seed, 5))), isTight: false };
	}

	async run(at: number, illness: Illness | undefined, operations: Operation[]): Promise<void> {
		const random = new Random(seedOf(this.#exploration.seed, 6));
		this.#illness = illness;
		const disk = new SimulatedDisk({ seed: this.#exploration.seed });
		await disk.makeDirectory('/data');
		await disk.syncDirectory('/');
		const sick = this.#life(disk, ill, await createVolume(disk, ill, this.#setting), random.branch(), (outcome, step) =>
			this.#isLegal(outcome, step),
		);
		const healthy = this.#life(disk, well, await createVolume(disk, well, this.#setting), random.branch());
		const lies = random.branch();
		let count = 0;
		disk.faultRule = (operation) => {
			if (!operation.path.startsWith(ill)) return undefined;
			operations.push(operation);
			const isStruck = count++ === at || (this.#illness?.stays === true && this.#isAgain(operation));
			if (!isStruck) return this.#struck !== undefined && this.#illness?.lies === true ? drawLie(operation, lies) : undefined;
			this.#struck ??= operation;
			return this.#illness?.fault;
		};
		await healthy.open();
		const others = healthy.run(drawSteps(random.branch(), this.#setting, this.#exploration.steps / 2, { restarts: false }));
		// Nobody looks at it before the sick volume is done.
		others.catch(() => undefined);
		const isOpen = await this.#tryOpen(sick);
		if (isOpen) {
			await sick.run(drawSteps(random.branch(), this.#setting, this.#exploration.steps, { restarts: false }));
			await this.#judgeSick(sick);
		}
		await others;
		await healthy.judgeRunning();
		await this.#repair(sick, isOpen, random.branch());
	}

	/** The disk is healed; the process was killed, or the power failed as well. */
	async #repair(sick: Life, isOpen: boolean, random: Random): Promise<void> {
		const { disk, model } = sick;
		disk.faultRule = undefined;
		disk.quotaBytes = Infinity;
		const at = model.clock;
		const after: { ending: Ending; disk: SimulatedDisk }[] = [
			{ ending: 'killed', disk: disk.killed(random.next()) },
			{ ending: 'powerLost', disk: disk.surviving(random.next()) },
			{ ending: 'powerLost', disk: disk.surviving(random.next()) },
		];
		if (isOpen) sick.volume.abandon();
		disk.freeze();
		for (const { ending, disk: left } of after) {
			const next = this.#life(left, ill, model, random.branch());
			next.snapshots = sick.snapshots.copy();
			next.restoring = sick.restoring;
			try {
				await next.open();
				await next.judge(at, ending);
				await next.run([...drawSteps(random.branch(), this.#setting, 4, { restarts: false }), { kind: 'flush' }]);
				await this.#judgeFlushed(next, random.branch());
				await next.judgeRunning();
				await next.close();
				const findings = await checkVolume(left, ill);
				if (findings.length > 0) throw new SimulationFailure(`check found: ${findings.map((finding) => finding.message).join('; ')}`);
				if (left.violations.length > 0) throw new SimulationFailure(left.violations.join('; '));
			} catch (error) {
				throw new SimulationFailure(`after the repair (${ending}): ${messageOf(error)}`, { cause: error });
			}
		}
	}

	/** The repaired volume has acknowledged a flush: power loss takes nothing any more, whatever an fsync had failed to write before. */
	async #judgeFlushed(repaired: Life, random: Random): Promise<void> {
		const { model, disk } = repaired;
		const snapshots = repaired.snapshots.copy();
		const { at } = model.moment('powerLost');
		const next = this.#life(disk.surviving(random.next()), ill, model, random);
		next.snapshots = snapshots;
		await next.open();
		await next.judge(at, 'powerLost');
		next.volume.abandon();
	}

	/** Opens; a VolumeFault that says something is all right once the fault has struck. */
	async #tryOpen(life: Life): Promise<boolean> {
		try {
			await life.open();
			return true;
		} catch (error) {
			if (!(error instanceof VolumeFault) || error.message.length < 10 || this.#struck === undefined || this.#illness?.harmless === true)
				throw error;
			return false;
		}
	}

	async #judgeSick(life: Life): Promise<void> {
		const { fault } = life.volume;
		for (const [outcome, count] of life.outcomes) this.#result.outcomes.set(outcome, (this.#result.outcomes.get(outcome) ?? 0) + count);
		if (fault === undefined) return;
		this.#result.faulted++;
		if (fault.length < 10) throw new SimulationFailure(`the fault says nothing: '${fault}'`);
		if (this.#illness === undefined || this.#illness.harmless) throw new SimulationFailure(`faulted without a reason: ${fault}`);
		// Whatever it does from now on, it acknowledges no write and no flush.
		const outcomes = await Promise.all([
			new Promise<Outcome>((resolve) => {
				life.volume.flush({ complete: resolve });
			}),
			new Promise<Outcome>((resolve) => {
				life.volume.write(0, Buffer.alloc(4096), false, { complete: resolve });
			}),
		]);
		if (outcomes.some((outcome) => outcome !== 'faulted'))
			throw new SimulationFailure(`a faulted volume answered ${outcomes.join(' and ')}`);
	}

	#isLegal(outcome: Outcome, step: Step): boolean {
		if (outcome === 'good') return true;
		if (this.#struck === undefined || this.#illness === undefined || this.#illness.harmless) return false;
		if (step.kind === 'read') return outcome === 'mediumError';
		if (outcome === 'noSpace')
			return step.kind !== 'flush' && this.#illness.fault.kind === 'error' && this.#illness.fault.code === 'ENOSPC';
		return outcome === 'faulted' || (outcome === 'mediumError' && step.kind !== 'flush');
	}

	#isAgain(operation: Operation): boolean {
		return this.#struck !== undefined && operation.kind === this.#struck.kind && operation.path === this.#struck.path;
	}

	#life(
		disk: SimulatedDisk,
		directory: string,
		model: VolumeModel,
		random: Random,
		legal?: (outcome: Outcome, step: Step) => boolean,
	): Life {
		return new Life(disk, model, {
			directory,
			setting: this.#setting,
			random,
			numbers: this.#numbers,
			...(legal === undefined ? {} : { legal }),
		});
	}
}

function error(code: string, stays: boolean): Illness {
	return { name: stays ? `${code} from now on` : `${code} once`, fault: { kind: 'error', code }, stays, harmless: false };
}

function short(bytesMax: number): Illness {
	return { name: `about ${bytesMax} bytes transferred`, fault: { kind: 'short', bytesMax }, stays: false, harmless: true };
}

function illnesses(operation: Operation): Illness[] {
	switch (operation.kind) {
		case 'read':
		case 'tryRead':
			return [
				error('EIO', false),
				error('EIO', true),
				short(7),
				{ name: 'misdirected', fault: { kind: 'misdirected', byBytes: 4096 }, stays: false, harmless: false },
				{ name: 'lies from now on', fault: { kind: 'misdirected', byBytes: -4096 }, stays: false, lies: true, harmless: false },
				{ name: 'flipped bit', fault: { kind: 'flippedBit', byteIndex: seedOf(operation.number), bit: 3 }, stays: false, harmless: false },
			];
		case 'write':
		case 'writeSync':
			return [error('EIO', false), error('EIO', true), error('ENOSPC', false), error('ENOSPC', true), short(1), short(5000)];
		case 'open':
			return [error('EIO', false), error('ENOSPC', false), error('ENOSPC', true)];
		case 'close':
			return [];
		default:
			return [error('EIO', false), error('EIO', true)];
	}
}

function drawLie(operation: Operation, random: Random): Fault | undefined {
	if ((operation.kind !== 'read' && operation.kind !== 'tryRead') || !random.chance(0.1)) return undefined;
	if (random.chance(0.5)) return { kind: 'misdirected', byBytes: random.pick([-4096, -512, 512, 4096, 65536]) };
	return { kind: 'flippedBit', byteIndex: random.next(), bit: random.below(8) };
}

async function guarded(exploration: FaultExploration, path: readonly number[], what: string, work: () => Promise<void>): Promise<void> {
	try {
		await withinTime(work(), 'the volume');
	} catch (error) {
		const { seed, steps } = exploration;
		const only = path.length === 0 ? '' : ` --path ${path.join('/')}`;
		const text = messageOf(error);
		throw new SimulationFailure(
			`${text}\n  seed ${seed}, ${what}\n  again: npx node test/simulation/reproduce.ts faults --seed ${seed} --steps ${steps}${only}`,
			{
				cause: error,
			},
		);
	}
}

/**
 * In random order, but one of each kind before the second of any, and the syncs of a round first: reads are many, and what was taken for durable matters most. A kind is an operation on a sort of file with a sort
 * of fault.
 */
function inTurns(cases: readonly Case[], random: Random): Case[] {
	const seen = new Map<string, number>();
	const shuffled = cases.map((one) => ({ one, order: random.next() })).toSorted((a, b) => a.order - b.order);
	const ranked = shuffled.map(({ one, order }) => {
		const kind = `${one.operation.kind} ${one.operation.path.replaceAll(/\d+/g, '#')} ${one.illness.name}`;
		const rank = seen.get(kind) ?? 0;
		seen.set(kind, rank + 1);
		const isSync = one.operation.kind === 'datasync' || one.operation.kind === 'syncDirectory';
		return { one, order: (2 * rank + (isSync ? 0 : 1)) * 0x1_0000_0000 + order };
	});
	return ranked.toSorted((a, b) => a.order - b.order).map(({ one }) => one);
}
