import { promisify } from 'node:util';
import { inflateRaw, zstdDecompress } from 'node:zlib';
import { errorCode } from '../../os/disk.ts';
import { ImageError } from './stream-error.ts';

const inflate = promisify(inflateRaw);
const decompress = promisify(zstdDecompress);

/** RFC 8878 §3.1.1. */
const zstdMagic = 0xfd2fb528;
const blockHeaderBytes = 3;
const checksumBytes = 4;

/**
 * One compressed cluster: the stream begins with the buffer and ends somewhere in it, since its length is known in whole sectors only. Rejects with ImageError unless exactly `clusterBytes`
 * come out; never makes more of it.
 */
export async function inflateCluster(stored: Buffer, clusterBytes: number, compression: 'zlib' | 'zstd'): Promise<Buffer> {
	let data: Buffer;
	try {
		const options = { maxOutputLength: clusterBytes };
		if (compression === 'zlib') data = await inflate(stored, options);
		else data = await decompress(stored.subarray(0, zstdFrameBytes(stored)), options);
	} catch (error) {
		if (!/^(?:Z_|ZSTD_|ERR_BUFFER_TOO_LARGE|ERR_ZSTD)/.test(errorCode(error))) throw error;
		throw new ImageError('It is damaged: a compressed cluster cannot be decompressed.', { cause: error });
	}
	if (data.length !== clusterBytes)
		throw new ImageError(`It is damaged: a compressed cluster has ${data.length} bytes of ${clusterBytes}.`);
	return data;
}

/** The length of the frame that a buffer begins with (RFC 8878 §3.1.1): a decoder takes what is behind it for another one. Throws ImageError if there is none. */
function zstdFrameBytes(stored: Buffer): number {
	const damaged = new ImageError('It is damaged: a compressed cluster is no zstd frame.');
	if (stored.length < 6 || stored.readUInt32LE(0) !== zstdMagic) throw damaged;
	const descriptor = stored.readUInt8(4);
	const isSingleSegment = (descriptor & 0x20) !== 0;
	const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
	const dictionaryBytes = [0, 1, 2, 4][descriptor & 0x03] ?? 0;
	let at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes + contentSizeBytes;
	for (;;) {
		if (at + blockHeaderBytes > stored.length) throw damaged;
		const header = stored.readUIntLE(at, blockHeaderBytes);
		const [isLast, type, size] = [(header & 1) !== 0, (header >>> 1) & 3, header >>> 3];
		// A block of type 1 is one byte, repeated.
		at += blockHeaderBytes + (type === 1 ? 1 : size);
		if (isLast) break;
	}
	if ((descriptor & 0x04) !== 0) at += checksumBytes;
	if (at > stored.length) throw damaged;
	return at;
}
