import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { S3Location } from '../../../src/archive/store/location.ts';
import { type Credentials, signatureFault } from './s3-signature.ts';

export interface Request {
	readonly method: string;
	/** '' for the bucket itself. */
	readonly key: string;
	readonly query: URLSearchParams;
	readonly headers: IncomingMessage['headers'];
	readonly body: Buffer;
}

/**
 * - reset: the connection ends before the request takes effect; lost: after it did
 * - truncate: the answer's body ends in its middle, by the connection's end
 * - hang: no answer, ever; trickle: one byte of it every 20 ms
 * - corrupt: the server sees another byte than was sent
 * - a status: that error, with a code and headers
 */
export type Fault =
	| 'reset'
	| 'lost'
	| 'truncate'
	| 'hang'
	| 'trickle'
	| 'corrupt'
	| { readonly status: number; readonly code: string; readonly headers?: Record<string, string>; readonly text?: string };

interface StoredObject {
	readonly bytes: Buffer;
	readonly modifiedMs: number;
}

interface Upload {
	readonly key: string;
	readonly begunMs: number;
	readonly parts: Map<number, { bytes: Buffer; etag: string }>;
}

class S3Fault extends Error {
	readonly status: number;
	readonly code: string;
	readonly headers: Record<string, string>;

	constructor(status: number, code: string, headers: Record<string, string> = {}) {
		super(code);
		this.status = status;
		this.code = code;
		this.headers = headers;
	}
}

/**
 * As much of S3 as the store uses, in this process, with signatures checked, and faults: `server.faults.push(…)` for the next requests, or `server.fault = (request) => …` to choose.
 */
export class S3Server {
	readonly credentials: Credentials;
	readonly bucket = 'backups';
	readonly objects = new Map<string, StoredObject>();
	readonly uploads = new Map<string, Upload>();
	readonly requests: Request[] = [];
	readonly faults: Fault[] = [];
	fault: ((request: Request) => Fault | undefined) | undefined;
	conditionalPut: 'yes' | 'ignored' | 'notImplemented' | 'conflict' = 'yes';
	/** What the server's clock is ahead of the machine's. */
	clockOffsetMs = 0;
	lockedKeys = new Set<string>();
	readOnly = false;
	listPageKeys = 1000;
	underWayMost = 0;
	/** Requests that are served at once; more get 503 SlowDown. */
	capacity = Infinity;
	/** How long an answer takes. */
	latencyMs = 0;
	#underWay = 0;
	#server: Server | undefined;

	constructor(credentials: Partial<Credentials> = {}) {
		this.credentials = { accessKeyId: 'AKID', secretAccessKey: 'a secret/+='.replaceAll(' ', '_'), region: 'us-east-1', ...credentials };
	}

	async start(t: { teardown(work: () => Promise<void>): void }, tls?: { key: string; cert: string }): Promise<this> {
		const listener = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
		const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
		this.#server = server;
		await new Promise<void>((resolve) => {
			server.listen(0, '127.0.0.1', resolve);
		});
		t.teardown(() => this.stop());
		return this;
	}

	async stop(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		if (server === undefined) return;
		server.closeAllConnections();
		await new Promise((resolve) => {
			server.close(resolve);
		});
	}

	get port(): number {
		const address = this.#server?.address() as AddressInfo | undefined;
		return address?.port ?? 0;
	}

	location(changes: Partial<S3Location> = {}): S3Location {
		const { accessKeyId, secretAccessKey, region } = this.credentials;
		return {
			kind: 's3',
			endpoint: `http://127.0.0.1:${this.port}`,
			region,
			bucket: this.bucket,
			prefix: 'repository/one',
			pathStyle: true,
			accessKeyId,
			secretAccessKey,
			...changes,
		};
	}

	/** Requests of a method, seen since the last call. */
	take(): string[] {
		return this.requests
			.splice(0)
			.map(({ method, key, query }) => `${method} ${key}${query.size === 0 ? '' : `?${[...query.keys()].join('&')}`}`);
	}

	async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
		const parts: Buffer[] = [];
		try {
			for await (const part of incoming) parts.push(part as Buffer);
		} catch (error) {
			// The client went away.
			if (!(error instanceof Error && 'code' in error)) throw error;
			return;
		}
		const request = this.#request(incoming, Buffer.concat(parts));
		this.requests.push(request);
		this.underWayMost = Math.max(this.underWayMost, ++this.#underWay);
		const busy: Fault | undefined = this.#underWay > this.capacity ? { status: 503, code: 'SlowDown' } : undefined;
		const fault = busy ?? this.fault?.(request) ?? this.faults.shift();
		if (this.latencyMs > 0) {
			await new Promise((resolve) => {
				setTimeout(resolve, this.latencyMs);
			});
		}
		this.#underWay--;
		if (fault === 'hang') return;
		if (fault === 'reset') {
			incoming.socket.destroy();
			return;
		}
		try {
			if (typeof fault === 'object') throw new S3Fault(fault.status, fault.text ?? fault.code, fault.headers);
			const seen = fault === 'corrupt' ? { ...request, body: flipped(request.body) } : request;
			const wrong = signatureFault(incoming, seen.body, this.credentials, Date.now() + this.clockOffsetMs);
			if (wrong !== undefined) {
				const status = wrong === 'XAmzContentSHA256Mismatch' || wrong === 'AuthorizationHeaderMalformed' ? 400 : 403;
				throw new S3Fault(
					status,
					wrong,
					wrong === 'AuthorizationHeaderMalformed' ? { 'x-amz-bucket-region': this.credentials.region } : {},
				);
			}
			const answer = this.#answer(seen);
			if (fault === 'lost') incoming.socket.destroy();
			else if (fault === 'trickle') trickle(response, answer);
			else this.#send(response, request, answer, fault === 'truncate');
		} catch (error) {
			if (!(error instanceof S3Fault)) throw error;
			const text = error.code.startsWith('<')
				? error.code
				: `<?xml version="1.0"?><Error><Code>${error.code}</Code><Message>made by a test</Message><RequestId>R1</RequestId></Error>`;
			const body = request.method === 'HEAD' ? '' : text;
			response.writeHead(error.status, { 'content-type': 'application/xml', date: this.#date(), ...error.headers }).end(body);
		}
	}

	#request(incoming: IncomingMessage, body: Buffer): Request {
		const url = new URL(incoming.url ?? '/', 'http://host');
		const path = decodeURIComponent(url.pathname).slice(1);
		const [host = ''] = (incoming.headers.host ?? '').split(':');
		const virtual = host.startsWith(`${this.bucket}.`);
		const [bucket = '', ...rest] = virtual ? [this.bucket, path] : path.split('/');
		const query = url.searchParams;
		query.delete('x-id');
		return {
			method: incoming.method ?? '',
			key: bucket === this.bucket ? rest.join('/') : `\0${bucket}`,
			query,
			headers: incoming.headers,
			body,
		};
	}

	#send(response: ServerResponse, { method }: Request, { status, headers, body }: Answer, truncate: boolean): void {
		const length = headers['content-length'] ?? String(body.length);
		response.writeHead(status, { date: this.#date(), 'x-amz-request-id': 'R1', ...headers, 'content-length': length });
		if (method === 'HEAD') response.end();
		else if (truncate) response.write(body.subarray(0, body.length / 2), () => response.destroy());
		else response.end(body);
	}

	#date(): string {
		return new Date(Date.now() + this.clockOffsetMs).toUTCString();
	}

	#answer(request: Request): Answer {
		const { method, key, query } = request;
		if (key.startsWith('\0')) throw new S3Fault(404, 'NoSuchBucket');
		if (this.readOnly && method !== 'GET' && method !== 'HEAD') throw new S3Fault(403, 'AccessDenied');
		if (key === '') {
			if (query.has('uploads')) return this.#listUploads(query);
			return this.#list(query);
		}
		const uploadId = query.get('uploadId');
		if (method === 'POST' && query.has('uploads')) return this.#createUpload(key);
		if (uploadId !== null) return this.#ofUpload(request, uploadId);
		switch (method) {
			case 'PUT':
				return this.#put(request);
			case 'GET':
			case 'HEAD':
				return this.#get(key);
			case 'DELETE':
				if (this.lockedKeys.has(key)) throw new S3Fault(403, 'AccessDenied');
				if (!this.objects.delete(key)) return answer(204);
				return answer(204);
			default:
				throw new S3Fault(405, 'MethodNotAllowed');
		}
	}

	#put({ key, headers, body }: Request): Answer {
		if (headers['transfer-encoding'] !== undefined || headers['content-length'] === undefined)
			throw new S3Fault(411, 'MissingContentLength');
		if (headers['if-none-match'] !== undefined) {
			if (this.conditionalPut === 'notImplemented') throw new S3Fault(501, 'NotImplemented');
			if (this.conditionalPut === 'conflict') {
				this.conditionalPut = 'yes';
				throw new S3Fault(409, 'ConditionalRequestConflict');
			}
			if (this.conditionalPut === 'yes' && this.objects.has(key)) throw new S3Fault(412, 'PreconditionFailed');
		}
		this.objects.set(key, { bytes: body, modifiedMs: Date.now() + this.clockOffsetMs });
		// No digest: nobody may take it for one.
		return answer(200, '', { etag: `"${randomBytes(4).toString('hex')}"` });
	}

	#get(key: string): Answer {
		const found = this.objects.get(key);
		if (found === undefined) throw new S3Fault(404, 'NoSuchKey');
		return {
			status: 200,
			headers: { 'last-modified': new Date(found.modifiedMs).toUTCString(), etag: '"x"', 'content-length': String(found.bytes.length) },
			body: found.bytes,
		};
	}

	#list(query: URLSearchParams): Answer {
		const [prefix, token] = [query.get('prefix') ?? '', query.get('continuation-token') ?? ''];
		const most = Math.min(Number(query.get('max-keys') ?? 1000), this.listPageKeys);
		const all = [...this.objects].filter(([key]) => key.startsWith(prefix) && key > token).sort(([a], [b]) => (a < b ? -1 : 1));
		const page = all.slice(0, most);
		const rows = page.map(
			([key, { bytes, modifiedMs }]) =>
				`<Contents><Key>${encodeURIComponent(key)}</Key><Size>${bytes.length}</Size><LastModified>${new Date(modifiedMs).toISOString()}</LastModified></Contents>`,
		);
		const more = all.length > page.length;
		const next = more ? `<NextContinuationToken>${page.at(-1)?.[0] ?? ''}</NextContinuationToken>` : '';
		return answer(
			200,
			`<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${next}${rows.join('')}</ListBucketResult>`,
		);
	}

	#createUpload(key: string): Answer {
		const id = randomBytes(6).toString('hex');
		this.uploads.set(id, { key, begunMs: Date.now() + this.clockOffsetMs, parts: new Map() });
		return answer(200, `<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
	}

	#ofUpload({ method, key, query, body }: Request, id: string): Answer {
		const upload = this.uploads.get(id);
		if (upload?.key !== key) throw new S3Fault(404, 'NoSuchUpload');
		if (method === 'DELETE') {
			this.uploads.delete(id);
			return answer(204);
		}
		if (method === 'PUT') {
			const etag = `"${randomBytes(4).toString('hex')}"`;
			upload.parts.set(Number(query.get('partNumber')), { bytes: body, etag });
			return answer(200, '', { etag });
		}
		const named = [...String(body).matchAll(/<Part>(?<part>.*?)<\/Part>/gs)].map(({ groups }) => {
			const part = groups?.['part'] ?? '';
			return {
				number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
				etag: (/<ETag>(.*?)</.exec(part)?.[1] ?? '').replaceAll('&quot;', '"'),
			};
		});
		const parts = named.map(({ number, etag }) => {
			const part = upload.parts.get(number);
			if (part?.etag !== etag) throw new S3Fault(400, 'InvalidPart');
			return part.bytes;
		});
		if (parts.slice(0, -1).some((part) => part.length < 5 << 20)) throw new S3Fault(400, 'EntityTooSmall');
		this.uploads.delete(id);
		this.objects.set(key, { bytes: Buffer.concat(parts), modifiedMs: Date.now() + this.clockOffsetMs });
		return answer(200, '<?xml version="1.0"?><CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>');
	}

	#listUploads(query: URLSearchParams): Answer {
		const after = query.get('key-marker') ?? '';
		const idAfter = query.get('upload-id-marker') ?? '';
		const all = [...this.uploads]
			.map(([id, { key, begunMs }]) => ({ id, key, begunMs }))
			.filter(({ key, id }) => key.startsWith(query.get('prefix') ?? '') && (key > after || (key === after && id > idAfter)))
			.sort((a, b) => (`${a.key}\0${a.id}` < `${b.key}\0${b.id}` ? -1 : 1));
		const page = all.slice(0, this.listPageKeys);
		const rows = page.map(
			({ id, key, begunMs }) =>
				`<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${new Date(begunMs).toISOString()}</Initiated></Upload>`,
		);
		const last = page.at(-1);
		const next = `<NextKeyMarker>${last?.key ?? ''}</NextKeyMarker><NextUploadIdMarker>${last?.id ?? ''}</NextUploadIdMarker>`;
		return answer(
			200,
			`<?xml version="1.0"?><ListMultipartUploadsResult><IsTruncated>${all.length > page.length}</IsTruncated>${next}${rows.join('')}</ListMultipartUploadsResult>`,
		);
	}
}

interface Answer {
	readonly status: number;
	readonly headers: Record<string, string>;
	readonly body: Buffer;
}

function answer(status: number, text = '', headers: Record<string, string> = {}): Answer {
	return { status, headers: text === '' ? headers : { 'content-type': 'application/xml', ...headers }, body: Buffer.from(text) };
}

function trickle(response: ServerResponse, { status, headers, body }: Answer): void {
	response.writeHead(status, { ...headers, 'content-length': String(body.length) });
	let at = 0;
	const timer = setInterval(() => response.write(body.subarray(at, ++at)), 20);
	response.once('close', () => clearInterval(timer));
}

function flipped(bytes: Buffer): Buffer {
	const copy = Buffer.from(bytes);
	if (copy.length > 0) copy[0] = (copy[0] ?? 0) ^ 1;
	return copy;
}
