import { exactSize } from '../os/size-text.ts';
import type { HistoryOperations } from '../admin/history-routes.ts';
import type { HistoryView, HistoryWish, MomentWish } from '../admin/history-schemas.ts';
import type { RestoredView, SnapshotView } from '../admin/snapshot-schemas.ts';
import type { Configuration } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import { isSnapshotName } from '../schedule/name-template.ts';
import type { EventLog } from './event-log.ts';
import { historyCalls, type HistoryVolume, type Moment } from './history-engine.ts';
import type { OpenVolume } from './volume-slot.ts';
import type { ApplianceSnapshots } from './snapshots.ts';
import { asUsage } from './refusals.ts';
import type { Volumes } from './volumes.ts';

export interface HistoryParts {
	readonly configuration: Configuration;
	readonly volumes: Volumes;
	readonly snapshots: ApplianceSnapshots;
	readonly events: EventLog;
	/** Changes of the appliance run one at a time. */
	readonly inTurn: <T>(change: () => Promise<T>) => Promise<T>;
}

/**
 * The histories of the volumes. Whether a volume keeps one stands in its own directory, so that it does from the first write of each opening, and still does in another appliance that takes the
 * directory over.
 */
export class ApplianceHistory implements HistoryOperations {
	readonly #parts: HistoryParts;
	/** Those that are listened to. */
	readonly #heard = new WeakSet<HistoryVolume>();

	constructor(parts: HistoryParts) {
		this.#parts = parts;
	}

	/** The volumes were opened: what becomes of their histories is told from now on. */
	start(): void {
		for (const { name } of this.#parts.configuration.volumes()) {
			const volume: PerhapsHistory | undefined = this.#parts.volumes.slot(name).volume;
			if (typeof volume?.onHistory === 'function') this.#listen(name, historyCalls(volume));
		}
	}

	view(volume: string): HistoryView {
		const { history } = this.#open(volume);
		if (history === undefined) return { volume, isOn: false };
		const { windowMs, maxBytes, fromMs, fromLSN, toLSN, heldBytes, anchors } = history;
		return {
			volume,
			isOn: true,
			windowSeconds: windowMs / 1000,
			maxBytes,
			...(fromMs === undefined ? {} : { from: new Date(fromMs).toISOString() }),
			...(fromLSN === undefined ? {} : { fromLSN }),
			toLSN,
			heldBytes,
			anchors,
		};
	}

	keep(volume: string, { windowSeconds, maxBytes }: HistoryWish): Promise<HistoryView> {
		return this.#parts.inTurn(async () => {
			const open = this.#open(volume);
			try {
				await open.keepHistory({ windowMs: windowSeconds * 1000, maxBytes });
			} catch (error) {
				throw asUsage(error, `Volume ${volume} does not keep that history`, 'invalid');
			}
			this.#listen(volume, open);
			const message = `Volume ${volume} keeps a history of ${windowSeconds} seconds, of at most ${exactSize(maxBytes)}.`;
			this.#parts.events.add({ severity: 'info', kind: 'history-on', volume, message });
			return this.view(volume);
		});
	}

	end(volume: string): Promise<HistoryView> {
		return this.#parts.inTurn(async () => {
			const open = this.#open(volume);
			try {
				await open.keepHistory(undefined);
			} catch (error) {
				throw asUsage(error, `The history of volume ${volume} was not ended`);
			}
			this.#parts.events.add({ severity: 'warning', kind: 'history-off', volume, message: `Volume ${volume} keeps no history any more.` });
			return this.view(volume);
		});
	}

	/** Not in turn: it may read gigabytes of log, and changes nothing that others look at. */
	async show(volume: string, name: string, wish: MomentWish): Promise<SnapshotView> {
		if (!isSnapshotName(name))
			throw new UsageError(
				`${JSON.stringify(name.slice(0, 80))} is no name of a snapshot: use 1 to 63 letters, digits, '.', '_' and '-', the first a letter or digit.`,
			);
		if (this.#parts.configuration.schedules.isIntended(volume, name))
			throw new UsageError(`A schedule is about to make ${volume}@${name}.`, 'alreadyExists');
		const moment = momentOf(wish);
		await this.#put(volume, moment, name);
		const message = `Snapshot ${volume}@${name} shows what the volume held at ${described(moment)}.`;
		this.#parts.events.add({ severity: 'info', kind: 'volume-rewound', volume, snapshot: name, message });
		return this.#parts.snapshots.view(volume, name);
	}

	/** A snapshot of the moment, the volume restored to it, and the snapshot goes again. A crash in between leaves the snapshot, to be looked at or deleted. */
	async restore(volume: string, { keepLiveAs, ...wish }: MomentWish & { readonly keepLiveAs?: string | undefined }): Promise<RestoredView> {
		const { snapshots, events } = this.#parts;
		const moment = momentOf(wish);
		const name = `rewind-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
		await this.#put(volume, moment, name);
		try {
			const restored = await snapshots.restore(volume, name, keepLiveAs === undefined ? {} : { keepLiveAs });
			const message = `Volume ${volume} is what it was at ${described(moment)}.`;
			events.add({ severity: 'warning', kind: 'volume-rewound', volume, message });
			return restored;
		} finally {
			await this.#forget(volume, name);
		}
	}

	/** What the caller has to hear of is what became of the volume, and not of the snapshot between. */
	async #forget(volume: string, name: string): Promise<void> {
		try {
			await this.#parts.snapshots.remove(volume, name);
		} catch (error) {
			if (!(error instanceof UsageError)) throw error;
			const message = `Snapshot ${volume}@${name} was made for a rewind and is still there: ${error.message}`;
			this.#parts.events.add({ severity: 'warning', kind: 'rewind-leftover', volume, snapshot: name, message });
		}
	}

	async #put(volume: string, moment: Moment, name: string): Promise<void> {
		const open = this.#open(volume);
		try {
			await open.rewind(moment, name);
		} catch (error) {
			const what = `Volume ${volume} cannot be shown as it was at ${described(moment)}`;
			throw asUsage(error, what);
		}
	}

	#open(volume: string): HistoryVolume {
		const open: PerhapsHistory = this.#parts.volumes.openVolume(volume);
		return historyCalls(open);
	}

	#listen(name: string, volume: HistoryVolume): void {
		if (this.#heard.has(volume)) return;
		this.#heard.add(volume);
		volume.onHistory(({ kind, message }) => {
			this.#parts.events.add({ severity: kind === 'lost' ? 'error' : 'warning', kind: `history-${kind}`, volume: name, message });
		});
	}
}

type PerhapsHistory = OpenVolume & Partial<HistoryVolume>;

function momentOf({ at, lsn }: MomentWish): Moment {
	if (at !== undefined && lsn === undefined) return { timeMs: Date.parse(at) };
	if (lsn !== undefined && at === undefined) return { lsn };
	throw new UsageError('A moment is a time or an LSN: name one of them.');
}

function described(moment: Moment): string {
	return 'lsn' in moment ? `LSN ${moment.lsn}` : new Date(moment.timeMs).toISOString();
}
