import { exactSize } from '../os/size-text.ts';
import { limits } from './limits.ts';
import type { Hold } from './superblock.ts';

/** How far back a volume can be put: whichever is reached first. */
export interface HistoryWindow {
	readonly windowMs: number;
	/** Of log that is kept for it. */
	readonly maxBytes: number;
}

const namePattern = /^history (\d+)$/;

/** What a superblock says of a history: the log is kept from here on, for so long (in the name) and so much of it (the budget). */
export function historyHold({ windowMs, maxBytes }: HistoryWindow, fromLSN: number): Hold {
	return { name: `history ${windowMs}`, fromLSN, budgetBytes: maxBytes };
}

export function isHistoryHold({ name }: Hold): boolean {
	return namePattern.test(name);
}

export function windowOf({ name, budgetBytes }: Hold): HistoryWindow {
	return { windowMs: Number(namePattern.exec(name)?.[1]), maxBytes: budgetBytes };
}

/** Why there can be no such history, or undefined. */
export function windowFault({ windowMs, maxBytes }: HistoryWindow, segmentBytes: number): string | undefined {
	const { historyMsMin, historyMsMax, historySegmentsMin, historySegmentsMax } = limits;
	if (!Number.isSafeInteger(windowMs) || windowMs < historyMsMin || windowMs > historyMsMax)
		return `a history of ${windowMs / 1000} s: from ${historyMsMin / 1000} s to ${historyMsMax / 1000} s (30 days) are possible`;
	const bytesMin = historySegmentsMin * segmentBytes;
	if (!Number.isSafeInteger(maxBytes) || maxBytes < bytesMin)
		return `a history of at most ${exactSize(maxBytes)}: at least ${exactSize(bytesMin)} are needed, ${historySegmentsMin} segments of the log`;
	if (maxBytes > historySegmentsMax * segmentBytes)
		return `a history of at most ${exactSize(maxBytes)}: up to ${exactSize(historySegmentsMax * segmentBytes)} are possible, ${historySegmentsMax} segments of the log`;
	return undefined;
}

/** Names that no snapshot of a person can have. */
const anchorPrefix = '\0';

/** Whether a snapshot is one of the history's own, on which what the log holds is put (timeline.ts). */
export function isAnchor({ name }: { readonly name: string }): boolean {
	return name.startsWith(anchorPrefix);
}

export function anchorName(id: number): string {
	return `${anchorPrefix}${id}`;
}
