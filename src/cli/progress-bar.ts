const barWidth = 30;

/** How far long work is: one line of a terminal that is drawn over. Where there is no terminal, nothing is drawn. */
export class ProgressBar {
	readonly #label: string;
	readonly #stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>;
	#drawn = '';

	constructor(label: string, stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'> = process.stderr) {
		this.#label = label;
		this.#stream = stream;
	}

	/** `done` is from 0 to 1; undefined while nobody knows. */
	update(done: number | undefined, note = ''): void {
		if (!this.#stream.isTTY) return;
		const known = done === undefined ? undefined : Math.min(1, Math.max(0, done));
		const filled = Math.round((known ?? 0) * barWidth);
		const percent = known === undefined ? '  ?' : String(Math.floor(known * 100)).padStart(3);
		const line = `${this.#label} [${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${percent} %${note === '' ? '' : `  ${note}`}`;
		const shown = line.slice(0, (this.#stream.columns || 80) - 1);
		if (shown === this.#drawn) return;
		this.#drawn = shown;
		this.#stream.write(`\r${shown}\u001b[K`);
	}

	/** Takes the line away. */
	end(): void {
		if (this.#drawn !== '') this.#stream.write('\r\u001b[K');
		this.#drawn = '';
	}
}
