import { limits, pageBytes } from './limits.ts';
import { RegionFilter } from './region-filter.ts';

/** The unit of marks: docs/format.md, "marks". */
export const regionPages = limits.regionBytes / pageBytes;
/** Regions that are marked at once, from one that was wished for again and again. */
const stretchRegions = 16;
/** The same for a writer that goes on where it was. */
const aheadRegions = 96;
/** How far such a writer is kept from what is not marked: what it has under way, and what it writes until the superblock is durable (120 ms at 1.3 GB/s, on a disk that is busy with that). */
const leadRegions = 160;
const wantedRegionsMax = 256;
/** Stretches that wait to be marked. */
const dueMax = 16;

/** A writer that comes back to a region later than after so many others is not waited for (Tuning.flushDirectPagesMax). */
const lateRegions = (limits.marksMax * 3) / 4;
/** Generations that are remembered: 1.5 GiB in pieces of 256 MiB are six. */
const generationsMax = 8;

interface Mark {
	/** Its record is durable: the region may be written in place. */
	usable: boolean;
	/** Writes that are under way in it. */
	running: number;
	/** The generation that the newest write in it belongs to. */
	usedIn: number;
	/** A write has begun in it. */
	used: boolean;
}

interface Due {
	region: number;
	regions: number;
}

/**
 * Which regions of the live layer may be overwritten in place: those whose mark is durable. After a crash the pages of marked regions are compared with their checksums,
 * and what does not match is taken as it is: it was being changed.
 *
 *   wanted ── often enough ─→ due ── takeDue() ─→ marked ── superblock durable ─→ usable ── a flusher cycle without use ─→ gone
 *
 * Invariants: what is usable is in the superblock; at most limits.marksMax.
 */
export class Marks {
	readonly #marks = new Map<number, Mark>();
	readonly #wanted = new Map<number, number>();
	readonly #wantedMin: number;
	#due: Due[] = [];
	#generation = 0;
	/** What the latest generations have written in place, the live one first … */
	readonly #lately: Written[] = [new Written()];
	/** … and so many regions of the live one were in another of them. */
	#rewritten = 0;
	#endRegion: number;
	#suspensions = 0;

	/** `settled`: regions that replay has settled. They stay named until what it found is flushed, and are not usable. */
	constructor(settled: readonly number[], sizeBytes: number, wantedMin: number) {
		this.#wantedMin = wantedMin;
		for (const region of settled) this.#marks.set(region, { usable: false, running: 0, usedIn: -1, used: false });
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
			if (!mark.used || mark.usedIn !== this.#generation) this.#enter(region * regionPages);
			mark.usedIn = this.#generation;
			mark.used = true;
		}
		if (this.#marks.get(first - 1)?.used === true) this.#goAhead(last);
		return true;
	}

	end(firstPage: number, endPage: number): void {
		for (let region = Math.floor(firstPage / regionPages); region * regionPages < endPage; region++)
			(this.#marks.get(region) as Mark).running--;
	}

	/** The next stretch of regions to mark; from now on they count as marked. */
	takeDue(): number[] | undefined {
		const due = this.#due.shift();
		if (due === undefined) return undefined;
		const regions: number[] = [];
		for (let { region } = due; regions.length < due.regions && this.#mayMark(region); region++) {
			this.#marks.set(region, { usable: false, running: 0, usedIn: this.#generation, used: false });
			regions.push(region);
		}
		return regions.length === 0 ? this.takeDue() : regions;
	}

	/** All that are marked. */
	regions(): number[] {
		return [...this.#marks.keys()];
	}

	/** The superblock names them, on stable storage. */
	durable(regions: readonly number[]): void {
		for (const region of regions) {
			const mark = this.#marks.get(region);
			if (mark !== undefined) mark.usable = true;
		}
	}

	/** The generation of the writes that begin from now on is the next one. */
	froze(): void {
		this.#generation++;
		this.#rewritten = 0;
		let regions = this.#lately.reduce((sum, written) => sum + written.regions, 0);
		while (this.#lately.length > 1 && (regions > lateRegions || this.#lately.length >= generationsMax))
			regions -= (this.#lately.pop() as Written).regions;
		// One that wrote nothing in place tells nothing.
		if (this.#lately[0]!.regions > 0) this.#lately.unshift(new Written());
	}

	/** Most of what this generation has written in place was written in the ones before it, too: a writer that goes over the same regions again and again. */
	get isRewriting(): boolean {
		return this.#rewritten > 0 && this.#rewritten * 2 >= this.#lately[0]!.regions;
	}

	/**
	 * For the superblock that ends a flusher cycle: every region but those that nobody has written since the generation before the frozen one; when half of the marks are taken, but
	 * those whose writes the cycle has flushed.
	 */
	remaining(): number[] {
		const isCrowded = this.#marks.size > limits.marksMax / 2;
		for (const [region, { running, usedIn, used }] of this.#marks) {
			const age = this.#generation - usedIn;
			if (running === 0 && age > (isCrowded && used ? 0 : 1)) this.#marks.delete(region);
		}
		return this.regions();
	}

	/** The first write of this generation in a region, or one that looks like it. */
	#enter(page: number): void {
		const now = this.#lately[0]!;
		if (now.filter.mayHold(page)) return;
		if (this.#lately.some(({ filter }) => filter.mayHold(page))) this.#rewritten++;
		now.filter.add(page);
		now.regions++;
	}

	#mayMark(region: number): boolean {
		return region < this.#endRegion && !this.#marks.has(region) && this.#marks.size < limits.marksMax;
	}

	#want(region: number): void {
		if (!this.#mayMark(region)) return;
		// What is logged now stays in the log until the next flush; but whoever goes on from the region before this one will come to those behind it.
		if (this.#wanted.has(region - 1) || this.#marks.get(region - 1)?.used === true) this.#goAhead(region);
		const times = (this.#wanted.get(region) ?? 0) + 1;
		this.#wanted.delete(region);
		if (times >= this.#wantedMin) {
			this.#makeDue(region, stretchRegions);
			return;
		}
		this.#wanted.set(region, times);
		if (this.#wanted.size > wantedRegionsMax) this.#wanted.delete(this.#wanted.keys().next().value as number);
	}

	/** Has the next regions of a sequential writer marked, which is in `region` now. */
	#goAhead(region: number): void {
		const end = region + leadRegions;
		if (this.#marks.has(end)) return;
		let next = region + 1;
		while (this.#marks.has(next)) next++;
		this.#makeDue(next, aheadRegions);
	}

	#makeDue(region: number, regions: number): void {
		if (this.#mayMark(region) && this.#due.length < dueMax && !this.#due.some((due) => due.region === region))
			this.#due.push({ region, regions });
	}
}

/** The regions that a generation has written in place. */
class Written {
	readonly filter = new RegionFilter();
	regions = 0;
}
