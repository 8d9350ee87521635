export { exactSize, printSize } from '../os/size-text.ts';
import { UsageError } from '../config/usage-error.ts';

const units = ['', 'K', 'M', 'G', 'T'] as const;

/**
 * Bytes of `10G`, `512MiB`, `1.5T` or `4096`. Units are powers of 1024, with or without `iB`; a fraction is taken when it comes out at whole bytes.
 * Throws UsageError, also beyond 64 TiB: exact integers, no rounding.
 */
export function parseSize(text: string): number {
	const parts = /^(?<whole>\d{1,16})(?:\.(?<fraction>\d{1,16}))?(?: ?(?<unit>[kmgt])(?:iB|ib)?)?(?<bytes>B)?$/i.exec(text.trim())?.groups;
	if (parts === undefined) throw refused(text);
	const fraction = parts['fraction'] ?? '';
	const power = units.indexOf((parts['unit'] ?? '').toUpperCase() as (typeof units)[number]);
	// 10 GB is 10^10 bytes to some and 10 GiB to others.
	if (parts['bytes'] !== undefined && parts['unit'] !== undefined) throw refused(text);
	const scaled = BigInt(`${parts['whole'] ?? ''}${fraction}`) * 1024n ** BigInt(power);
	const divisor = 10n ** BigInt(fraction.length);
	if (scaled % divisor !== 0n) throw new UsageError(`${JSON.stringify(text)} is no whole number of bytes.`);
	const bytes = scaled / divisor;
	if (bytes > 64n * 1024n ** 4n) throw new UsageError(`${JSON.stringify(text)} is more than 64 TiB, which is the largest volume.`);
	return Number(bytes);
}

function refused(text: string): UsageError {
	return new UsageError(`${JSON.stringify(text.slice(0, 40))} is no size: write 10G, 512MiB, 1.5T or a number of bytes.`);
}
