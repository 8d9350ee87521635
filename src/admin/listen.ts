import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { errorCode } from '../os/disk.ts';
import { UsageError } from '../config/usage-error.ts';

/** Slow or silent clients end here, and headers are bounded. */
const httpLimits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000, maxHeaderSize: 16 * 1024 } as const;
const connectionsMax = 64;
/** Requests of one connection that have no whole answer yet. No client of ours sends a second one before; a peer that reads no answers must not have them pile up. */
const pipelinedMax = 4;
/** The kernel's sun_path holds 108 bytes with the final zero (unix(7)). */
const socketPathBytesMax = 107;

export interface TlsFiles {
	cert: Buffer;
	key: Buffer;
}

export function httpServer(listener: RequestListener, tls?: TlsFiles): Server {
	const bounded = withoutPipelines(listener);
	const server = tls === undefined ? createPlainServer(httpLimits, bounded) : tlsServer(bounded, tls);
	server.maxConnections = connectionsMax;
	return server;
}

/** One more request than pipelinedMax ends its connection. */
function withoutPipelines(listener: RequestListener): RequestListener {
	const unanswered = new WeakMap<Socket, number>();
	return (request, response) => {
		const { socket } = request;
		// What was parsed with the request that ended the connection.
		if (socket.destroyed) return;
		const count = (unanswered.get(socket) ?? 0) + 1;
		if (count > pipelinedMax) {
			socket.destroy();
			return;
		}
		unanswered.set(socket, count);
		response.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
		listener(request, response);
	};
}

function tlsServer(listener: RequestListener, tls: TlsFiles): Server {
	try {
		return createTlsServer({ ...httpLimits, ...tls }, listener);
	} catch (error) {
		if (!errorCode(error).startsWith('ERR_OSSL')) throw error;
		throw new UsageError('The certificate and the key of the admin API are not a pair in PEM form.', 'invalid', { cause: error });
	}
}

/** Listens on TCP. Rejects with the kernel's error. Returns the port, which the kernel chose if 0 was asked for. */
export async function listenTcp(server: Server, host: string, port: number): Promise<number> {
	await started(server, () => server.listen({ host, port, exclusive: true }));
	const address = server.address();
	return typeof address === 'object' && address !== null ? address.port : port;
}

/** Listens on a Unix socket that only its owner may use. A socket that a killed daemon left behind is replaced; anything else at that path is refused (UsageError). */
export async function listenUnix(server: Server, path: string): Promise<void> {
	if (Buffer.byteLength(path) > socketPathBytesMax) {
		throw new UsageError(`The socket path ${path} is longer than ${socketPathBytesMax} bytes: choose a shorter one with --socket.`);
	}
	await removeStaleSocket(path);
	// Between bind and chmod the socket would be open to others.
	const mask = process.umask(0o177);
	try {
		await started(server, () => server.listen({ path }));
	} catch (error) {
		throw new UsageError(`The admin socket ${path} cannot be made (${errorCode(error)}): check its directory.`, 'unavailable', {
			cause: error,
		});
	} finally {
		process.umask(mask);
	}
	await chmod(path, 0o600);
}

async function removeStaleSocket(path: string): Promise<void> {
	const found = await lstat(path).catch((error: unknown) => {
		if (errorCode(error) === 'ENOENT') return undefined;
		throw new UsageError(`The admin socket ${path} cannot be made (${errorCode(error)}): check its directory.`, 'unavailable', {
			cause: error,
		});
	});
	if (found === undefined) return;
	if (!found.isSocket()) throw new UsageError(`${path} is there and is no socket: remove it or choose another with --socket.`, 'inUse');
	if (await answers(path))
		throw new UsageError(`Another program serves the socket ${path}: end it or choose another with --socket.`, 'inUse');
	await unlink(path);
}

function answers(path: string): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect({ path });
		socket.once('connect', () => {
			socket.destroy();
			resolve(true);
		});
		socket.once('error', () => resolve(false));
	});
}

function started(server: Server, listen: () => void): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once('error', reject);
		server.once('listening', () => {
			server.off('error', reject);
			resolve();
		});
		listen();
	});
}

export function closeServer(server: Server): Promise<void> {
	return new Promise((resolve) => {
		server.close(() => resolve());
		server.closeAllConnections();
	});
}
