import { diskBytesMax, levelOneBytesMax } from './limits.ts';
import type { RandomSource } from './image-source.ts';
import {
	Qcow2Header,
	Qcow2HeaderMore,
	clusterBitsMax,
	clusterBitsMin,
	headerLengthMin,
	incompatible,
	qcow2Magic,
	sectorBytes,
	tableEntry,
} from './qcow2-format.ts';
import { ImageError } from './stream-error.ts';

/** What an image says of itself, believed as far as that goes without its tables. */
export interface Qcow2Facts {
	readonly version: 2 | 3;
	readonly clusterBits: number;
	/** Of the disk. */
	readonly sizeBytes: number;
	readonly l1OffsetBytes: number;
	readonly compression: 'zlib' | 'zstd';
}

const headerBytesMax = Qcow2Header.sizeBytes + Qcow2HeaderMore.sizeBytes;

/** Whether these first bytes are those of a qcow2 image. */
export function isQcow2(start: Uint8Array): boolean {
	return start.length >= 4 && Qcow2Header.magic.get(start, 0) === qcow2Magic;
}

/** Reads the header. Rejects with ImageError for what it cannot be, and for what would need something else than this file. */
export async function readQcow2Header(source: RandomSource): Promise<Qcow2Facts> {
	if (source.sizeBytes < Qcow2Header.sizeBytes) throw new ImageError('It is too short for a qcow2 image.');
	const header = Buffer.alloc(headerBytesMax);
	(await source.read(0, Math.min(source.sizeBytes, headerBytesMax))).copy(header);
	if (!isQcow2(header)) throw new ImageError('It is no qcow2 image.');
	const version = Qcow2Header.version.get(header, 0);
	if (version !== 2 && version !== 3) throw new ImageError(`It is a qcow2 image of version ${version}, and 2 and 3 are known.`);
	if (Qcow2Header.backingFileOffset.get(header, 0) !== 0n)
		throw new ImageError(
			'It has a backing file, and holds only what differs from that: make one image of both with "qemu-img convert" first.',
		);
	if (Qcow2Header.cryptMethod.get(header, 0) !== 0) throw new ImageError('It is encrypted: decrypt it with "qemu-img convert" first.');
	const compression = version === 3 ? checkVersion3(header) : 'zlib';

	const clusterBits = Qcow2Header.clusterBits.get(header, 0);
	if (clusterBits < clusterBitsMin || clusterBits > clusterBitsMax)
		throw new ImageError(`It is damaged: its clusters have 2^${clusterBits} bytes.`);
	const size = Qcow2Header.size.get(header, 0);
	if (size > BigInt(diskBytesMax)) throw new ImageError(`Its disk has ${size} bytes, and the largest volume 64 TiB.`);
	const sizeBytes = Number(size);
	if (sizeBytes % sectorBytes !== 0) throw new ImageError(`It is damaged: its disk has ${sizeBytes} bytes, no whole sectors.`);

	const clusterBytes = 2 ** clusterBits;
	const needed = Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / tableEntry.sizeBytes)));
	const l1Size = Qcow2Header.l1Size.get(header, 0);
	if (l1Size < needed) throw new ImageError(`It is damaged: its first table has ${l1Size} entries and needs ${needed}.`);
	if (needed * tableEntry.sizeBytes > levelOneBytesMax)
		throw new ImageError('Its first table is larger than 32 MiB: convert it to larger clusters with "qemu-img convert" first.');
	const l1Offset = Qcow2Header.l1TableOffset.get(header, 0);
	if (l1Offset % BigInt(clusterBytes) !== 0n) throw new ImageError('It is damaged: its first table is at no cluster.');
	if (l1Offset + BigInt(needed * tableEntry.sizeBytes) > BigInt(source.sizeBytes))
		throw new ImageError('It is damaged, or a part of it is missing: its first table is behind the end of the file.');
	return { version, clusterBits, sizeBytes, l1OffsetBytes: Number(l1Offset), compression };
}

function checkVersion3(header: Buffer): Qcow2Facts['compression'] {
	const at = Qcow2Header.sizeBytes;
	const headerLength = Qcow2HeaderMore.headerLength.get(header, at);
	if (headerLength < headerLengthMin || headerLength % 8 !== 0)
		throw new ImageError(`It is damaged: its header has ${headerLength} bytes.`);
	const features = Qcow2HeaderMore.incompatibleFeatures.get(header, at);
	const has = (bit: number): boolean => (features & (1n << BigInt(bit))) !== 0n;
	if (has(incompatible.corrupt)) throw new ImageError('It is marked as corrupt: repair it with "qemu-img check -r all" first.');
	if (has(incompatible.dirty)) throw new ImageError('It was not closed properly: repair it with "qemu-img check -r all" first.');
	if (has(incompatible.externalDataFile)) throw new ImageError('Its data is in another file: convert it with "qemu-img convert" first.');
	if (has(incompatible.extendedL2Entries)) throw new ImageError('It has extended L2 entries: convert it with "qemu-img convert" first.');
	for (let bit = 0; bit < 64; bit++) {
		if (has(bit) && bit !== incompatible.compressionType)
			throw new ImageError(`It needs the incompatible feature of bit ${bit}, which is not known.`);
	}
	const type = headerLength > headerLengthMin ? Qcow2HeaderMore.compressionType.get(header, at) : 0;
	if (type !== 0 && !has(incompatible.compressionType))
		throw new ImageError('It is damaged: its header contradicts itself about the compression.');
	if (type > 1) throw new ImageError(`It is compressed in the way of number ${type}, and zlib (0) and zstd (1) are known.`);
	return type === 0 ? 'zlib' : 'zstd';
}
