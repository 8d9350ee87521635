/** A mode page as MODE SENSE shows it and MODE SELECT takes it back: page_0 format, PS 0. Nothing in any page can be changed or saved. */
export interface ModePage {
	readonly code: number;
	/** The whole page with its two header bytes; the same for current and default values. */
	readonly values: Buffer;
}

/** SBC-3 and SPC-4, ascending by page code. */
export const modePages: readonly ModePage[] = [
	/** Read-Write Error Recovery: an error is reported, not worked around. */
	modePage(0x01, 0x0a, {}),
	/** Caching: WCE, because an acknowledged write may still be in memory; SYNCHRONIZE CACHE and FUA are what they say. */
	modePage(0x08, 0x12, { 2: 0x04 }),
	/**
	 * Control: TST 000b, D_SENSE 0, QUEUE ALGORITHM MODIFIER 1 (commands complete in any order), SWP 0, TAS 1 (what another nexus aborts ends with TASK
	 * ABORTED); BUSY TIMEOUT PERIOD FFFFh (not limited).
	 */
	modePage(0x0a, 0x0a, { 3: 0x10, 5: 0x40, 8: 0xff, 9: 0xff }),
	/** Informational Exceptions Control: DEXCPT, none are reported. */
	modePage(0x1c, 0x0a, { 2: 0x08 }),
];

export function findModePage(code: number): ModePage | undefined {
	return modePages.find((page) => page.code === code);
}

function modePage(code: number, length: number, values: Readonly<Record<number, number>>): ModePage {
	const page = Buffer.alloc(2 + length);
	page[0] = code;
	page[1] = length;
	for (const [offset, value] of Object.entries(values)) page[Number(offset)] = value;
	return { code, values: page };
}
