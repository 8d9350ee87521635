import { UsageError } from '../config/usage-error.ts';
import type { SnapshotInfo } from './snapshot-engine.ts';

/** How long a volume's history is to be: whichever is reached first. */
export interface HistoryWindow {
	readonly windowMs: number;
	readonly maxBytes: number;
}

/** A moment of a volume's past: everything that was acknowledged before that millisecond began, or whose record lies below an LSN. */
export type Moment = { readonly timeMs: number } | { readonly lsn: number };

/** What can be shown of the past. */
export interface HistoryReport extends HistoryWindow {
	/** Later moments can be shown; undefined for a moment after it was begun. */
	readonly fromMs: number | undefined;
	readonly fromLSN: number | undefined;
	readonly toLSN: number;
	readonly heldBytes: number;
	readonly anchors: number;
}

/** What the appliance needs of a volume that can keep a history. */
export interface HistoryVolume {
	/** Undefined: none. */
	keepHistory(window: HistoryWindow | undefined): Promise<void>;
	readonly history: HistoryReport | undefined;
	/** Tells what the history has lost before its time. Returns the function that ends it. */
	onHistory(listener: (event: { readonly kind: 'shortened' | 'lost'; readonly message: string }) => void): () => void;
	/** Makes a snapshot of what the volume held then. */
	rewind(moment: Moment, name: string): Promise<SnapshotInfo>;
}

/** The volume, which can do what is asked for; UsageError if it cannot. */
export function historyCalls(volume: Partial<HistoryVolume>): HistoryVolume {
	if (typeof volume.rewind !== 'function') throw new UsageError("This build's engine keeps no history.", 'unavailable');
	return volume as HistoryVolume;
}
