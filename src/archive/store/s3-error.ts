import { AssertionError } from 'node:assert';
import { errorCode } from '../../os/disk.ts';
import { StoreError } from './object-store.ts';
import { skewedHeader } from './s3-client.ts';

/** What became of an attempt: `again` if another one may do better at once, `slowDown` if fewer should be under way. */
export interface Verdict {
	readonly error: StoreError;
	readonly again: boolean;
	readonly slowDown: boolean;
	/** The server answered, and refused: the request had no effect. */
	readonly refused: boolean;
}

/** The parts of the SDK's errors that count here; https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html has the codes. */
export interface S3Failure {
	readonly name: string;
	readonly message: string;
	readonly status: number | undefined;
	readonly requestId: string | undefined;
	/** The request was signed by a clock that differs from the server's; the next one is signed by the server's. */
	readonly clockSkewed: boolean;
	readonly bucketRegion: string | undefined;
}

export interface S3Place {
	readonly endpoint: string;
	readonly region: string;
	readonly bucket: string;
}

const certificateCodes = new Set([
	'DEPTH_ZERO_SELF_SIGNED_CERT',
	'SELF_SIGNED_CERT_IN_CHAIN',
	'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
	'UNABLE_TO_GET_ISSUER_CERT',
	'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
	'CERT_SIGNATURE_FAILURE',
	'CERT_UNTRUSTED',
	'CERT_HAS_EXPIRED',
	'CERT_NOT_YET_VALID',
	'ERR_TLS_CERT_ALTNAME_INVALID',
	'HOSTNAME_MISMATCH',
]);
const notTheProtocol = new Set(['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG']);
const slowDownCodes = new Set([
	'SlowDown',
	'ServiceUnavailable',
	'Throttling',
	'ThrottlingException',
	'TooManyRequests',
	'RequestLimitExceeded',
	'TooManyRequestsException',
]);
/** Errors of a connection or of a name, which may be gone in a second. */
const networkCodes = new Set([
	'ECONNREFUSED',
	'ECONNRESET',
	'ECONNABORTED',
	'EPIPE',
	'ETIMEDOUT',
	'EHOSTUNREACH',
	'EHOSTDOWN',
	'ENETUNREACH',
	'ENETDOWN',
	'EADDRNOTAVAIL',
	'EAI_AGAIN',
	'ENOTFOUND',
	'ERR_STREAM_PREMATURE_CLOSE',
	'UND_ERR_SOCKET',
]);
const onTheWayCodes = new Set([
	'XAmzContentSHA256Mismatch',
	'BadDigest',
	'IncompleteBody',
	'RequestTimeout',
	'ConditionalRequestConflict',
	'OperationAborted',
]);

export function failureOf(error: unknown): S3Failure | undefined {
	if (!(error instanceof Error)) return undefined;
	const { $metadata, $response } = error as {
		$metadata?: { httpStatusCode?: number; requestId?: string };
		$response?: { statusCode?: number; headers?: Record<string, string> };
	};
	return {
		name: error.name,
		message: error.message,
		status: $metadata?.httpStatusCode ?? $response?.statusCode,
		requestId: $metadata?.requestId,
		clockSkewed: $response?.headers?.[skewedHeader] !== undefined,
		bucketRegion: $response?.headers?.['x-amz-bucket-region'],
	};
}

/** undefined: no error of the server, the network or the SDK, but of ours. What the SDK makes of an answer that it does not understand may be any error. */
export function judge(error: unknown, doing: string, place: S3Place): Verdict | undefined {
	if (error instanceof StoreError) return { error, again: error.retryable, slowDown: false, refused: false };
	const failure = failureOf(error);
	if (failure === undefined || error instanceof AssertionError) return undefined;
	const network = networkError(error, failure, doing, place);
	if (network !== undefined) return network;
	if (failure.status === undefined) {
		const sentence = `${doing}: an answer of ${place.endpoint} makes no sense (${failure.name}: ${failure.message.slice(0, 200)})`;
		return { error: new StoreError('failed', sentence, { cause: error }), again: false, slowDown: false, refused: false };
	}
	const refuse = (code: 'denied' | 'invalid' | 'notFound' | 'noSpace' | 'failed', sentence: string): Verdict => ({
		error: new StoreError(code, `${doing}: ${sentence}${failure.requestId === undefined ? '' : ` (request ${failure.requestId})`}`, {
			cause: error,
		}),
		again: false,
		slowDown: false,
		refused: true,
	});
	return answered(failure, doing, place, refuse, error);
}

function networkError(error: unknown, failure: S3Failure, doing: string, { endpoint }: S3Place): Verdict | undefined {
	const code = errorCode(error);
	const make = (kind: 'unreachable' | 'invalid', sentence: string, again: boolean): Verdict => ({
		error: new StoreError(kind, `${doing}: ${sentence}`, { cause: error }),
		again,
		slowDown: false,
		refused: false,
	});
	if (certificateCodes.has(code)) {
		return make(
			'invalid',
			`the certificate of ${endpoint} is not trusted (${code}): ${failure.message}; give its authority's certificate as the CA file, or the name that it is for as the endpoint`,
			false,
		);
	}
	if (notTheProtocol.has(code)) return make('invalid', `${endpoint} does not speak TLS; is it an http:// endpoint?`, false);
	if (code.startsWith('HPE_'))
		return make('invalid', `${endpoint} does not speak HTTP here; is it an https:// endpoint, and is the port right?`, false);
	if (code === 'ENOTFOUND')
		return make(
			'unreachable',
			`nobody knows the host of ${endpoint}; is the name right, and does the bucket have to be in the path?`,
			true,
		);
	if (code === 'ECONNREFUSED')
		return make('unreachable', `nothing listens at ${endpoint}; is the server running, and is the port right?`, true);
	if (networkCodes.has(code) || code.startsWith('ERR_SSL') || failure.name === 'TimeoutError' || failure.message === 'aborted') {
		return make('unreachable', `no answer from ${endpoint} (${code === '' ? failure.name : code})`, true);
	}
	return undefined;
}

function answered(
	failure: S3Failure,
	doing: string,
	place: S3Place,
	refuse: (code: 'denied' | 'invalid' | 'notFound' | 'noSpace' | 'failed', sentence: string) => Verdict,
	cause: unknown,
): Verdict {
	const { name, status = 0, message } = failure;
	if (name === 'RequestTimeTooSkewed' || (failure.clockSkewed && (status === 403 || status === 400))) {
		return { ...refuse('denied', "this machine's clock differs from the server's by more than it takes; set the clock"), again: true };
	}
	const busy = slowDownCodes.has(name) || status === 503 || status === 429;
	if (busy || onTheWayCodes.has(name) || status === 500 || status === 502 || status === 504 || status === 408) {
		const sentence = busy ? `${place.endpoint} is too busy` : `${place.endpoint} failed`;
		const error = new StoreError(busy ? 'unreachable' : 'failed', `${doing}: ${sentence} (${status} ${name})`, { cause, retryable: true });
		// 5xx after the effect is possible; the client's own bytes refused is not.
		return { error, again: true, slowDown: busy, refused: status < 500 && status !== 408 };
	}
	switch (name) {
		case 'NoSuchBucket':
			return refuse('notFound', `there is no bucket ${place.bucket} at ${place.endpoint}; make it, or mend its name`);
		case 'InvalidBucketName':
			return refuse('invalid', `${place.bucket} is no name of a bucket`);
		case 'InvalidAccessKeyId':
			return refuse('denied', 'the server does not know this access key id');
		case 'SignatureDoesNotMatch':
			return refuse('denied', 'the secret access key is wrong');
		case 'ExpiredToken':
		case 'InvalidToken':
		case 'TokenRefreshRequired':
			return refuse('denied', 'the session token is not valid any more; get new credentials');
		case 'PermanentRedirect':
		case 'TemporaryRedirect':
		case 'AuthorizationHeaderMalformed':
		case 'IllegalLocationConstraintException':
			return refuse('invalid', wrongRegion(failure, place));
		case 'QuotaExceeded':
		case 'InsufficientCapacity':
		case 'XMinioStorageFull':
		case 'XAmzStorageFull':
			return refuse('noSpace', `the server has no room, or the quota is used up (${name})`);
		case 'ObjectLocked':
		case 'WORMProtected':
		case 'ObjectLockedByBucketPolicy':
			return refuse('denied', 'an object lock keeps it; wait until its retention ends');
		case 'EntityTooLarge':
			return refuse('invalid', 'the server does not take an object of this size');
		default:
	}
	if (status === 301 || status === 307) return refuse('invalid', wrongRegion(failure, place));
	if (status === 507 || status === 413) return refuse('noSpace', `the server has no room, or the quota is used up (${status} ${name})`);
	if (status === 403 || status === 401) {
		const deleting = doing.startsWith('deleting') ? ', and no object lock keeps it' : '';
		return refuse('denied', `not permitted (${status} ${name}); do the access keys have the right to it in ${place.bucket}${deleting}?`);
	}
	return refuse('failed', `${status} ${name}: ${message.slice(0, 200)}`);
}

function wrongRegion({ bucketRegion, message }: S3Failure, { bucket, region }: S3Place): string {
	const expected = bucketRegion ?? /expecting '(?<region>[\w-]+)'/.exec(message)?.groups?.['region'];
	return `${region} is the wrong region for ${bucket}; ${expected === undefined ? 'name the right one' : `it is in ${expected}`}`;
}
