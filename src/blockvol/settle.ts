import { readFully } from '../os/transfer.ts';
import { placeLayer, type Generation } from './generation.ts';
import type { Layer } from './layer.ts';
import { pageBytes } from './limits.ts';
import { regionPages } from './marks.ts';
import { isChecksum } from './page-map.ts';
import type { Superblock } from './superblock.ts';
import { pageChecksum } from './page-checksums.ts';

/**
 * Compares the pages of marked regions that are in the layer with their checksums. What does not match was being overwritten when the process or the machine ended: it
 * enters the generation with the checksum that it has. What a failed fdatasync may have left in memory only is written again.
 */
export async function settle(
	generation: Generation,
	layer: Layer,
	{ geometry, checkpointLSN, marks }: Superblock,
	durableLSN: number,
	mode: 'existing' | 'readOnly',
): Promise<void> {
	const endPage = geometry.sizeBytes / pageBytes;
	const bytes = Buffer.allocUnsafeSlow(regionPages * pageBytes);
	for (const region of marks) {
		const last = Math.min((region + 1) * regionPages, endPage);
		for (let first = region * regionPages; first < last;) {
			const pages = layer.contiguous(first, last - first);
			const file = layer.fileOf(first);
			const part = bytes.subarray(0, pages * pageBytes);
			if (file !== undefined) await readFully(file, part, layer.positionOf(first));
			let unsure = 0;
			for (let at = 0; at <= pages; at++) {
				const isUnsure =
					at < pages && file !== undefined && (await settlePage(generation, layer, first + at, page(part, at), checkpointLSN, durableLSN));
				if (isUnsure) unsure++;
				else if (unsure > 0) {
					if (mode === 'existing')
						await layer.write(first + at - unsure, [part.subarray((at - unsure) * pageBytes, at * pageBytes)], unsure);
					unsure = 0;
				}
			}
			first += pages;
		}
	}
}

/** True if the page may be in memory only. */
async function settlePage(
	generation: Generation,
	layer: Layer,
	pageNumber: number,
	bytes: Uint8Array,
	checkpointLSN: number,
	durableLSN: number,
): Promise<boolean> {
	const entry = generation.find(pageNumber);
	const location = entry < 0 ? checkpointLSN : generation.locationOf(entry);
	if (generation.zeros.lsnOf(pageNumber) >= location || (entry >= 0 && generation.placeOf(entry) !== placeLayer)) return false;
	if (entry < 0) await layer.map.load(pageNumber);
	const expected = entry < 0 ? layer.map.entry(pageNumber) : generation.checksumOf(entry);
	if (!isChecksum(expected)) return false;
	const checksum = pageChecksum(bytes);
	if (checksum !== expected) generation.put(pageNumber, location, checksum, placeLayer);
	return checksum !== expected || location >= durableLSN;
}

function page(bytes: Buffer, at: number): Buffer {
	return bytes.subarray(at * pageBytes, (at + 1) * pageBytes);
}
