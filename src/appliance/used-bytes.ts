import { VolumeUsageError } from '../blockvol/volume-fault.ts';
import { kernelCode } from './kernel-code.ts';

/** An answer older than this is asked for anew. */
const freshMs = 1000;

/** The disk space of a volume for those who cannot wait for the kernel: the last answer, at most one question under way. */
export class UsedBytes {
	readonly #ask: () => Promise<number>;
	readonly #now: () => number;
	#latest: number | undefined;
	#askedMs = -Infinity;
	#isAsking = false;

	constructor(ask: () => Promise<number>, now: () => number = () => performance.now()) {
		this.#ask = ask;
		this.#now = now;
		this.#refresh();
	}

	/** Undefined until the first answer is there. */
	get latest(): number | undefined {
		this.#refresh();
		return this.#latest;
	}

	#refresh(): void {
		if (this.#isAsking || this.#now() - this.#askedMs < freshMs) return;
		this.#askedMs = this.#now();
		this.#isAsking = true;
		void this.#answer();
	}

	async #answer(): Promise<void> {
		try {
			this.#latest = await this.#ask();
		} catch (error) {
			// The volume is being closed, or its disk fails, which its own commands will find and tell: the old answer stands.
			if (!(error instanceof VolumeUsageError) && kernelCode(error) === '') throw error;
		} finally {
			this.#isAsking = false;
		}
	}
}
