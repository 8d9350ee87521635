import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/**
 * AWS Signature Version 4 as a server checks it, from its description:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. Only the Authorization header, and bodies whose hash is signed.
 */
export interface Credentials {
	readonly accessKeyId: string;
	readonly secretAccessKey: string;
	readonly region: string;
	readonly sessionToken?: string;
}

/** The S3 error code of what is wrong with a request; undefined for a good one. */
export function signatureFault(request: IncomingMessage, body: Buffer, credentials: Credentials, nowMs: number): string | undefined {
	const match =
		/^AWS4-HMAC-SHA256 Credential=(?<id>[^/]+)\/(?<date>\d{8})\/(?<region>[^/]+)\/s3\/aws4_request, ?SignedHeaders=(?<names>[^,]+), ?Signature=(?<signature>[0-9a-f]{64})$/.exec(
			request.headers.authorization ?? '',
		);
	const { id, date = '', region = '', names = '', signature } = match?.groups ?? {};
	if (signature === undefined) return 'AccessDenied';
	if (id !== credentials.accessKeyId) return 'InvalidAccessKeyId';
	if (region !== credentials.region) return 'AuthorizationHeaderMalformed';
	if (credentials.sessionToken !== undefined && request.headers['x-amz-security-token'] !== credentials.sessionToken) return 'InvalidToken';
	const stamp = String(request.headers['x-amz-date']);
	const signedMs = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
	if (!(Math.abs(signedMs - nowMs) < 15 * 60_000)) return 'RequestTimeTooSkewed';
	const bodyHash = String(request.headers['x-amz-content-sha256']);
	if (bodyHash !== sha256(body)) return 'XAmzContentSHA256Mismatch';
	const url = new URL(request.url ?? '/', 'http://host');
	const query = [...url.searchParams]
		.map(([name, value]) => `${encode(name)}=${encode(value)}`)
		.sort()
		.join('&');
	const headers = names.split(';').map((name) => `${name}:${String(request.headers[name]).trim().replaceAll(/ +/g, ' ')}\n`);
	const canonical = [request.method, url.pathname, query, headers.join(''), names, bodyHash].join('\n');
	const scope = `${date}/${region}/s3/aws4_request`;
	const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n');
	const key = [date, region, 's3', 'aws4_request'].reduce<string | Buffer>(
		(secret, word) => hmac(secret, word),
		`AWS4${credentials.secretAccessKey}`,
	);
	return hmac(key, text).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch';
}

function sha256(data: string | Buffer): string {
	return createHash('sha256').update(data).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
	return createHmac('sha256', key).update(text).digest();
}

function encode(text: string): string {
	return encodeURIComponent(text).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
