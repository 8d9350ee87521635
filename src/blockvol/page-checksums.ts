import { crc32cOfPieces, crc32cOfRange } from '../wire/crc32c.ts';
import { ChecksumJoin } from '../wire/crc32c-join.ts';
import { pageBytes } from './limits.ts';

/** CRCs that mean something else in a page map (absent, zero, lost): a page that has one of them is known by the one so much larger. */
const reservedChecksums = 3;
const join = new ChecksumJoin(pageBytes);

/**
 * A page's checksum as the log and the maps keep it. 0, 1 and 2 are taken in the map (absent, zero, lost), so those three of 2^32 values move up.
 */
export function pageChecksum(page: Uint8Array): number {
	return pageChecksumAt(page, 0);
}

function pageChecksumAt(bytes: Uint8Array, at: number): number {
	const crc = crc32cOfRange(bytes, at, at + pageBytes);
	return crc < reservedChecksums ? crc + reservedChecksums : crc;
}

/** The checksums of the first `pages` pages of `data`. */
export function pageChecksums(data: Uint8Array, pages: number, target: Uint32Array): void {
	crc32cOfPieces(data, pageBytes, pages, target);
	for (let page = 0; page < pages; page++)
		if ((target[page] as number) < reservedChecksums) target[page] = (target[page] as number) + reservedChecksums;
}

/**
 * How many of the `pages` pages of `bytes` from `start` on match their checksums, one after the other. Long runs are compared as a whole first: one call, and a single wrong page shows as surely as by itself, for the join maps
 * different checksums to different ones. Where a checksum was moved up the whole does not match, and each is asked.
 */
export function matchingPages(bytes: Uint8Array, checksums: Uint32Array, pages: number, start = 0): number {
	if (pages > 1 && crc32cOfRange(bytes, start, start + pages * pageBytes) === join.joined(checksums, pages)) return pages;
	for (let page = 0; page < pages; page++) if (pageChecksumAt(bytes, start + page * pageBytes) !== checksums[page]) return page;
	return pages;
}
