import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { type S3Times, s3Limits } from './limits.ts';
import type { S3Settings } from './s3-settings.ts';

/** The SDK's client with the settings that servers other than Amazon's need (docs/decisions/013), and the server's clock. */
export interface S3Connection {
	readonly client: S3Client;
	/** What the server's clock is ahead of ours, by the last answer; 0 when it is within what a header can tell. */
	clockOffsetMs(): number;
	/** Ends all connections. */
	destroy(): void;
}

/** A header has whole seconds, and was on its way. */
const clockBlurMs = 5000;
/** Servers take requests that were signed up to 15 minutes ago, or ahead. */
const skewMs = 4 * 60_000;
/** Put among an answer's headers: the request was signed by a clock that is far from the server's. An answer to HEAD has no other way to say so. */
export const skewedHeader = 'blockport-signed-by-another-clock';

export async function connectS3(settings: S3Settings, times: S3Times, lookup?: LookupFunction): Promise<S3Connection> {
	const { S3Client } = await import('@aws-sdk/client-s3');
	const sockets = { keepAlive: true, maxSockets: s3Limits.sockets, maxFreeSockets: s3Limits.sockets, ...(lookup && { lookup }) };
	const [httpAgent, httpsAgent] = [
		new HttpAgent(sockets),
		new HttpsAgent({ ...sockets, ...(settings.certificates && { ca: settings.certificates }) }),
	];
	const configuration: S3ClientConfig = {
		region: settings.region,
		forcePathStyle: settings.pathStyle,
		credentials: settings.credentials,
		// The default sends bodies in chunks with a trailer, which others refuse, or store with the framing in them.
		requestChecksumCalculation: 'WHEN_REQUIRED',
		responseChecksumValidation: 'WHEN_REQUIRED',
		// By default a body of 2 MiB or more gets a connection of its own, without any bound.
		expectContinueHeader: false,
		// Attempts are ours (s3-attempts.ts): bounded in time, ended by a signal, and the body's reading is one's part.
		maxAttempts: 1,
		customUserAgent: 'blockport',
		requestHandler: { httpAgent, httpsAgent, connectionTimeout: times.connectMs, socketTimeout: times.idleMs },
	};
	const client = new S3Client(settings.endpoint === undefined ? configuration : { ...configuration, endpoint: settings.endpoint.origin });
	let offsetMs = 0;
	client.middlewareStack.add(
		(next) => async (input) => {
			const result = await next(input);
			const answeredMs = dateOf(result.response);
			if (answeredMs === undefined) return result;
			const differenceMs = answeredMs - Date.now();
			offsetMs = Math.abs(differenceMs) < clockBlurMs ? 0 : differenceMs;
			if (Math.abs(answeredMs - signedMs(input.request)) > skewMs) headersOf(result.response)[skewedHeader] = 'yes';
			return result;
		},
		// Nearest to the wire, so that answers that are errors pass here too.
		{ step: 'deserialize', priority: 'low', name: 'blockportClock' },
	);
	return {
		client,
		clockOffsetMs: () => offsetMs,
		destroy: () => {
			client.destroy();
			httpAgent.destroy();
			httpsAgent.destroy();
		},
	};
}

function dateOf(response: unknown): number | undefined {
	const ms = Date.parse(headersOf(response)['date'] ?? '');
	return Number.isNaN(ms) ? undefined : ms;
}

/** NaN if it was not signed. */
function signedMs(request: unknown): number {
	const stamp = headersOf(request)['x-amz-date'] ?? '';
	return Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

function headersOf(message: unknown): Record<string, string> {
	return (message as { headers?: Record<string, string> }).headers ?? {};
}
