import { errorCode } from '../os/disk.ts';
import type { Allocation } from './block-device.ts';
import { pageBytes } from './limits.ts';
import { found } from './page-index.ts';
import type { PageFinder } from './reader.ts';

/** How many pages one look goes over: 64 MiB, about a millisecond. */
const pagesMax = 16384;

/** BlockDevice.allocation of an open volume, page by page: what reads as zeros without being looked at is not mapped. */
export async function allocationFrom(index: PageFinder, offsetBytes: number, endBytes: number, extentsMax: number): Promise<Allocation> {
	const extents: Allocation['extents'] = [];
	let at = offsetBytes;
	try {
		for (let pages = 0; pages < pagesMax && at < endBytes;) {
			const page = Math.floor(at / pageBytes);
			const kind = index.find(page);
			if (kind === found.notLoaded) {
				await index.load(page);
				continue;
			}
			pages++;
			const isMapped = kind !== found.zero;
			const lengthBytes = (page + 1) * pageBytes - at;
			const last = extents.at(-1);
			if (last?.isMapped === isMapped) last.lengthBytes += lengthBytes;
			else if (extents.length === extentsMax) break;
			else extents.push({ lengthBytes, isMapped });
			at += lengthBytes;
		}
	} catch (error) {
		if (errorCode(error) === '') throw error;
		return { outcome: 'mediumError', extents: [] };
	}
	return { outcome: 'good', extents };
}
