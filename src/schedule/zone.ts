import { limits } from './limits.ts';

const formats = new Map<string, Intl.DateTimeFormat>();
/** More zones than the world has. */
const formatsMax = 1024;

/** Whether this Node knows a time zone by that name (IANA: `Europe/Berlin`, `UTC`). */
export function isZone(zone: string): boolean {
	// Intl also takes offsets such as +01:00, which no clock keeps all year where it is put forward.
	if (zone.length > limits.zoneLength || !/^[A-Za-z]/.test(zone)) return false;
	try {
		formatOf(zone);
		return true;
	} catch (error) {
		if (error instanceof RangeError) return false;
		throw error;
	}
}

/** How far the clocks of a zone are ahead of UTC at a moment, milliseconds. */
export function offsetMs(ms: number, zone: string): number {
	if (zone === 'UTC') return 0;
	const values: Record<string, number> = {};
	for (const { type, value } of formatOf(zone).formatToParts(ms)) values[type] = Number(value);
	const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = values;
	return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

function formatOf(zone: string): Intl.DateTimeFormat {
	let format = formats.get(zone);
	if (format === undefined) {
		format = new Intl.DateTimeFormat('en-US', {
			timeZone: zone,
			calendar: 'gregory',
			numberingSystem: 'latn',
			hourCycle: 'h23',
			year: 'numeric',
			month: 'numeric',
			day: 'numeric',
			hour: 'numeric',
			minute: 'numeric',
			second: 'numeric',
		});
		if (formats.size < formatsMax) formats.set(zone, format);
	}
	return format;
}
