import { readFileSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { join, resolve } from 'node:path';
import { UsageError } from '../config/usage-error.ts';
import { errorCode } from '../os/disk.ts';
import { pastedCommand } from './pasted-command.ts';
import { unreadable } from './secret.ts';

/** Which appliance a command speaks to: the flags of every command but serve. */
export interface Whereabouts {
	readonly dataDir: string;
	readonly socket?: string;
	readonly host?: string;
	readonly tokenFile?: string;
}

/** The appliance said no, or could not be asked. */
export class ApiError extends Error {
	override readonly name = 'ApiError';
	/** HTTP status; 0 when there was no answer. */
	readonly status: number;

	constructor(message: string, status: number, options?: ErrorOptions) {
		super(message, options);
		this.status = status;
	}
}

/** A request or an answer of bytes. */
export interface BytesRequest {
	readonly headers?: Readonly<Record<string, string>>;
	readonly body?: Buffer;
	/** How long the appliance may say nothing. */
	readonly timeoutMs?: number;
}

export interface BytesAnswer {
	readonly status: number;
	readonly headers: IncomingMessage['headers'];
	readonly trailers: IncomingMessage['trailers'];
	readonly body: Buffer;
}

/** An answer is a listing of bounded things; what is longer is not from a blockport. */
const answerBytesMax = 64 * 2 ** 20;
const usualTimeoutMs = 120_000;

export class ApiClient {
	readonly #place: string;
	/** The command that starts an appliance there. */
	readonly #start: string;
	readonly #options: RequestOptions;
	readonly #headers: Record<string, string>;
	readonly #request: typeof plainRequest;

	/** Throws UsageError for a host that is no URL and a token file that cannot be read. */
	constructor(where: Whereabouts) {
		this.#request = plainRequest;
		// Who names an address may mean another machine, where nothing is known of directories.
		const { dataDir, socket } = where;
		this.#start = pastedCommand(['serve'], { dataDir, ...(socket === undefined ? {} : { socket }) });
		if (where.host === undefined || where.socket !== undefined) {
			const socketPath = resolve(where.socket ?? join(where.dataDir, 'blockport.sock'));
			this.#place = socketPath;
			this.#options = { socketPath };
			this.#headers = { host: 'localhost' };
			return;
		}
		const url = parseHost(where.host);
		if (url.protocol === 'https:') this.#request = tlsRequest;
		this.#place = url.origin;
		const token = readToken(where.tokenFile);
		this.#options = { hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: url.port };
		this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
	}

	get<T>(path: string): Promise<T> {
		return this.#call<T>('GET', path);
	}

	post<T>(path: string, body: object): Promise<T> {
		return this.#call<T>('POST', path, body);
	}

	put<T>(path: string, body?: object): Promise<T> {
		return this.#call<T>('PUT', path, body);
	}

	patch<T>(path: string, body: object): Promise<T> {
		return this.#call<T>('PATCH', path, body);
	}

	delete<T>(path: string): Promise<T> {
		return this.#call<T>('DELETE', path);
	}

	/** Sends or takes bytes. Rejects with ApiError for an answer that is no success, as the others do. */
	async bytes(method: string, path: string, request: BytesRequest = {}): Promise<BytesAnswer> {
		const answer = await this.#exchange(method, path, request);
		if (answer.status >= 200 && answer.status < 300) return answer;
		throw this.#refusal(answer, parseJson(answer.body.toString('utf8')));
	}

	async #call<T>(method: string, path: string, body?: object): Promise<T> {
		const json = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
		const headers = { 'content-type': 'application/json' };
		const answer = await this.#exchange(method, path, json === undefined ? {} : { headers, body: json });
		const parsed = parseJson(answer.body.toString('utf8'));
		if (answer.status >= 200 && answer.status < 300) return parsed as T;
		throw this.#refusal(answer, parsed);
	}

	#refusal({ status }: BytesAnswer, parsed: unknown): ApiError {
		return new ApiError(
			messageOf(parsed) ?? `${this.#place} answered HTTP ${status} and no blockport error: is it another program?`,
			status,
		);
	}

	#exchange(method: string, path: string, { headers, body, timeoutMs = usualTimeoutMs }: BytesRequest): Promise<BytesAnswer> {
		return new Promise((resolve, reject) => {
			const sent = { ...this.#headers, ...headers, ...(body === undefined ? {} : { 'content-length': String(body.length) }) };
			const options: RequestOptions = { ...this.#options, headers: sent, method, path, timeout: timeoutMs, agent: false };
			const request = this.#request(options, (response) => {
				const chunks: Buffer[] = [];
				let length = 0;
				response.on('data', (chunk: Buffer) => {
					length += chunk.length;
					if (length > answerBytesMax) request.destroy(new ApiError(`${this.#place} sends more than a blockport would.`, 0));
					else chunks.push(chunk);
				});
				response.on('end', () =>
					resolve({
						status: response.statusCode ?? 0,
						headers: response.headers,
						trailers: response.trailers,
						body: Buffer.concat(chunks),
					}),
				);
				response.on('error', (error) => reject(this.#unanswered(error)));
			});
			request.on('timeout', () => request.destroy(new ApiError(`${this.#place} did not answer within ${timeoutMs / 1000} s.`, 0)));
			request.on('error', (error) => reject(this.#unanswered(error)));
			request.end(body);
		});
	}

	#unanswered(error: Error): Error {
		if (error instanceof ApiError) return error;
		const code = errorCode(error);
		if (code === 'EACCES') return new ApiError(`${this.#place} may not be used by this user.`, 0, { cause: error });
		if (code === 'ENOENT' || code === 'ECONNREFUSED') {
			return new ApiError(
				`No blockport answers at ${this.#place}: start it with "${this.#start}", or name another with --data-dir, --socket or --host.`,
				0,
				{
					cause: error,
				},
			);
		}
		return new ApiError(
			`The connection to ${this.#place} failed (${code === '' ? error.message : code}): is it the address of blockport's administration?`,
			0,
			{ cause: error },
		);
	}
}

function parseHost(host: string): URL {
	const text = /^[a-z][a-z\d+.-]*:\/\//i.test(host) ? host : `http://${host}`;
	const url = URL.canParse(text) ? new URL(text) : undefined;
	if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/')
		throw new UsageError(`--host takes a URL such as http://127.0.0.1:9260, not ${JSON.stringify(host)}.`);
	return url;
}

function readToken(path: string | undefined): string | undefined {
	if (path === undefined) return process.env['BLOCKPORT_TOKEN'];
	try {
		return readFileSync(path, 'utf8').trim();
	} catch (error) {
		throw unreadable(path, 'the token', error);
	}
}

function parseJson(text: string): unknown {
	try {
		return text === '' ? undefined : JSON.parse(text);
	} catch (error) {
		if (error instanceof SyntaxError) return undefined;
		throw error;
	}
}

function messageOf(body: unknown): string | undefined {
	if (typeof body !== 'object' || body === null || !('error' in body)) return undefined;
	const { error } = body;
	if (typeof error !== 'object' || error === null || !('message' in error)) return undefined;
	return typeof error.message === 'string' ? error.message : undefined;
}
