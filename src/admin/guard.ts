import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type ErrorAnswer, answer } from './errors.ts';

/**
 * Who may speak to the TCP side of the admin API. On loopback every local program may, so what must be kept out is a web page in a browser on this machine:
 * - Host must name this machine, or a page could have its own name resolve to 127.0.0.1 (DNS rebinding);
 * - Origin, which browsers add to what a foreign page sends, must be ours;
 * - bodies are JSON only, which a foreign page cannot send without being asked first (no CORS header is ever sent).
 * With a token (always, beyond loopback) each request carries it.
 */
export interface Guard {
	/** Names and addresses that Host may have, lower case, without port; undefined: any, as beyond loopback, where a certificate names the appliance and a token is asked for. */
	readonly hosts: readonly string[] | undefined;
	readonly token: string | undefined;
}

export const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** Undefined when the request may pass. */
export function refuse(request: Pick<IncomingMessage, 'headers'>, guard: Guard): ErrorAnswer | undefined {
	const { host, origin, authorization } = request.headers;
	if (host === undefined || (guard.hosts !== undefined && !guard.hosts.includes(hostName(host)))) {
		return answer(403, 'forbidden', 'The Host header does not name this appliance: use the address that blockport serve prints.');
	}
	if (origin !== undefined && !sameOrigin(origin, host)) return answer(403, 'forbidden', 'A page of another origin may not use this API.');
	if (guard.token !== undefined && !equal(authorization ?? '', `Bearer ${guard.token}`)) {
		return answer(401, 'unauthorized', 'The request needs the header Authorization: Bearer and the token of this appliance.');
	}
	return undefined;
}

function hostName(host: string): string {
	return host.toLowerCase().replace(/:\d+$/, '');
}

function sameOrigin(origin: string, host: string): boolean {
	return origin === `http://${host}` || origin === `https://${host}`;
}

/** In a time that tells nothing about the token: digests are equally long. */
function equal(given: string, wanted: string): boolean {
	const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
	return timingSafeEqual(digest(given), digest(wanted));
}
