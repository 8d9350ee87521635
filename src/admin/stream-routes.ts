import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyPluginCallback, FastifyReply } from 'fastify';
import { UsageError } from '../config/usage-error.ts';
import { type ByteRange, parseContentRange, parseDigest, parseRange, printDigest } from './byte-range.ts';
import { failed, nothing, typed } from './routes.ts';
import { type VolumeView, volume as volumeSchema } from './schemas.ts';
import { snapshotParameters } from './snapshot-schemas.ts';
import * as schemas from './stream-schemas.ts';

/** The most that one PUT of an import brings: the time for a request is bounded. */
export const putBytesMax = 64 * 2 ** 20;
/** Who takes nothing of an export for so long is cut off: it keeps layers of the volume. */
const stalledMsDefault = 120_000;

/** A snapshot in one format, while it is being sent; close() it. */
export interface OpenExport {
	readonly etag: string;
	readonly lengthBytes: number;
	/** From a byte on, and perhaps more than up to `toBytes`. A piece is good until the next one is asked for. */
	bytes(fromBytes: number, toBytes: number, signal: AbortSignal): AsyncIterable<Buffer>;
	/** The stream broke off in the middle, for a reason of ours. */
	failed(error: unknown): void;
	close(): void;
}

/** A part of an import that arrives. */
export interface ImportPart {
	readonly range: ByteRange;
	readonly sha256: Buffer | undefined;
	readonly bytes: AsyncIterable<Buffer>;
	/** Ends `bytes` with an error. */
	abandon(): void;
}

/** What the routes ask of the appliance, with the manners of Operations. */
export interface StreamOperations {
	open(volume: string, snapshot: string, format: schemas.ExportFormat): Promise<OpenExport>;
	extents(volume: string, snapshot: string, fromBytes: number): Promise<schemas.ExtentsView>;
	imports(): schemas.ImportView[];
	import(id: string): schemas.ImportView;
	begin(wish: schemas.NewImport): Promise<schemas.ImportView>;
	/** Rejects with the stream's error if it breaks off: nothing of the part counts then. */
	put(id: string, part: ImportPart): Promise<schemas.ImportView>;
	zero(id: string, range: schemas.ZeroRange): Promise<schemas.ImportView>;
	finish(id: string, lengthBytes: number): Promise<VolumeView>;
	cancel(id: string): Promise<void>;
}

export function streamRoutes(operations: StreamOperations, stalledMs = stalledMsDefault): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = snapshotParameters;
		const one = '/v1/volumes/:volume/snapshots/:snapshot/export';
		app.get(
			one,
			{
				exposeHeadRoute: false,
				schema: {
					summary: 'What a snapshot holds, as an image. Takes Range, If-Match and If-Range; after "TE: trailers" Content-Digest follows',
					params,
					querystring: schemas.exportQuery,
				},
			},
			async ({ params: { volume, snapshot }, query, raw }, reply) => {
				const opened = await operations.open(volume, snapshot, query.format);
				try {
					await sendExport(opened, raw, reply, stalledMs);
				} finally {
					opened.close();
				}
				return reply;
			},
		);
		app.get(
			`${one}/extents`,
			{
				schema: {
					summary: 'Which parts of a raw export may hold something else than zeros',
					params,
					querystring: schemas.extentsQuery,
					response: { 200: schemas.extents, ...failed },
				},
			},
			({ params: { volume, snapshot }, query }) => operations.extents(volume, snapshot, query.from),
		);
		importRoutes(app, operations);
		done();
	};
}

function importRoutes(app: ReturnType<typeof typed>, operations: StreamOperations): void {
	const params = schemas.importParameters;
	const one = '/v1/imports/:import';
	// The body of a part is not read before the operation takes it. A page of another origin cannot send this type without being asked first.
	app.addContentTypeParser('application/octet-stream', (_request, payload, parsed) => parsed(null, payload));
	app.get('/v1/imports', { schema: { summary: 'Imports that are under way', response: { 200: schemas.imports, ...failed } } }, () => ({
		imports: operations.imports(),
	}));
	app.post(
		'/v1/imports',
		{ schema: { summary: 'Begin an import of a raw image', body: schemas.newImport, response: { 201: schemas.importView, ...failed } } },
		async ({ body }, reply) => reply.code(201).send(await operations.begin(body)),
	);
	app.get(
		one,
		{ schema: { summary: 'How far an import is', params, response: { 200: schemas.importView, ...failed } } },
		({ params: { import: id } }) => operations.import(id),
	);
	app.put(
		`${one}/data`,
		{
			bodyLimit: putBytesMax,
			schema: {
				summary: 'The next part of the image, where Content-Range says. With Content-Digest it counts only if that is right',
				params,
				response: { 200: schemas.importView, ...failed },
			},
		},
		async ({ params: { import: id }, raw }) => operations.put(id, partOf(raw)),
	);
	app.post(
		`${one}/zeros`,
		{
			schema: {
				summary: 'The next part of the image is zeros',
				params,
				body: schemas.zeroRange,
				response: { 200: schemas.importView, ...failed },
			},
		},
		({ params: { import: id }, body }) => operations.zero(id, body),
	);
	app.post(
		`${one}/finish`,
		{ schema: { summary: 'Everything came: make it a volume', params, body: schemas.finish, response: { 201: volumeSchema, ...failed } } },
		async ({ params: { import: id }, body }, reply) => reply.code(201).send(await operations.finish(id, body.lengthBytes)),
	);
	app.delete(
		one,
		{ schema: { summary: 'Give an import up', params, response: { 204: nothing, ...failed } } },
		async ({ params: { import: id } }, reply) => {
			await operations.cancel(id);
			return reply.code(204).send(null);
		},
	);
}

function partOf(request: IncomingMessage): ImportPart {
	const { headers } = request;
	const range = parseContentRange(headers['content-range']);
	if (headers['content-type'] !== 'application/octet-stream')
		throw new UsageError('A part of an import is sent as application/octet-stream.');
	if (range === undefined) throw new UsageError('A part of an import has a Content-Range such as "bytes 0-1048575/*".');
	if (range.to - range.from > putBytesMax) throw new UsageError(`A part of an import has at most ${putBytesMax} bytes.`);
	if (headers['content-length'] !== undefined && Number(headers['content-length']) !== range.to - range.from)
		throw new UsageError('Content-Length is not what Content-Range says.');
	const digest = headers['content-digest'];
	const sha256 = parseDigest(typeof digest === 'string' ? digest : undefined);
	if (digest !== undefined && sha256 === undefined) throw new UsageError('Content-Digest has no sha-256.');
	return {
		range,
		sha256,
		bytes: request as AsyncIterable<Buffer>,
		abandon: () => request.destroy(Object.assign(new Error('given up for another request'), { code: 'ECONNRESET' })),
	};
}

/** Answers an export. What goes wrong before the first byte is thrown; after it, the connection is cut, so that nobody takes the part for the whole. */
async function sendExport(opened: OpenExport, request: IncomingMessage, reply: FastifyReply, stalledMs: number): Promise<void> {
	const { etag, lengthBytes } = opened;
	const { headers } = request;
	const asked = headers['if-match'];
	if (asked !== undefined && asked !== '*' && asked !== etag)
		throw Object.assign(new Error('It is another snapshot than that of If-Match.'), { statusCode: 412 });
	const condition = headers['if-range'];
	const range = condition === undefined || condition === etag ? parseRange(headers.range, lengthBytes) : undefined;
	const response = reply.raw;
	reply.hijack();
	if (range === 'unsatisfiable') {
		response.writeHead(416, { 'content-range': `bytes */${lengthBytes}` }).end();
		return;
	}
	const { from, to } = range ?? { from: 0, to: lengthBytes };
	const wantsTrailers = /(?:^|,)\s*trailers\s*(?:,|$)/i.test(String(headers['te'] ?? ''));
	response.writeHead(range === undefined ? 200 : 206, {
		'content-type': 'application/octet-stream',
		'accept-ranges': 'bytes',
		etag,
		...(range === undefined ? {} : { 'content-range': `bytes ${from}-${to - 1}/${lengthBytes}` }),
		// A trailer is for chunks only (RFC 9112 §7.1.2).
		...(wantsTrailers ? { trailer: 'Content-Digest' } : { 'content-length': to - from }),
	});
	const abort = new AbortController();
	response.once('close', () => abort.abort());
	const hash = createHash('sha256');
	try {
		let left = to - from;
		for await (const chunk of opened.bytes(from, to, abort.signal)) {
			const piece = chunk.length > left ? chunk.subarray(0, left) : chunk;
			if (wantsTrailers) hash.update(piece);
			left -= piece.length;
			// A piece is good until the next one is asked for.
			if (piece.length > 0) await sent(response, piece, abort.signal, stalledMs);
			if (left === 0) break;
		}
		if (wantsTrailers) response.addTrailers({ 'content-digest': printDigest(hash.digest()) });
		response.end();
	} catch (error) {
		response.destroy();
		if (!(error instanceof PeerGone) && !abort.signal.aborted) opened.failed(error);
	}
}

/** Nobody takes the export any more, which is no failure of ours. */
class PeerGone extends Error {
	override readonly name = 'PeerGone';
}

/** The peer, or the kernel for it, has taken a piece. Rejects with PeerGone, or with what says that it takes nothing. */
function sent(response: ServerResponse, piece: Buffer, signal: AbortSignal, stalledMs: number): Promise<void> {
	return new Promise((resolve, reject) => {
		const gone = (): void => end(new PeerGone());
		const timer = setTimeout(() => end(new Error(`nothing of an export was taken for ${stalledMs / 1000} s`)), stalledMs);
		const end = (error?: Error): void => {
			clearTimeout(timer);
			signal.removeEventListener('abort', gone);
			if (error === undefined) resolve();
			else reject(error);
		};
		signal.addEventListener('abort', gone);
		if (signal.aborted) gone();
		else response.write(piece, (error) => (error instanceof Error ? gone() : end()));
	});
}
