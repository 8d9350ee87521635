const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `10 GiB`, `1.5 TiB`, `4 KiB`: at most two digits behind the point, for people. */
export function printSize(bytes: number): string {
	let value = bytes;
	let power = 0;
	while (value >= 1024 && power < units.length - 1) {
		value /= 1024;
		power++;
	}
	return power === 0 ? `${bytes} B` : `${Number(value.toFixed(2))} ${units[power]}`;
}

/** The same for a sentence where every byte counts: `10 GiB`, or `10 GiB (10737418241 bytes)` where that is rounded. */
export function exactSize(bytes: number): string {
	const printed = printSize(bytes);
	const [value = '', unit = ''] = printed.split(' ');
	const isExact = Number(value) * 1024 ** units.indexOf(unit as (typeof units)[number]) === bytes;
	return isExact ? printed : `${printed} (${bytes} bytes)`;
}
