import { exactSize } from '../os/size-text.ts';
import type { SqliteDatabase } from './database.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** How much of the disk a volume may take, and from where on somebody is told. */
export interface SpaceLimits {
	/** Of its data and that of its snapshots; undefined: as much as the file system has. */
	readonly quotaBytes: number | undefined;
	/** Of the quota, or of the volume's size where there is none; undefined: nobody is told. */
	readonly thresholdPercent: number | undefined;
}

export const noLimits: SpaceLimits = { quotaBytes: undefined, thresholdPercent: undefined };
/** Of the file system of the data directory, unless another one was said. */
export const directoryThresholdDefault = 90;
const quotaBytesMin = 2 ** 20;
const quotaBytesMax = 2 ** 50;

/** The space limits of volumes, by UUID, and of the data directory, with the manners of Configuration. */
export class SpaceLimitsStore {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;

	constructor(transactions: Transactions) {
		this.#transactions = transactions;
		this.#database = transactions.database;
	}

	of(volumeUuid: string): SpaceLimits {
		const row = this.#transactions.read(() =>
			this.#database
				.prepare<[string], { quotaBytes: number | null; thresholdPercent: number | null }>(
					'SELECT quota_bytes AS quotaBytes, threshold_percent AS thresholdPercent FROM volume_space WHERE volume_uuid = ?',
				)
				.get(volumeUuid),
		);
		return { quotaBytes: row?.quotaBytes ?? undefined, thresholdPercent: row?.thresholdPercent ?? undefined };
	}

	/** Of a volume that there is. Refuses (UsageError) what is no quota or no threshold. */
	set(volumeUuid: string, { quotaBytes, thresholdPercent }: SpaceLimits): void {
		if (quotaBytes !== undefined && !(Number.isSafeInteger(quotaBytes) && quotaBytes >= quotaBytesMin && quotaBytes <= quotaBytesMax))
			throw new UsageError(`A quota is from 1 MiB to 1 PiB, not ${exactSize(quotaBytes)}.`);
		if (thresholdPercent !== undefined) checkPercent(thresholdPercent);
		this.#transactions.change(() => {
			this.#database
				.prepare(
					`INSERT INTO volume_space (volume_uuid, quota_bytes, threshold_percent) VALUES (?, ?, ?)
					ON CONFLICT (volume_uuid) DO UPDATE SET quota_bytes = excluded.quota_bytes, threshold_percent = excluded.threshold_percent`,
				)
				.run(volumeUuid, quotaBytes ?? null, thresholdPercent ?? null);
		});
	}

	/** Of the data directory's file system; undefined: nobody is told. */
	get directoryThresholdPercent(): number | undefined {
		const row = this.#transactions.read(() =>
			this.#database.prepare<[], { percent: number | null }>('SELECT threshold_percent AS percent FROM directory_space').get(),
		);
		return row === undefined ? directoryThresholdDefault : (row.percent ?? undefined);
	}

	setDirectoryThreshold(percent: number | undefined): void {
		if (percent !== undefined) checkPercent(percent);
		this.#transactions.change(() => {
			this.#database
				.prepare(
					'INSERT INTO directory_space (id, threshold_percent) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET threshold_percent = excluded.threshold_percent',
				)
				.run(percent ?? null);
		});
	}
}

function checkPercent(percent: number): void {
	if (!Number.isInteger(percent) || percent < 1 || percent > 100) throw new UsageError(`A threshold is 1 to 100 percent, not ${percent}.`);
}
