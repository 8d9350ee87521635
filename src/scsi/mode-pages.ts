import { bits } from './field.ts';

/** A mode page as MODE SENSE shows it and MODE SELECT takes it back: page_0 format, PS 0, because nothing is saved. */
export interface ModePage {
	readonly code: number;
	/** The whole page with its two header bytes, as it is at first and after a reset. */
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

/** SBC-3 and SPC-4, ascending by page code. */
export const modePages: readonly ModePage[] = [
	/** Read-Write Error Recovery: an error is reported, not worked around. */
	modePage(0x01, 0x0a, {}),
	cachingPage,
	controlPage,
	/** Informational Exceptions Control: DEXCPT, none are reported. */
	modePage(0x1c, 0x0a, { 2: 0x08 }),
];

export function findModePage(code: number): ModePage | undefined {
	return modePages.find((page) => page.code === code);
}

function modePage(
	code: number,
	length: number,
	values: Readonly<Record<number, number>>,
	changeableValues: Readonly<Record<number, number>> = {},
): ModePage {
	return { code, defaults: pageOf(code, length, values), changeable: pageOf(code, length, changeableValues) };
}

function pageOf(code: number, length: number, values: Readonly<Record<number, number>>): Buffer {
	const page = Buffer.alloc(2 + length);
	page[0] = code;
	page[1] = length;
	for (const [offset, value] of Object.entries(values)) page[Number(offset)] = value;
	return page;
}
