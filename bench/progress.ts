const barWidth = 24;
const drawMs = 100;

/** Where a lane is: one line on stderr, drawn anew on a terminal, and a line for each step elsewhere. What takes long may report its share meanwhile. */
export class Progress {
	readonly #steps: number;
	readonly #isTerminal = process.stderr.isTTY;
	readonly #startMs = performance.now();
	#done = 0;
	#what = '';
	#drawnMs = 0;

	constructor(steps: number) {
		this.#steps = steps;
	}

	/** A step begins. */
	step(what: string): void {
		this.#what = what;
		this.#draw(0);
		if (!this.#isTerminal) process.stderr.write(`${this.#line(0)}\n`);
	}

	/** So much of the present step is done (0 to 1). Shown on a terminal only. */
	share(share: number): void {
		if (performance.now() - this.#drawnMs >= drawMs) this.#draw(share);
	}

	/** The step is over; `result` stays to be read. */
	done(result: string): void {
		this.#done++;
		if (this.#isTerminal) process.stderr.write('\r\x1b[K');
		process.stderr.write(this.#isTerminal ? `${this.#what}: ${result}\n` : `  ${result}\n`);
	}

	#draw(share: number): void {
		this.#drawnMs = performance.now();
		if (this.#isTerminal) process.stderr.write(`\r\x1b[K${this.#line(share)}`.slice(0, (process.stderr.columns || 120) + 4));
	}

	#line(share: number): string {
		return `${progressBar((this.#done + share) / this.#steps)} ${this.#done + 1}/${this.#steps}${this.#left(share)}  ${this.#what}`;
	}

	#left(share: number): string {
		const part = (this.#done + share) / this.#steps;
		// The first steps say little about the others.
		if (this.#done < 2) return '';
		return `, ${minutes(((performance.now() - this.#startMs) / 1000 / part) * (1 - part))} left`;
	}
}

export function progressBar(share: number): string {
	const full = Math.round(Math.min(1, Math.max(0, share)) * barWidth);
	return `[${'#'.repeat(full)}${'.'.repeat(barWidth - full)}]`;
}

export function minutes(seconds: number): string {
	const whole = Math.round(seconds);
	return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}
