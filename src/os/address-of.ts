import koffi from 'koffi';

/** Where the bytes of an ArrayBuffer are: they never move. Asking koffi each time, and its BigInts, cost a sixth of a cached read of 4 KiB. */
const addresses = new WeakMap<ArrayBufferLike, number>();
/** The one that was asked for last: a look into the map costs a tenth of a microsecond, and one slab takes many reads. */
let latest: ArrayBufferLike | undefined;
let latestAddress = 0;
/** The view of it that was asked with: even to ask a view for its buffer is a call. */
let latestView: Uint8Array | undefined;
let latestViewAddress = 0;

/** The address of a view's first byte, for a system call that has ended when it returns. For buffers that are used again and again. */
export function addressOf(view: Uint8Array): number {
	if (view === latestView) return latestViewAddress;
	const { buffer, byteOffset } = view;
	if (buffer !== latest) {
		latestAddress = addresses.get(buffer) ?? learn(buffer);
		latest = buffer;
	}
	latestView = view;
	latestViewAddress = latestAddress + byteOffset;
	return latestViewAddress;
}

/** The same where it costs nothing: 0 unless the latest question was about the same buffer. */
export function addressIfLatest(view: Uint8Array): number {
	if (view === latestView) return latestViewAddress;
	return view.buffer === latest ? latestAddress + view.byteOffset : 0;
}

function learn(buffer: ArrayBufferLike): number {
	const address = Number(koffi.address(new Uint8Array(buffer)));
	addresses.set(buffer, address);
	return address;
}
