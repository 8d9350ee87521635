/** `page` from an offset on, made `lengthBytes` long: what is beyond its end is zeros, as far as `lengthBytesMax`. */
export function cutOut(page: Buffer, offsetBytes: number, lengthBytes: number, lengthBytesMax: number): Buffer {
	const part = page.subarray(offsetBytes, offsetBytes + lengthBytes);
	const wantedBytes = Math.min(lengthBytes, Math.max(part.length, lengthBytesMax));
	if (part.length >= wantedBytes) return part;
	const padded = Buffer.alloc(wantedBytes);
	part.copy(padded);
	return padded;
}
