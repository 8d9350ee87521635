/**
 * Gives back the memory of bytes that nobody needs any more. Left to the collector, it would wait until much of it has gathered, and then have the whole heap looked through: 75 times for each GiB
 * that is archived, 2 to 26 ms each, on the thread of the data path. Bytes that are a part of their buffer stay, since others may have the rest.
 */
export function letGo(bytes: Uint8Array): void {
	const { buffer } = bytes;
	if (buffer instanceof ArrayBuffer && !buffer.detached && bytes.byteLength > 0 && bytes.byteLength === buffer.byteLength)
		buffer.transfer(0);
}
