import type { Tuning } from '../../src/blockvol/limits.ts';
import { LazyContent } from './lazy-content.ts';
import type { Random } from './random.ts';
import type { Windows } from './windows.ts';

export type Step =
	| { readonly kind: 'write'; readonly offsetBytes: number; readonly lengthBytes: number; readonly fua: boolean }
	| { readonly kind: 'zero'; readonly offsetBytes: number; readonly lengthBytes: number; readonly fua: boolean }
	| { readonly kind: 'read'; readonly offsetBytes: number; readonly lengthBytes: number }
	| { readonly kind: 'flush' }
	| { readonly kind: 'flushToLayers' }
	| { readonly kind: 'snapshot' }
	/** Of one that is there; which is drawn when it comes to it. */
	| { readonly kind: 'deleteSnapshot' }
	| { readonly kind: 'restore'; readonly keepsLive: boolean }
	| { readonly kind: 'resize'; readonly addedBytes: number }
	/** Waits until nothing is outstanding. */
	| { readonly kind: 'settle' }
	/** From here on the disk has so much space left. */
	| { readonly kind: 'space'; readonly freeBytes: number }
	/** A clean stop and a start. */
	| { readonly kind: 'reopen' }
	/** `kill -9` in the middle of everything and a start. */
	| { readonly kind: 'kill' };

/** What a simulated volume looks like; everything is small, so that the log wraps and every limit is met. */
export interface Setting {
	readonly sizeBytes: number;
	readonly blockSize: 512 | 4096;
	readonly segmentBytes: number;
	readonly sliceBytes: number;
	/** Where on the device those bytes are; its size is larger by the gaps. */
	readonly windows: Windows;
	readonly queueDepth: number;
	/** Begins with data everywhere, in the layer. */
	readonly isFilled: boolean;
	/** The disk runs full now and then. */
	readonly isTight: boolean;
	/** How many of a hundred steps are about snapshots. */
	readonly snapshotShare: number;
	readonly tuning: Partial<Tuning>;
	/** It is a lazily restored one, and this is what it begins with. */
	readonly lazy?: LazyContent;
}

const kib = 1024;

export function drawSetting(random: Random): Setting {
	const sizeBytes = random.pick([256 * kib, 512 * kib, 512 * kib, 1024 * kib, 1536 * kib]);
	const count = random.pick([1, 1, 2, 8]);
	const segmentBytes = random.chance(0.8) ? 64 * kib : 128 * kib;
	return {
		sizeBytes,
		windows: { count, windowBytes: sizeBytes / count, gapBytes: random.pick([4 * 1024 * kib, 2 ** 40]) },
		blockSize: random.chance(0.8) ? 512 : 4096,
		segmentBytes,
		sliceBytes: random.pick([128 * kib, 512 * kib, 8 * 2 ** 40]),
		queueDepth: random.pick([1, 1, 3, 8, 32]),
		isFilled: random.chance(0.4),
		isTight: random.chance(0.2),
		snapshotShare: random.pick([0, 8, 20]),
		tuning: {
			walSegmentsMax: random.between(3, 8),
			flushStartBytes: random.pick([16 * kib, 64 * kib, 128 * kib, 512 * kib]),
			flushIdleMs: 0,
			// A page more than a record may have.
			dirtyPagesMax: random.pick([segmentBytes / 4 / 4096 + 1, 64, 1024]),
			zeroRangesMax: random.pick([4, 16, 1024]),
			snapshotsPendingMax: random.pick([1, 4, 1000, 1000]),
			flushBatchBytes: random.pick([8 * kib, 64 * kib, 1024 * kib]),
			mapCacheBlocks: random.pick([8, 16]),
			belowBlocks: random.pick([2, 16]),
			layerFilesMax: random.pick([1, 4, 64]),
			inlineAppendBytesMax: random.pick([0, 8 * kib, 256 * kib]),
			inlineOverwriteBytesMax: random.pick([0, 1024 * kib]),
			inlineStallMs: Infinity,
			directBytesMin: random.pick([8 * kib, 64 * kib, Infinity]),
			overwriteBytesMin: random.pick([4 * kib, 8 * kib, 32 * kib, Infinity]),
			markAfterWrites: random.pick([1, 1, 2]),
			noSpaceRetryMs: 1,
			mergeShare: 1,
			flushTurnEntries: random.pick([1, 5, 4096]),
			flushStartDirectPages: random.pick([4, 32, 65536]),
			flushDirectMs: random.pick([0, Infinity]),
			flushDirectPagesMax: random.pick([24, 65536]),
		},
	};
}

/** The same as a lazily restored volume, which is filled meanwhile, or only by those who read. */
export function lazySetting(setting: Setting, random: Random): Setting {
	const gapBytes = 4 * 1024 * kib;
	const windows = { ...setting.windows, gapBytes };
	const tuning = {
		...setting.tuning,
		remoteFillersMax: random.pick([0, 0, 0, 1]),
		remoteAheadMax: random.pick([0, 0, 2]),
		remoteFetchesMax: random.pick([1, 2, 8]),
		remoteFillShare: 1,
		remoteFreeBytesMin: 0,
	};
	return { ...setting, isFilled: false, windows, tuning, lazy: new LazyContent(random.branch(), setting.sizeBytes, windows) };
}

/** Random commands over the whole volume and, more often, over a small part that is written again and again. */
export function drawSteps(random: Random, setting: Setting, count: number, kinds: { restarts: boolean }): Step[] {
	const steps: Step[] = setting.isFilled ? fill(setting) : [];
	while (steps.length < count) {
		if (random.below(100) < setting.snapshotShare) {
			const which = random.below(20);
			if (which < 11) steps.push({ kind: 'snapshot' });
			else if (which < 16) steps.push({ kind: 'deleteSnapshot' });
			else steps.push({ kind: 'restore', keepsLive: random.chance(0.5) });
			continue;
		}
		if (setting.lazy !== undefined && random.chance(0.15)) {
			// Over pages of which many are missing still, and then into the layer.
			const offsetBytes = random.below(setting.sizeBytes / 4096) * 4096;
			const lengthBytes = Math.min(setting.sizeBytes - offsetBytes, random.between(1, 64) * 4096);
			steps.push({ kind: 'zero', offsetBytes, lengthBytes, fua: random.chance(0.5) }, { kind: 'flushToLayers' });
			continue;
		}
		const dice = random.below(100);
		if (dice < 52) steps.push({ kind: 'write', ...drawRange(random, setting, 1024 * kib), fua: random.chance(0.1) });
		else if (dice < 62) steps.push({ kind: 'zero', ...drawRange(random, setting, setting.sizeBytes), fua: random.chance(0.1) });
		else if (dice < 72) steps.push({ kind: 'read', ...drawRange(random, setting, 256 * kib) });
		else if (dice < 84) steps.push({ kind: 'flush' });
		else if (dice < 92) steps.push({ kind: 'flushToLayers' });
		else if (dice < 94) steps.push({ kind: 'resize', addedBytes: 4 * kib * random.between(1, 16) });
		else if (dice < 97) steps.push(setting.isTight ? drawSpace(random) : { kind: 'settle' });
		else if (kinds.restarts) steps.push({ kind: random.chance(0.5) ? 'reopen' : 'kill' });
	}
	return steps;
}

function fill({ sizeBytes }: Setting): Step[] {
	const steps: Step[] = [];
	for (let offsetBytes = 0; offsetBytes < sizeBytes; offsetBytes += 256 * kib)
		steps.push({ kind: 'write', offsetBytes, lengthBytes: Math.min(256 * kib, sizeBytes - offsetBytes), fua: false });
	return [...steps, { kind: 'settle' }, { kind: 'flush' }, { kind: 'flushToLayers' }, { kind: 'settle' }];
}

function drawSpace(random: Random): Step {
	return { kind: 'space', freeBytes: random.pick([0, 4 * kib, 64 * kib, 256 * kib, Infinity]) };
}

function drawRange(random: Random, setting: Setting, lengthBytesMax: number): { offsetBytes: number; lengthBytes: number } {
	const unit = setting.blockSize;
	const blocks = setting.sizeBytes / unit;
	// As many lengths of 1 to 8 blocks as of whole pages and as of anything.
	const shape = random.below(20);
	const wanted =
		shape < 8
			? random.between(1, 8) * unit
			: shape < 14
				? random.between(1, 8) * 4096
				: shape < 19
					? random.between(1, 128) * 512
					: lengthBytesMax;
	const length = Math.min(blocks, Math.max(1, Math.floor(Math.min(wanted, lengthBytesMax) / unit)));
	const isHot = random.chance(0.6);
	const room = blocks - length;
	let first = random.below((isHot ? Math.min(room, (64 * kib) / unit) : room) + 1);
	if (shape >= 8 && shape < 14) first -= first % (4096 / unit);
	return { offsetBytes: first * unit, lengthBytes: length * unit };
}
