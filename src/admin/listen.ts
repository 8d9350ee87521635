import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect } from 'node:net';
import { errorCode } from '../os/disk.ts';
import { UsageError } from '../config/usage-error.ts';

/** Slow or silent clients end here, and headers are bounded. */
const httpLimits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000, maxHeaderSize: 16 * 1024 } as const;
const connectionsMax = 256;
/** The kernel's sun_path holds 108 bytes with the final zero (unix(7)). */
const socketPathBytesMax = 107;

export interface TlsFiles {
	cert: Buffer;
	key: Buffer;
}

export function httpServer(listener: RequestListener, tls?: TlsFiles): Server {
	const server = tls === undefined ? createPlainServer(httpLimits, listener) : tlsServer(listener, tls);
	server.maxConnections = connectionsMax;
	return server;
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
