import { checkSize } from './object-store.ts';

/**
 * Reads an answer's body whole. One that ends early is an error of the connection, whatever the transport thought of it.
 * @throws StoreError for one that is longer than an object may be
 */
export async function readBody(body: AsyncIterable<Uint8Array>, sizeBytes: number | undefined, key: string): Promise<Buffer> {
	if (sizeBytes === undefined) return collect(body, key);
	const bytes = Buffer.allocUnsafeSlow(checkSize(key, sizeBytes));
	let at = 0;
	for await (const part of body) {
		if (at + part.length > sizeBytes) throw cutOff(`${at + part.length} bytes came of ${sizeBytes}`);
		bytes.set(part, at);
		at += part.length;
	}
	if (at < sizeBytes) throw cutOff(`${at} bytes came of ${sizeBytes}`);
	return bytes;
}

async function collect(body: AsyncIterable<Uint8Array>, key: string): Promise<Buffer> {
	const parts: Uint8Array[] = [];
	let sizeBytes = 0;
	for await (const part of body) {
		sizeBytes = checkSize(key, sizeBytes + part.length);
		parts.push(part);
	}
	return Buffer.concat(parts, sizeBytes);
}

/** As Node names it when it notices. */
function cutOff(message: string): Error {
	return Object.assign(new Error(message), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}
