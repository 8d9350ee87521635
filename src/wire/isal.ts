import koffi from 'koffi';

/**
 * CRC32C of ISA-L (Debian's libisal2), where it is installed: 0.4 µs a page with the call, against 1.0 µs in @node-rs/crc32, and six times as fast on long spans.
 * Undefined where it is not, or where it does not compute what CRC32C is.
 */
export const isalCrc32c: ((data: Uint8Array, seed: number) => number) | undefined = load();

function load(): ((data: Uint8Array, seed: number) => number) | undefined {
	let library: ReturnType<typeof koffi.load>;
	try {
		library = koffi.load('libisal.so.2');
	} catch {
		// koffi names no code; whatever the reason, the native module does the same work.
		return undefined;
	}
	const crc32Iscsi = library.func('uint32_t crc32_iscsi(const void *buffer, int length, uint32_t crc)');
	const crc = (data: Uint8Array, seed: number): number => ~(crc32Iscsi(data, data.length, ~seed >>> 0) as number) >>> 0;
	// RFC 7143 (RFC 3720 B.4): 32 bytes of zeros.
	return crc(new Uint8Array(32), 0) === 0x8a9136aa ? crc : undefined;
}
