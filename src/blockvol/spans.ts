/** Pages of the layer that a write is changing now. */
export interface Span {
	readonly first: number;
	readonly end: number;
	/** The pages had content that readers may ask for: they wait until it is over. */
	readonly isOverwrite: boolean;
}

/** The writes that go straight to the layer and are under way: few, so a list is enough. */
export class Spans {
	readonly #spans: Span[] = [];
	#overwrites = 0;
	#waiting: (() => void)[] = [];
	readonly #waitingForNone: (() => void)[] = [];
	/** Raised while a snapshot waits: who counts here begins none, so that those that run come to an end. */
	suspensions = 0;
	/** Overwrites that have ended: what was read while this changed may be of two versions. */
	ended = 0;

	get isEmpty(): boolean {
		return this.#spans.length === 0;
	}

	add(span: Span): void {
		this.#spans.push(span);
		if (span.isOverwrite) this.#overwrites++;
	}

	remove(span: Span): void {
		this.#spans.splice(this.#spans.indexOf(span), 1);
		if (this.#spans.length === 0) for (const resolve of this.#waitingForNone.splice(0)) resolve();
		if (!span.isOverwrite) return;
		this.#overwrites--;
		this.ended++;
		for (const resolve of this.#waiting.splice(0)) resolve();
	}

	/** Resolves when no write goes straight to the layer. */
	async whenEmpty(): Promise<void> {
		while (!this.isEmpty) await new Promise<void>((resolve) => this.#waitingForNone.push(resolve));
	}

	overlaps(first: number, end: number): boolean {
		for (const span of this.#spans) if (span.first < end && span.end > first) return true;
		return false;
	}

	/** True if what the pages hold is being changed. */
	isChanging(first: number, end: number): boolean {
		if (this.#overwrites === 0) return false;
		for (const span of this.#spans) if (span.isOverwrite && span.first < end && span.end > first) return true;
		return false;
	}

	async whenStill(first: number, end: number): Promise<void> {
		while (this.isChanging(first, end)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
	}
}
