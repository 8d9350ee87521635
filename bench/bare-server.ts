import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { run, ServerProcess } from '../test/conformance/servers/server-process.ts';
import type { OfferedUnit, ServerSettings, TargetServer } from '../test/conformance/servers/target-server.ts';

const source = join(import.meta.dirname, 'bare-server.c');
const compilers = ['cc', 'gcc', 'clang'];
const pieceBytes = 4 * 1024 * 1024;

/** No compiler: the bench goes on without this server. */
export class NoCompiler extends Error {
	constructor() {
		super(
			`no C compiler (${compilers.join(', ')}) is installed, so bare-c cannot be built: apt-get install gcc, or leave it out of --servers.`,
		);
	}
}

/** bare-server.c, built where its data lies: a file of random bytes, which it serves out of the page cache. */
export class BareServer implements TargetServer {
	readonly name = 'bare-c';
	readonly units: readonly OfferedUnit[];
	readonly folder: string;
	port = 0;
	readonly #cpu: number | undefined;
	#process: ServerProcess | undefined = undefined;

	constructor({ folder, units, cpu }: ServerSettings) {
		this.folder = folder;
		this.units = units;
		this.#cpu = cpu;
	}

	get process(): ServerProcess {
		if (this.#process === undefined) throw new Error('bare-c is not running');
		return this.#process;
	}

	/** Rejects with NoCompiler. */
	async start(): Promise<void> {
		const program = join(this.folder, 'bare-server');
		const file = join(this.folder, 'data');
		if (!existsSync(program)) await build(program);
		if (!existsSync(file)) await fill(file, this.units[0]!.sizeBytes);
		this.#process = new ServerProcess({ command: program, args: [file], cpu: this.#cpu });
		const ready = await this.#process.line(/^bare-c ready/);
		this.port = Number(ready.split(' ').at(-1));
	}

	async kill(): Promise<void> {
		await this.process.end('SIGKILL');
	}

	async stop(): Promise<string> {
		return await this.process.end('SIGTERM');
	}
}

async function build(program: string): Promise<void> {
	for (const compiler of compilers) {
		try {
			// The next one only where this one is missing.
			await run(compiler, ['-O2', '-o', program, source]);
			return;
		} catch (error) {
			if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
		}
	}
	throw new NoCompiler();
}

async function fill(path: string, sizeBytes: number): Promise<void> {
	const piece = randomFillSync(Buffer.alloc(pieceBytes));
	const stream = createWriteStream(path);
	for (let at = 0; at < sizeBytes; at += pieceBytes) {
		// Otherwise all pieces would be alike.
		piece.writeBigUInt64LE(BigInt(at), 0);
		if (!stream.write(piece.subarray(0, Math.min(pieceBytes, sizeBytes - at)))) await once(stream, 'drain');
	}
	stream.end();
	await once(stream, 'finish');
}
