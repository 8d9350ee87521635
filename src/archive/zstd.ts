import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import koffi from 'koffi';

/**
 * zstd for whole objects. node:zlib makes a context for each call and takes what comes out in pieces: a random chunk of 1 MiB costs it 0.76 ms and text 3.7, of which 0.3 to 0.6 are the kernel's, for memory that
 * comes and goes, in whose way the data path stands. The same library, which node exports, does it in 0.1 and 2.9 with a context that stays (docs/decisions/019). A node without those symbols goes by node:zlib.
 */
export interface Library {
	/** Where the contexts lie. */
	readonly memory: readonly Buffer[];
	/** How many bytes it wrote; an error is more than there is room for. */
	compress(target: Uint8Array, plain: Uint8Array): number;
	decompress(target: Uint8Array, packed: Uint8Array): number;
}

const level = 3;

/** Results are kept here until they are copied: of the calling thread, as long as the longest yet. */
let scratch = Buffer.alloc(0);

/** The frame, in memory that the next call uses again; undefined if it is not shorter than the plain bytes. */
export function pack(plain: Uint8Array, library = loaded): Uint8Array | undefined {
	const packed = library === undefined ? packByNode(plain) : packBy(library, plain);
	return packed.length < plain.length ? packed : undefined;
}

/** Plain bytes in a buffer of their own, or undefined: the frame is damaged, or is of another length. */
export function unpack(packed: Uint8Array, plainLength: number, library = loaded): Buffer | undefined {
	if (library === undefined) return unpackByNode(packed, plainLength);
	const plain = Buffer.allocUnsafeSlow(plainLength);
	const length = library.decompress(plain, packed);
	return length === plainLength ? plain : undefined;
}

function packBy(library: Library, plain: Uint8Array): Uint8Array {
	// ZSTD_COMPRESSBOUND of anything longer than 128 KiB, and more than that of what is shorter: where all of it fits it is written at once.
	const bound = plain.length + (plain.length >> 8) + 1024;
	if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
	const length = library.compress(scratch, plain);
	if (length > bound) throw new Error(`zstd could not pack ${plain.length} bytes`);
	return scratch.subarray(0, length);
}

function packByNode(plain: Uint8Array): Uint8Array {
	return zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: level }, pledgedSrcSize: plain.length });
}

function unpackByNode(packed: Uint8Array, plainLength: number): Buffer | undefined {
	try {
		const plain = zstdDecompressSync(packed, { maxOutputLength: Math.max(1, plainLength) });
		return plain.length === plainLength ? plain : undefined;
	} catch {
		// Whatever it says, the frame cannot be unpacked to what its header promises.
		return undefined;
	}
}

/** undefined: node does not export it. */
export const loaded = load();

function load(): Library | undefined {
	try {
		const node = koffi.load(null);
		const compress = node.func('size_t ZSTD_compressCCtx(void *, void *, size_t, const void *, size_t, int)');
		const decompress = node.func('size_t ZSTD_decompressDCtx(void *, void *, size_t, const void *, size_t)');
		// Contexts in memory of ours: it goes when the thread is ended, in whatever it is then.
		const packing = Buffer.alloc(Number(node.func('size_t ZSTD_estimateCCtxSize(int)')(level)));
		const unpacking = Buffer.alloc(Number(node.func('size_t ZSTD_estimateDCtxSize()')()));
		const [packer, unpacker] = (
			[
				['ZSTD_initStaticCCtx', packing],
				['ZSTD_initStaticDCtx', unpacking],
			] as const
		).map(([name, memory]) => node.func(`void *${name}(void *, size_t)`)(memory, memory.length) as unknown);
		if (packer === null || unpacker === null) return undefined;
		return {
			memory: [packing, unpacking],
			compress: (target, plain) => Number(compress(packer, target, target.length, plain, plain.length, level)),
			decompress: (target, packed) => Number(decompress(unpacker, target, target.length, packed, packed.length)),
		};
	} catch {
		// This node does not export them.
		return undefined;
	}
}
