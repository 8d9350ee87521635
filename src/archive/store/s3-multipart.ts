import type { S3Client } from '@aws-sdk/client-s3';
import { s3Limits } from './limits.ts';
import { StoreError } from './object-store.ts';
import { type Attempts, ExpectedAnswer } from './s3-attempts.ts';

/** What an upload in parts needs of its store. */
export interface UploadTarget {
	readonly client: S3Client;
	readonly attempts: Attempts;
	readonly bucket: string;
	/** As the server knows it, prefix included. */
	readonly key: string;
	readonly doing: string;
	readonly signal: AbortSignal | undefined;
	/** Whether the object is there with these bytes: to be asked when an answer was lost. */
	isThere(): Promise<boolean>;
}

/**
 * Puts an object in parts, several at once. It appears whole when the last request is done, or not at all; if anything fails the upload is taken back, and where that fails too
 * staleUploads finds its parts later.
 */
export async function putInParts(target: UploadTarget, bytes: Uint8Array): Promise<void> {
	const { client, attempts, bucket, key, doing, signal } = target;
	const { CreateMultipartUploadCommand, CompleteMultipartUploadCommand } = await import('@aws-sdk/client-s3');
	const created = await attempts.run({ doing, signal }, (attempt) =>
		client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ContentType: 'application/octet-stream' }), {
			abortSignal: attempt.signal,
		}),
	);
	const uploadId = created instanceof ExpectedAnswer ? undefined : created.UploadId;
	if (uploadId === undefined || uploadId === '') throw new StoreError('failed', `${doing}: the server began an upload and did not name it`);
	try {
		const parts = await sendParts(target, uploadId, bytes);
		const completed = await attempts.run(
			{ doing, signal, sizeBytes: bytes.length, expected: (name, status) => status === 404 && name === 'NoSuchUpload' },
			(attempt) =>
				client.send(
					new CompleteMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId, MultipartUpload: { Parts: parts } }),
					{
						abortSignal: attempt.signal,
					},
				),
		);
		// An upload is not known any more when it was completed and the answer lost, or when somebody cleaned it up.
		if (completed instanceof ExpectedAnswer && !(await target.isThere()))
			throw new StoreError('failed', `${doing}: the upload was taken away before it was finished`, { retryable: true });
	} catch (error) {
		await takeBack(target, uploadId);
		throw error;
	}
}

async function sendParts(target: UploadTarget, uploadId: string, bytes: Uint8Array): Promise<{ PartNumber: number; ETag: string }[]> {
	const { client, attempts, bucket, key, doing, signal } = target;
	const { UploadPartCommand } = await import('@aws-sdk/client-s3');
	const count = Math.ceil(bytes.length / s3Limits.partBytes);
	const parts: { PartNumber: number; ETag: string }[] = [];
	const failed = new AbortController();
	const ended = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
	let next = 0;
	const send = async (): Promise<void> => {
		while (next < count) {
			const index = next++;
			const part = bytes.subarray(index * s3Limits.partBytes, (index + 1) * s3Limits.partBytes);
			const sent = await attempts.run({ doing, signal: ended, sizeBytes: part.length }, (attempt) =>
				client.send(
					new UploadPartCommand({
						Bucket: bucket,
						Key: key,
						UploadId: uploadId,
						PartNumber: index + 1,
						Body: part,
						ContentLength: part.length,
					}),
					{ abortSignal: attempt.signal },
				),
			);
			// The server's word for the part, and nothing more: it need not be a digest.
			const etag = sent instanceof ExpectedAnswer ? undefined : sent.ETag;
			if (etag === undefined) throw new StoreError('failed', `${doing}: the server took a part and did not name it`);
			parts[index] = { PartNumber: index + 1, ETag: etag };
		}
	};
	const senders = Array.from({ length: Math.min(s3Limits.partsAtOnce, count) }, send);
	try {
		await Promise.all(senders);
	} catch (error) {
		// No part may arrive after the upload is taken back: it would stay.
		failed.abort(error);
		await Promise.allSettled(senders);
		throw error;
	}
	return parts;
}

/** After an error, which is the one to report: what cannot be taken back now is found by its age later. */
async function takeBack({ client, attempts, bucket, key }: UploadTarget, uploadId: string): Promise<void> {
	const { AbortMultipartUploadCommand } = await import('@aws-sdk/client-s3');
	try {
		await attempts.run(
			{
				doing: `taking back the upload of ${key}`,
				policy: { attempts: 3, retryMs: 5000, bucketWasThere: true },
				expected: (_name, status) => status === 404,
			},
			(attempt) =>
				client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), { abortSignal: attempt.signal }),
		);
	} catch (error) {
		if (!(error instanceof StoreError)) throw error;
	}
}

export interface StaleUploads {
	readonly client: S3Client;
	readonly attempts: Attempts;
	readonly bucket: string;
	readonly prefix: string;
	/** By the server's clock. */
	readonly beforeMs: number;
	readonly signal: AbortSignal | undefined;
}

/** Takes back the uploads that began earlier; resolves to how many. A server that cannot list uploads is one that has none of it to show: 0. */
export async function removeStaleUploads({ client, attempts, bucket, prefix, beforeMs, signal }: StaleUploads): Promise<number> {
	const { AbortMultipartUploadCommand, ListMultipartUploadsCommand } = await import('@aws-sdk/client-s3');
	const doing = 'looking for uploads that nobody finished';
	let removed = 0;
	let after: { KeyMarker?: string; UploadIdMarker?: string } = {};
	for (;;) {
		const markers = after;
		const page = await attempts.run({ doing, signal, expected: (_name, status) => status === 501 }, (attempt) =>
			client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, MaxUploads: s3Limits.listPageKeys, ...markers }), {
				abortSignal: attempt.signal,
			}),
		);
		if (page instanceof ExpectedAnswer) return removed;
		for (const { Key: key, UploadId: uploadId, Initiated: initiated } of page.Uploads ?? []) {
			if (
				key === undefined ||
				uploadId === undefined ||
				!key.startsWith(prefix) ||
				initiated === undefined ||
				initiated.getTime() > beforeMs
			)
				continue;
			await attempts.run({ doing: `deleting an old upload of ${key}`, signal, expected: (_name, status) => status === 404 }, (attempt) =>
				client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), { abortSignal: attempt.signal }),
			);
			removed++;
		}
		if (page.IsTruncated !== true) return removed;
		const [keyMarker, uploadIdMarker] = [page.NextKeyMarker ?? '', page.NextUploadIdMarker ?? ''];
		if (keyMarker === '' || (keyMarker === markers.KeyMarker && uploadIdMarker === markers.UploadIdMarker))
			throw new StoreError('failed', `${doing}: the list does not go on`);
		after = { KeyMarker: keyMarker, UploadIdMarker: uploadIdMarker };
	}
}
