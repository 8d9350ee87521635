import { isIPv6 } from 'node:net';
import { tpgtMax } from './limits.ts';
import { UsageError } from './usage-error.ts';

export interface Endpoint {
	readonly host: string;
	/** 0: the kernel chooses. */
	readonly port: number;
}

/** `HOST:PORT`, `[IPv6]:PORT`, `HOST` or `:PORT`; what is missing comes from `usual`. */
export function parseEndpoint(text: string, usual: Endpoint, flag: string): Endpoint {
	const parts = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<host>[^:[\]\s]*))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups;
	const port = parts?.['port'] === undefined ? usual.port : Number(parts['port']);
	if (parts === undefined || text === '' || port > 65535 || (parts['v6'] !== undefined && !isIPv6(parts['v6']))) {
		throw new UsageError(
			`${flag} takes HOST:PORT, for example 127.0.0.1:${usual.port} or [::1]:${usual.port}, not ${JSON.stringify(text)}.`,
		);
	}
	return { host: parts['v6'] ?? (parts['host'] || usual.host), port };
}

/** An iSCSI portal. */
export interface PortalEndpoint extends Endpoint {
	/** The portal group that it belongs to: it leads to the targets of that tag alone. Undefined: to all. */
	readonly portalGroupTag?: number | undefined;
}

/** An endpoint, and behind a comma the tag of its portal group. */
export function parsePortal(text: string, usual: Endpoint, flag: string): PortalEndpoint {
	const parts = /^(?<endpoint>[^,]*)(?:,(?<tag>[^,]*))?$/.exec(text)?.groups;
	const tag = parts?.['tag'];
	if (parts === undefined || (tag !== undefined && (!/^\d{1,5}$/.test(tag) || Number(tag) < 1 || Number(tag) > tpgtMax))) {
		throw new UsageError(
			`${flag} takes HOST:PORT, or HOST:PORT,TAG with the tag of a portal group from 1 to ${tpgtMax}, not ${JSON.stringify(text)}.`,
		);
	}
	const endpoint = parseEndpoint(parts['endpoint'] ?? '', usual, flag);
	return tag === undefined ? endpoint : { ...endpoint, portalGroupTag: Number(tag) };
}

export function printEndpoint({ host, port }: Endpoint): string {
	return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
