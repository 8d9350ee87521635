import { limits } from './limits.ts';
import type { Nexus } from './nexus.ts';

/** What RECEIVE COPY RESULTS tells of a copy (SPC-4, COPY STATUS). */
export interface CopyProgress {
	state: 'inProgress' | 'good' | 'failed';
	segments: number;
	bytes: number;
}

/**
 * The copies of one logical unit: those under way, and what became of the latest ones, by nexus and list identifier. A nexus keeps limits.copyResultsPerNexus; the oldest that is over
 * gives way.
 */
export class Copies {
	readonly #kept = new Map<Nexus, Map<number, CopyProgress>>();
	#running = 0;

	/** Undefined: so many copies are under way already. Without an identifier nobody asks for it. */
	begin(nexus: Nexus, identifier: number | undefined): CopyProgress | undefined {
		if (this.#running === limits.copiesPerUnit) return undefined;
		this.#running++;
		const progress: CopyProgress = { state: 'inProgress', segments: 0, bytes: 0 };
		if (identifier !== undefined) this.#keep(nexus, identifier, progress);
		return progress;
	}

	/** With `discard` nothing is kept of it. */
	end(nexus: Nexus, identifier: number | undefined, progress: CopyProgress, discard: boolean): void {
		this.#running--;
		const kept = this.#kept.get(nexus);
		if (discard && identifier !== undefined && kept?.get(identifier) === progress) kept.delete(identifier);
	}

	get(nexus: Nexus, identifier: number): CopyProgress | undefined {
		return this.#kept.get(nexus)?.get(identifier);
	}

	/** The nexus is lost, or (without one) the unit was reset. */
	forget(nexus?: Nexus): void {
		if (nexus === undefined) this.#kept.clear();
		else this.#kept.delete(nexus);
	}

	#keep(nexus: Nexus, identifier: number, progress: CopyProgress): void {
		let kept = this.#kept.get(nexus);
		if (kept === undefined) this.#kept.set(nexus, (kept = new Map<number, CopyProgress>()));
		kept.delete(identifier);
		for (const [old, { state }] of kept) {
			if (kept.size < limits.copyResultsPerNexus) break;
			if (state !== 'inProgress') kept.delete(old);
		}
		kept.set(identifier, progress);
	}
}
