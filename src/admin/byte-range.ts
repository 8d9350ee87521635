/** `from` up to `to`, which is excluded. */
export interface ByteRange {
	readonly from: number;
	readonly to: number;
}

/**
 * What a Range header asks for (RFC 9110 §14.2), of something of a length. Undefined: all of it; so it is too for what is no single range of bytes, as the standard has it. 'unsatisfiable' for what
 * begins behind the end.
 */
export function parseRange(header: string | undefined, lengthBytes: number): ByteRange | 'unsatisfiable' | undefined {
	const parts = /^bytes=(?<first>\d{0,16})-(?<last>\d{0,16})$/.exec(header?.trim() ?? '')?.groups;
	if (parts === undefined) return undefined;
	const [first, last] = [parts['first'] ?? '', parts['last'] ?? ''];
	if (first === '' && last === '') return undefined;
	if (first === '') {
		const length = Math.min(Number(last), lengthBytes);
		return length === 0 ? 'unsatisfiable' : { from: lengthBytes - length, to: lengthBytes };
	}
	const from = Number(first);
	if (last !== '' && Number(last) < from) return undefined;
	if (from >= lengthBytes) return 'unsatisfiable';
	return { from, to: last === '' ? lengthBytes : Math.min(lengthBytes, Number(last) + 1) };
}

/** What the Content-Range of a part that is sent says (RFC 9110 §14.4); the length of the whole may be unknown. Undefined for anything else. */
export function parseContentRange(header: string | undefined): ByteRange | undefined {
	const parts = /^bytes (?<first>\d{1,16})-(?<last>\d{1,16})\/(?:(?<whole>\d{1,16})|\*)$/.exec(header ?? '')?.groups;
	if (parts === undefined) return undefined;
	const range = { from: Number(parts['first']), to: Number(parts['last']) + 1 };
	const whole = parts['whole'] === undefined ? Infinity : Number(parts['whole']);
	return range.from < range.to && range.to <= whole && Number.isSafeInteger(range.to) ? range : undefined;
}

/** A Content-Digest field (RFC 9530 §2) with the SHA-256 of what is sent. */
export function printDigest(sha256: Buffer): string {
	return `sha-256=:${sha256.toString('base64')}:`;
}

/** The SHA-256 in a Content-Digest field; undefined if it has none. */
export function parseDigest(header: string | undefined): Buffer | undefined {
	const digest = /(?:^|,)\s*sha-256=:(?<base64>[A-Za-z0-9+/]{43}=):\s*(?:,|$)/.exec(header ?? '')?.groups?.['base64'];
	return digest === undefined ? undefined : Buffer.from(digest, 'base64');
}
