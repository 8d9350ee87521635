import type { Outcome } from '../../src/blockvol/block-device.ts';
import { sectorBytes } from './sparse-content.ts';

/** A write or zero as the model remembers it. Times are ticks of the model's clock. */
export interface Command {
	/** What its blocks show; 0 for zero commands. */
	readonly writeNumber: number;
	readonly step: number;
	readonly firstBlock: number;
	readonly blocks: number;
	readonly fua: boolean;
	readonly submittedAt: number;
	/** Infinity until it was acknowledged as good, and for ever if it was not. */
	completedAt: number;
	readonly atomic: boolean;
	/** False for one that may go to the layer in place: a loss of power takes it or leaves it, whatever was written before and after. */
	readonly ordered: boolean;
}

export interface Flush {
	readonly submittedAt: number;
	completedAt: number;
}

export interface Resize {
	readonly sizeBytes: number;
	readonly submittedAt: number;
	completedAt: number;
}

/** How the process ended. logCut: the log was damaged besides, so that nothing is promised but its order. */
export type Ending = 'killed' | 'powerLost' | 'logCut';

/** A moment of a model's life at which its process ended. */
export interface Moment {
	readonly model: VolumeModel;
	readonly at: number;
	readonly ending: Ending;
}

/** What was found wrong: a sentence, and the block if it concerns one. */
export interface Finding {
	readonly text: string;
	readonly block?: number;
}

const initially = -1;
/** What a damaged block shows instead of a write number. */
export const unreadable = -2;

/**
 * What a volume may hold. Per 512-byte block it keeps the versions in the order in which they were submitted, never only the newest: after a crash several are right.
 *
 * The rules, for an ending at time T. A command *must* be seen if it is durable (killed: acknowledged; power lost: acknowledged with FUA, or before the submission of
 * a flush that was acknowledged), or if it was acknowledged before a command was submitted that is seen (the log is replayed in order; both ordered), or if it is atomic and a
 * block of it is seen. A block may show a version if no version that must be seen was submitted after that version was acknowledged.
 */
export class VolumeModel {
	readonly blocks: number;
	#clock = 0;
	/** Per block the number of the write that it showed when this model began. All of it is durable. */
	readonly #base: Int32Array;
	readonly #history: (Command[] | undefined)[] = [];
	readonly #commands: Command[] = [];
	readonly #flushes: Flush[] = [];
	readonly #resizes: Resize[] = [];
	readonly atomicBytes: number;
	/** Writes from this length on are neither ordered nor atomic. */
	readonly unorderedBytes: number;

	constructor(sizeBytes: number, atomicBytes: number, base?: Int32Array, unorderedBytes = Infinity) {
		this.unorderedBytes = unorderedBytes;
		this.blocks = sizeBytes / sectorBytes;
		this.atomicBytes = atomicBytes;
		this.#base = base ?? new Int32Array(this.blocks);
		this.#resizes.push({ sizeBytes, submittedAt: initially, completedAt: initially });
	}

	get clock(): number {
		return this.#clock;
	}

	submit(step: number, writeNumber: number, offsetBytes: number, lengthBytes: number, fua: boolean): Command {
		const command: Command = {
			writeNumber,
			step,
			firstBlock: offsetBytes / sectorBytes,
			blocks: lengthBytes / sectorBytes,
			fua,
			submittedAt: ++this.#clock,
			completedAt: Infinity,
			atomic: writeNumber !== 0 && lengthBytes <= this.atomicBytes && lengthBytes < this.unorderedBytes,
			ordered: writeNumber === 0 || lengthBytes < this.unorderedBytes,
		};
		this.#commands.push(command);
		for (let block = command.firstBlock; block < command.firstBlock + command.blocks; block++) (this.#history[block] ??= []).push(command);
		return command;
	}

	complete(command: Command, outcome: Outcome): void {
		const at = ++this.#clock;
		if (outcome === 'good') command.completedAt = at;
		// Refused for space: nothing of it may ever be seen. Any other failure leaves open what became of it.
		else if (outcome === 'noSpace' && command.atomic) this.#forget(command);
	}

	submitFlush(): Flush {
		const flush = { submittedAt: ++this.#clock, completedAt: Infinity };
		this.#flushes.push(flush);
		return flush;
	}

	completeFlush(flush: Flush, outcome: Outcome): void {
		const at = ++this.#clock;
		if (outcome === 'good') flush.completedAt = at;
	}

	submitResize(sizeBytes: number): Resize {
		const resize = { sizeBytes, submittedAt: ++this.#clock, completedAt: Infinity };
		this.#resizes.push(resize);
		return resize;
	}

	completeResize(resize: Resize): void {
		resize.completedAt = ++this.#clock;
	}

	/** Something happens that is no command: its time. */
	tick(): number {
		return ++this.#clock;
	}

	/**
	 * Judges what a snapshot shows that was asked for at `since` and answered at `until`: all that was acknowledged before, nothing that was submitted after, in the order of
	 * the log, atomic commands whole. One that was not acknowledged (a crash came first) may show less of what is not ordered.
	 */
	judgeSnapshot(observed: Int32Array, since: number, until: number, isAcknowledged: boolean): Finding | undefined {
		const seen = this.#seen(observed, until);
		const seenSubmittedAt = Math.max(initially, ...[...seen].filter(({ ordered }) => ordered).map(({ submittedAt }) => submittedAt));
		const must = (command: Command): boolean => {
			if ((command.ordered && command.completedAt < seenSubmittedAt) || (command.atomic && seen.has(command))) return true;
			return command.completedAt < since && (isAcknowledged || command.ordered);
		};
		for (let block = 0; block < observed.length; block++) {
			const finding = this.#judgeBlock(block, observed[block] ?? -1, until, must);
			if (finding !== undefined) return finding;
		}
		return undefined;
	}

	/** The moment of an ending now. */
	moment(ending: Ending): Moment {
		return { model: this, at: this.#clock, ending };
	}

	/** Judges what a reader saw that began at `since`, block by block: no crash between. */
	judgeRead(observed: Int32Array, firstBlock: number, since: number): Finding | undefined {
		const must = (command: Command): boolean => command.completedAt < since;
		for (let index = 0; index < observed.length; index++) {
			const finding = this.#judgeBlock(firstBlock + index, observed[index] ?? -1, this.#clock, must);
			if (finding !== undefined) return finding;
		}
		return undefined;
	}

	/** Judges all that a volume holds after an ending at `at`. */
	judge(observed: Int32Array, at: number, ending: Ending): Finding | undefined {
		const sizeFinding = this.#judgeSize(observed.length * sectorBytes, at);
		if (sizeFinding !== undefined) return sizeFinding;
		const flushedUpTo = this.#flushes.reduce(
			(upTo, flush) => (flush.completedAt <= at ? Math.max(upTo, flush.submittedAt) : upTo),
			initially,
		);
		const seen = this.#seen(observed, at);
		const seenSubmittedAt = Math.max(initially, ...[...seen].filter(({ ordered }) => ordered).map(({ submittedAt }) => submittedAt));
		const must = (command: Command): boolean => {
			if ((command.ordered && command.completedAt < seenSubmittedAt) || (command.atomic && seen.has(command))) return true;
			if (ending === 'logCut') return false;
			return command.completedAt <= flushedUpTo || (command.completedAt <= at && (ending === 'killed' || command.fua));
		};
		for (let block = 0; block < observed.length; block++) {
			const finding = this.#judgeBlock(block, observed[block] ?? -1, at, must);
			if (finding !== undefined) return finding;
		}
		return undefined;
	}

	/**
	 * The model of the volume's next life, after a look at all blocks. After a power loss what is shown is on the medium and nothing else ever comes back. After
	 * `kill -9` all that was unsynced still is, and of what was under way is settled whether it is there.
	 */
	next(observed: Int32Array, at: number, ending: Ending): VolumeModel {
		const next = new VolumeModel(
			observed.length * sectorBytes,
			this.atomicBytes,
			ending === 'killed' ? this.#base : observed,
			this.unorderedBytes,
		);
		if (ending === 'powerLost') return next;
		next.#clock = at + 1;
		const seen = this.#seen(observed, at);
		for (const old of this.#commands) {
			if (old.submittedAt > at) continue;
			const underWay = old.completedAt > at;
			// What was not acknowledged is not promised to anybody, FUA or not.
			const command: Command = underWay ? { ...old, fua: false, completedAt: next.#clock } : { ...old };
			next.#commands.push(command);
			const isWhole = !underWay || (command.atomic && seen.has(old));
			for (let block = command.firstBlock; block < command.firstBlock + command.blocks; block++) {
				if (this.#history[block]?.includes(old) !== true || (!isWhole && this.#isUnseen(old, block, observed[block] ?? 0, at))) continue;
				(next.#history[block] ??= []).push(command);
			}
		}
		for (const flush of this.#flushes) if (flush.completedAt <= at) next.#flushes.push({ ...flush });
		return next;
	}

	/** True if a block shows a version that is certainly older than the command. */
	#isUnseen(command: Command, block: number, shown: number, at: number): boolean {
		const candidates = this.#history[block]?.filter((other) => other.writeNumber === shown && other.submittedAt <= at) ?? [];
		return candidates.every((candidate) => candidate.completedAt < command.submittedAt);
	}

	#forget(command: Command): void {
		for (let block = command.firstBlock; block < command.firstBlock + command.blocks; block++) {
			const history = this.#history[block];
			const index = history?.indexOf(command) ?? -1;
			if (index >= 0) history?.splice(index, 1);
		}
	}

	#judgeSize(sizeBytes: number, at: number): Finding | undefined {
		const done = this.#resizes.findLast((resize) => resize.completedAt <= at);
		const allowed = this.#resizes.filter((resize) => resize.submittedAt <= at && resize.submittedAt >= (done?.submittedAt ?? initially));
		if (allowed.some((resize) => resize.sizeBytes === sizeBytes)) return undefined;
		return { text: `the size is ${sizeBytes}, and should be ${allowed.map((resize) => resize.sizeBytes).join(' or ')}` };
	}

	/** The commands of which some block is certainly seen. */
	#seen(observed: Int32Array, at: number): Set<Command> {
		const seen = new Set<Command>();
		let last: Command | undefined;
		for (let block = 0; block < observed.length; block++) {
			const shown = observed[block] ?? 0;
			if (shown === 0 && this.#baseOf(block) === 0) continue;
			if (last !== undefined && shown !== 0 && last.writeNumber === shown) continue;
			const candidates = this.#history[block]?.filter((command) => command.writeNumber === shown && command.submittedAt <= at) ?? [];
			if (candidates.length !== 1) continue;
			last = candidates[0];
			if (last !== undefined) seen.add(last);
		}
		return seen;
	}

	#judgeBlock(block: number, shown: number, at: number, must: (command: Command) => boolean): Finding | undefined {
		if (shown === unreadable) return undefined;
		if (shown < 0) return { text: 'the block is torn, mixed or from elsewhere', block };
		const history = this.#history[block];
		const base = this.#baseOf(block);
		if (history === undefined)
			return shown === base ? undefined : { text: `shows ${nameOf(shown)}, expected ${nameOf(base)} of before`, block };
		let mustSince = initially - 1;
		let newest: Command | undefined;
		// The youngest end of a version that looks like what is shown.
		let shownUntil = shown === base ? initially : -Infinity;
		for (const command of history) {
			if (command.submittedAt > at) break;
			if (command.writeNumber === shown) shownUntil = Math.max(shownUntil, command.completedAt);
			if (command.submittedAt > mustSince && must(command)) {
				mustSince = command.submittedAt;
				newest = command;
			}
		}
		if (shownUntil === -Infinity) return { text: `shows ${nameOf(shown)}, which was never written there`, block };
		if (mustSince <= shownUntil) return undefined;
		const step = newest === undefined ? '' : ` of step ${newest.step}`;
		return { text: `shows ${nameOf(shown)}, but ${nameOf(newest?.writeNumber ?? 0)}${step} came later and must be there`, block };
	}

	#baseOf(block: number): number {
		return this.#base[block] ?? 0;
	}
}

function nameOf(writeNumber: number): string {
	return writeNumber === 0 ? 'zeros' : `write ${writeNumber}`;
}
