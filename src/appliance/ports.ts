import { type Endpoint, printEndpoint } from '../config/endpoint.ts';
import { UsageError } from '../config/usage-error.ts';
import { kernelCode } from './kernel-code.ts';

/** How many ports behind the usual one are tried. */
export const portsTriedMax = 64;

/**
 * Listens where the operator said, or refuses (UsageError). Where he said nothing, on the usual port or the next free one.
 * `listen` rejects with the kernel's error.
 */
export async function listenAt<T>(
	what: { name: string; flag: string; asked: Endpoint | undefined; usual: Endpoint },
	listen: (endpoint: Endpoint) => Promise<T>,
): Promise<{ listening: T; tried: number }> {
	const { host, port } = what.asked ?? what.usual;
	const attempts = what.asked === undefined ? portsTriedMax : 1;
	for (let tried = 0; ; tried++) {
		try {
			return { listening: await listen({ host, port: port + tried }), tried };
		} catch (error) {
			const code = kernelCode(error);
			if (code === '') throw error;
			if (code === 'EADDRINUSE' && tried + 1 < attempts) continue;
			throw new UsageError(sentence(what, { host, port }, attempts, code), code === 'EADDRINUSE' ? 'inUse' : 'unavailable', {
				cause: error,
			});
		}
	}
}

function sentence(what: { name: string; flag: string }, endpoint: Endpoint, attempts: number, code: string): string {
	const at = printEndpoint(endpoint);
	switch (code) {
		case 'EADDRINUSE':
			return attempts > 1
				? `No port from ${at} on is free for ${what.name} (${attempts} were tried): choose one with ${what.flag}.`
				: `${at} is taken by another program: choose another address or port for ${what.name} with ${what.flag}.`;
		case 'EACCES':
			return `${at} needs privileges that this user does not have: choose a port from 1024 up with ${what.flag}.`;
		case 'EADDRNOTAVAIL':
		case 'ENOTFOUND':
		case 'EAI_AGAIN':
			return `${endpoint.host} is no address of this machine: choose another for ${what.name} with ${what.flag}.`;
		default:
			return `${at} cannot be used for ${what.name} (${code}): choose another with ${what.flag}.`;
	}
}
