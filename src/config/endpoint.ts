import { isIPv6 } from 'node:net';
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

export function printEndpoint({ host, port }: Endpoint): string {
	return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
