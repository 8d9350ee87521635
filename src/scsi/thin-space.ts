import { bits, u32be, u8 } from './field.ts';
import type { LogicalUnit } from './logical-unit.ts';

/** What a thin volume takes and what it could take yet, in bytes; a moment old. */
export interface Space {
	readonly usedBytes: number;
	/** Shared with whatever else is on the file system. */
	readonly availableBytes: number;
	/** A threshold that the operator has set is reached. */
	readonly isLow?: boolean;
}

/** SBC-3, threshold set: the unit in which resources are counted. */
const thresholdSetBytes = 1024 * 1024;

/** THRESHOLD EXPONENT: logical blocks of a threshold set, as a power of 2. */
export function thresholdExponent({ device }: LogicalUnit): number {
	return Math.log2(thresholdSetBytes / device.blockSize);
}

/** In threshold sets, at most what 32 bits hold. */
export function thresholdSets(bytes: number): number {
	return Math.min(Math.floor(bytes / thresholdSetBytes), 0xffff_ffff);
}

/** SBC-3, threshold descriptor of the Logical Block Provisioning mode page, the only one; offsets from the page's first byte. THRESHOLD TYPE 000b soft, ARMING 000b decreasing. */
export const threshold = { enabled: bits(16, 7, 1), resource: u8(17), count: u32be(20) };
/** THRESHOLD RESOURCE: available LBA mapping resources. */
export const availableResource = 0x01;
/** A gigabyte, in threshold sets. */
export const defaultThresholdCount = 1024;

/**
 * Tells once when the space that is left comes down to the threshold of the mode page, and again after there was more; the same for the operator's threshold. Space that suffices for
 * all of the volume is never too little for the first.
 */
export class SpaceThreshold {
	#isLow = false;
	#isPast = false;

	get isReached(): boolean {
		return this.#isLow || this.#isPast;
	}

	/** Whether to tell now. `page`: current values of the Logical Block Provisioning mode page. */
	reaches({ usedBytes, availableBytes, isLow: isPast = false }: Space, sizeBytes: number, page: Buffer): boolean {
		const [wasLow, wasPast] = [this.#isLow, this.#isPast];
		const isEnough = thresholdSets(availableBytes) > threshold.count.get(page) || availableBytes >= sizeBytes - usedBytes;
		this.#isLow = threshold.enabled.get(page) === 1 && !isEnough;
		this.#isPast = isPast;
		return (this.#isLow && !wasLow) || (isPast && !wasPast);
	}
}
