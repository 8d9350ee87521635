import type { LayerFile } from './layer-file.ts';

/** A layer as a reader sees it: where its pages are. */
export interface PageHome {
	readonly id: number;
	/** The file that holds a page, undefined while its slice has none; it may be closed just now. */
	handleOf(page: number): LayerFile | undefined;
	positionOf(page: number): number;
	/** How many pages from `page` on lie in the same file, `pages` at most. */
	contiguous(page: number, pages: number): number;
}
