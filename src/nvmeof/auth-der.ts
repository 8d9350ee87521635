/** As much of DER (ITU-T X.690) as the keys of a Diffie-Hellman exchange need. */
export const der = {
	/** Unsigned, from big-endian bytes. */
	integer(value: Uint8Array): Buffer {
		let start = 0;
		while (start < value.length - 1 && value[start] === 0) start++;
		const bytes = value.subarray(start);
		// A leading bit of 1 would be a sign.
		return element(0x02, (bytes[0] ?? 0) < 0x80 ? [bytes] : [Buffer.of(0), bytes]);
	},
	sequence: (...elements: readonly Uint8Array[]): Buffer => element(0x30, elements),
	octets: (content: Uint8Array): Buffer => element(0x04, [content]),
	bits: (content: Uint8Array): Buffer => element(0x03, [Buffer.of(0), content]),
	/** The unsigned integer that stands alone in the bit string at the end of a SubjectPublicKeyInfo, as `lengthBytes` big-endian bytes. */
	lastInteger(spki: Buffer, lengthBytes: number): Buffer {
		const outer = contentOf(spki, 0x30);
		const bits = contentOf(outer.subarray(endOf(outer)), 0x03);
		const value = contentOf(bits.subarray(1), 0x02);
		const unsigned = value[0] === 0 ? value.subarray(1) : value;
		return Buffer.concat([Buffer.alloc(lengthBytes - unsigned.length), unsigned]);
	},
};

function element(tag: number, contents: readonly Uint8Array[]): Buffer {
	const content = Buffer.concat(contents);
	const length = Buffer.alloc(4);
	length.writeUInt32BE(content.length);
	const significant = length.subarray(length.findIndex((byte) => byte !== 0));
	const head = content.length < 0x80 ? [tag, content.length] : [tag, 0x80 | significant.length, ...significant];
	return Buffer.concat([Buffer.from(head), content]);
}

function lengthOf(bytes: Buffer): { head: number; length: number } {
	const first = bytes.readUInt8(1);
	if (first < 0x80) return { head: 2, length: first };
	const count = first & 0x7f;
	return { head: 2 + count, length: bytes.readUIntBE(2, count) };
}

function endOf(bytes: Buffer): number {
	const { head, length } = lengthOf(bytes);
	return head + length;
}

function contentOf(bytes: Buffer, tag: number): Buffer {
	if (bytes[0] !== tag) throw new RangeError(`DER tag ${bytes[0]} instead of ${tag}`);
	return bytes.subarray(lengthOf(bytes).head, endOf(bytes));
}
