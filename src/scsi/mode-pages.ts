import { bits } from './field.ts';
import { availableResource, defaultThresholdCount } from './thin-space.ts';

/** A mode page as MODE SENSE shows it and MODE SELECT takes it back: PS 0, because nothing is saved. */
export interface ModePage {
	readonly code: number;
	/** 0: page_0 format with two header bytes, else the sub_page format with four. */
	readonly subpage: number;
	readonly headerLength: number;
	/** The whole page with its header, as it is at first and after a reset. */
	readonly defaults: Buffer;
	/** Which bits MODE SELECT may change, with the page's header bytes. */
	readonly changeable: Buffer;
}

/** What of the pages can be changed. Offsets count from the page's first byte. */
export const modeFields = {
	/** Caching: WCE 0 means that a write is answered when it is on stable storage. */
	wce: bits(2, 2, 1),
	/** Control: sense data in descriptor format. */
	dSense: bits(2, 2, 1),
	/** Control: software write protect. */
	swp: bits(4, 3, 1),
};

/** Caching: WCE, because an acknowledged write may still be in memory; SYNCHRONIZE CACHE and FUA are what they say. */
export const cachingPage = modePage(0x08, 0x12, { 2: 0x04 }, { 2: 0x04 });

/**
 * Control: TST 000b, QUEUE ALGORITHM MODIFIER 1 (commands complete in any order), TAS 1 (what another nexus aborts ends with TASK ABORTED); BUSY TIMEOUT PERIOD FFFFh (not
 * limited).
 */
export const controlPage = modePage(0x0a, 0x0a, { 3: 0x10, 5: 0x40, 8: 0xff, 9: 0xff }, { 2: 0x04, 4: 0x08 });

/** Logical Block Provisioning: one soft threshold, told to all nexuses, at a gigabyte that is left. It can be set elsewhere, and switched off. */
export const provisioningPage = modeSubpage(
	0x1c,
	0x02,
	0x14,
	{ 16: 0x80, 17: availableResource, 22: defaultThresholdCount >> 8 },
	{ 16: 0x80, 20: 0xff, 21: 0xff, 22: 0xff, 23: 0xff },
);

/** SBC-3 and SPC-4, ascending by page code and subpage. */
export const modePages: readonly ModePage[] = [
	/** Read-Write Error Recovery: an error is reported, not worked around. */
	modePage(0x01, 0x0a, {}),
	cachingPage,
	controlPage,
	/** Informational Exceptions Control: DEXCPT, none are reported. */
	modePage(0x1c, 0x0a, { 2: 0x08 }),
	provisioningPage,
];

export function findModePage(code: number, subpage: number): ModePage | undefined {
	return modePages.find((page) => page.code === code && page.subpage === subpage);
}

type PageBytes = Readonly<Record<number, number>>;

function modePage(code: number, length: number, values: PageBytes, changeableValues: PageBytes = {}): ModePage {
	const header = [code, length];
	return {
		code,
		subpage: 0,
		headerLength: 2,
		defaults: pageOf(header, length, values),
		changeable: pageOf(header, length, changeableValues),
	};
}

/** SPC-4, sub_page mode page format: SPF, and a length of two bytes. */
function modeSubpage(code: number, subpage: number, length: number, values: PageBytes, changeableValues: PageBytes): ModePage {
	const header = [code | 0x40, subpage, length >> 8, length & 0xff];
	return { code, subpage, headerLength: 4, defaults: pageOf(header, length, values), changeable: pageOf(header, length, changeableValues) };
}

function pageOf(header: readonly number[], length: number, values: PageBytes): Buffer {
	const page = Buffer.alloc(header.length + length);
	page.set(header);
	for (const [offset, value] of Object.entries(values)) page[Number(offset)] = value;
	return page;
}
