import koffi from 'koffi';
import { addressIfLatest, addressOf } from '../os/address-of.ts';

interface Isal {
	/** Of a part of `data`, which crc32cOfRange has looked at. */
	crc32c(this: void, data: Uint8Array, start: number, end: number, seed: number): number;
	/** Checksums of `count` pieces of `pieceBytes` each, one behind the other from the beginning of `data`. By address: a view of each piece would cost half as much again as its checksum. */
	crc32cOfPieces(this: void, data: Uint8Array, pieceBytes: number, count: number, target: Uint32Array): void;
}

/**
 * CRC32C of ISA-L (Debian's libisal2), where it is installed: 0.13 µs a page of memory that is in the cache, against 1.0 µs in @node-rs/crc32, and six times as fast on long spans.
 * Undefined where it is not, or where it does not compute what CRC32C is.
 */
export const isal: Isal | undefined = load();

function load(): Isal | undefined {
	let library: ReturnType<typeof koffi.load>;
	try {
		library = koffi.load('libisal.so.2');
	} catch {
		// koffi names no code; whatever the reason, the native module does the same work.
		return undefined;
	}
	const byView = library.func('uint32_t crc32_iscsi(const void *buffer, int length, uint32_t crc)');
	const byAddress = library.func('int32_t crc32_iscsi(uintptr_t buffer, int32_t length, int32_t crc)');
	const crc32c = (data: Uint8Array, start: number, end: number, seed: number): number => {
		// Of what has just been read, the address is known: by it the call takes half the time.
		const address = addressIfLatest(data);
		const crc: unknown =
			address === 0 ? byView(data.subarray(start, end), end - start, ~seed >>> 0) : byAddress(address + start, end - start, ~seed);
		return ~(crc as number) >>> 0;
	};
	const crc32cOfPieces = (data: Uint8Array, pieceBytes: number, count: number, target: Uint32Array): void => {
		if (pieceBytes * count > data.length || count > target.length) throw new RangeError('pieces behind the end of the data');
		const address = addressOf(data);
		for (let piece = 0; piece < count; piece++) target[piece] = ~(byAddress(address + piece * pieceBytes, pieceBytes, -1) as number);
	};
	// RFC 7143 (RFC 3720 B.4): 32 bytes of zeros.
	return crc32c(new Uint8Array(32), 0, 32, 0) === 0x8a9136aa ? { crc32c, crc32cOfPieces } : undefined;
}
