import { limits, pageBytes } from './limits.ts';

/** The unit of marks: docs/format.md, "marks". */
export const regionPages = limits.regionBytes / pageBytes;
/** Regions that are marked at once, ahead of a writer that goes on where it was. */
const aheadRegions = 16;
const wantedRegionsMax = 256;

interface Mark {
	/** Its record is durable: the region may be written in place. */
	usable: boolean;
	/** Writes that are under way in it. */
	running: number;
	/** The generation that the newest write in it belongs to. */
	usedIn: number;
}

/**
 * Which regions of the live layer may be overwritten in place: those whose mark is durable. After a crash the pages of marked regions are compared with their checksums,
 * and what does not match is taken as it is: it was being changed.
 *
 *   wanted ── often enough ─→ due ── takeDue() ─→ marked ── record durable ─→ usable ── a flusher cycle without use ─→ gone
 *
 * Invariants: what is not gone is in the log above the checkpoint or in the superblock; at most limits.marksMax.
 */
export class Marks {
	readonly #marks = new Map<number, Mark>();
	readonly #wanted = new Map<number, number>();
	readonly #wantedMin: number;
	#due: number[] = [];
	#generation = 0;
	#endRegion: number;
	#suspensions = 0;

	/** `settled`: regions that replay has settled. They stay named until what it found is flushed, and are not usable. */
	constructor(settled: readonly number[], sizeBytes: number, wantedMin: number) {
		this.#wantedMin = wantedMin;
		for (const region of settled) this.#marks.set(region, { usable: false, running: 0, usedIn: -1 });
		this.#endRegion = Math.ceil(sizeBytes / limits.regionBytes);
	}

	get hasDue(): boolean {
		return this.#due.length > 0 && this.#suspensions === 0;
	}

	/**
	 * No region is marked, and no write in place begins, until as many calls of resume(). All marks belong to one layer: the live one of the superblock. So while a snapshot
	 * is pending there are no new ones.
	 */
	suspend(): void {
		this.#suspensions++;
	}

	resume(): void {
		this.#suspensions--;
	}

	/** Another layer is the live one of the superblock. Nobody writes in place. */
	clear(): void {
		this.#marks.clear();
		this.#wanted.clear();
		this.#due = [];
	}

	grown(sizeBytes: number): void {
		this.#endRegion = Math.ceil(sizeBytes / limits.regionBytes);
	}

	/** Begins a write in place; false if it must go through the log, which counts as a wish. */
	begin(firstPage: number, endPage: number): boolean {
		if (this.#suspensions > 0) return false;
		const first = Math.floor(firstPage / regionPages);
		const last = Math.floor((endPage - 1) / regionPages);
		for (let region = first; region <= last; region++) {
			if (this.#marks.get(region)?.usable === true) continue;
			this.#want(region);
			return false;
		}
		for (let region = first; region <= last; region++) {
			const mark = this.#marks.get(region) as Mark;
			mark.running++;
			mark.usedIn = this.#generation;
		}
		const ahead = last + aheadRegions / 2;
		if (!this.#marks.has(ahead) && this.#marks.has(first - 1)) this.#makeDue(ahead);
		return true;
	}

	end(firstPage: number, endPage: number): void {
		for (let region = Math.floor(firstPage / regionPages); region * regionPages < endPage; region++)
			(this.#marks.get(region) as Mark).running--;
	}

	/** The next stretch of regions to mark, as pages; from now on they count as marked. */
	takeDue(sizeBytes: number): { firstPage: number; pages: number; regions: number[] } | undefined {
		const first = this.#due.shift();
		if (first === undefined) return undefined;
		const regions: number[] = [];
		for (let region = first; regions.length < aheadRegions && this.#mayMark(region); region++) {
			this.#marks.set(region, { usable: false, running: 0, usedIn: this.#generation });
			regions.push(region);
		}
		if (regions.length === 0) return this.takeDue(sizeBytes);
		const endPage = Math.min((first + regions.length) * regionPages, sizeBytes / pageBytes);
		return { firstPage: first * regionPages, pages: endPage - first * regionPages, regions };
	}

	/** No record could be written for them. */
	forget(regions: readonly number[]): void {
		for (const region of regions) this.#marks.delete(region);
	}

	/** Their record is on stable storage. */
	durable(regions: readonly number[]): void {
		for (const region of regions) {
			const mark = this.#marks.get(region);
			if (mark !== undefined) mark.usable = true;
		}
	}

	/** The generation of the writes that begin from now on is the next one. */
	froze(): void {
		this.#generation++;
	}

	/** For the superblock that ends a flusher cycle: every region but those that nobody has written since the generation before the frozen one. */
	remaining(): number[] {
		for (const [region, { running, usedIn }] of this.#marks) if (running === 0 && usedIn < this.#generation - 1) this.#marks.delete(region);
		return [...this.#marks.keys()];
	}

	#mayMark(region: number): boolean {
		return region < this.#endRegion && !this.#marks.has(region) && this.#marks.size < limits.marksMax;
	}

	#want(region: number): void {
		if (!this.#mayMark(region)) return;
		const times = (this.#wanted.get(region) ?? 0) + 1;
		this.#wanted.delete(region);
		if (times >= this.#wantedMin) {
			this.#makeDue(region);
			return;
		}
		this.#wanted.set(region, times);
		if (this.#wanted.size > wantedRegionsMax) this.#wanted.delete(this.#wanted.keys().next().value as number);
	}

	#makeDue(region: number): void {
		if (this.#mayMark(region) && this.#due.length < aheadRegions && !this.#due.includes(region)) this.#due.push(region);
	}
}
