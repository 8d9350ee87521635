import { StoreError } from './object-store.ts';

/**
 * How many requests may be under way: up to `most`, halved when the server says that it is too much, and grown by one for each round of successes. Who has to wait is served in turn.
 *
 * Invariant: underWay <= max(1, floor(window)), but for requests that were under way already when the window shrank.
 */
export class Pace {
	readonly #most: number;
	readonly #waitingMax: number;
	readonly #waiting: (() => void)[] = [];
	#window: number;
	#underWay = 0;
	/** Successes and refusals of requests that began before the last refusal say nothing new. */
	#round = 0;

	constructor(most: number, waitingMax: number) {
		this.#most = most;
		this.#waitingMax = waitingMax;
		this.#window = most;
	}

	get window(): number {
		return Math.max(1, Math.floor(this.#window));
	}

	get underWay(): number {
		return this.#underWay;
	}

	/** Runs when there is a place; rejects with the signal's reason if that comes first. */
	async run<T>(signal: AbortSignal, work: () => Promise<T>, refused: (error: unknown) => boolean): Promise<T> {
		await this.#enter(signal);
		const round = this.#round;
		try {
			const result = await work();
			if (round === this.#round) this.#window = Math.min(this.#most, this.#window + 1 / this.#window);
			return result;
		} catch (error) {
			if (refused(error) && round === this.#round) {
				this.#window = Math.max(1, this.#window / 2);
				this.#round++;
			}
			throw error;
		} finally {
			this.#underWay--;
			this.#admit();
		}
	}

	async #enter(signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		if (this.#underWay < this.window && this.#waiting.length === 0) {
			this.#underWay++;
			return;
		}
		if (this.#waiting.length >= this.#waitingMax) {
			throw new StoreError('failed', `${this.#waiting.length} requests wait for the server already`, { retryable: true });
		}
		await new Promise<void>((resolve, reject) => {
			const enter = (): void => {
				signal.removeEventListener('abort', leave);
				this.#underWay++;
				resolve();
			};
			const leave = (): void => {
				this.#waiting.splice(this.#waiting.indexOf(enter), 1);
				reject(signal.reason as Error);
			};
			this.#waiting.push(enter);
			signal.addEventListener('abort', leave, { once: true });
		});
	}

	#admit(): void {
		while (this.#waiting.length > 0 && this.#underWay < this.window) this.#waiting.shift()?.();
	}
}
