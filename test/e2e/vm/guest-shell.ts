import { connect, type Socket } from 'node:net';

const mark = '\x1e';
/** What is kept of one command's output. */
const outputCharactersMax = 4 * 1024 * 1024;

export interface Finished {
	readonly code: number;
	readonly output: string;
}

interface Running {
	output: string;
	onLine(line: string): void;
	resolve(finished: Finished): void;
	reject(error: Error): void;
}

/** The host's end of one shell in the guest (guest/shell.sh): one script at a time. */
export class GuestShell {
	readonly #socket: Socket;
	#running: Running | undefined = undefined;
	#rest = '';

	private constructor(socket: Socket) {
		this.#socket = socket;
		socket.setEncoding('utf8').on('data', (text: string) => this.#text(text));
		socket.on('error', () => socket.destroy());
		socket.on('close', () => this.#running?.reject(new Error('the guest is gone')));
	}

	/** path: the socket that qemu listens at. */
	static async connected(path: string): Promise<GuestShell> {
		return await new Promise((resolve, reject) => {
			const socket = connect(path, () => resolve(new GuestShell(socket)));
			socket.once('error', reject);
		});
	}

	get isBusy(): boolean {
		return this.#running !== undefined;
	}

	/** Rejects when the guest ends first. */
	run(script: string, onLine: (line: string) => void): Promise<Finished> {
		return new Promise((resolve, reject) => {
			if (this.#socket.destroyed) {
				reject(new Error('the guest is gone'));
				return;
			}
			this.#running = { output: '', onLine, resolve, reject };
			this.#socket.write(`${Buffer.from(script).toString('base64')}\n`);
		});
	}

	close(): void {
		this.#socket.destroy();
	}

	#text(text: string): void {
		const lines = (this.#rest + text).split('\n');
		this.#rest = lines.pop() ?? '';
		for (const line of lines) this.#line(line.replace(/\r$/, ''));
	}

	#line(line: string): void {
		const running = this.#running;
		if (running === undefined) return;
		// Output that does not end with a newline has the mark behind it.
		const at = line.indexOf(mark);
		const text = at < 0 ? line : line.slice(0, at);
		if (at !== 0) {
			running.onLine(text);
			if (running.output.length < outputCharactersMax) running.output += `${text}\n`;
		}
		if (at < 0) return;
		this.#running = undefined;
		running.resolve({ code: Number(line.slice(at + 1)), output: running.output });
	}
}
