import type { Repository } from '../archive/repository.ts';
import type { StoreLocation } from '../archive/store/location.ts';
import { type Repositories, type RepositoryRow, placeOf } from '../config/repositories.ts';
import { UsageError } from '../config/usage-error.ts';
import { archiveRefusal } from './archive-errors.ts';
import type { RunnerClock } from './schedule-runner.ts';

/** Nobody has used it for so long: its memory, its threads and its connections are given back. */
const idleMs = 60_000;

interface Opened {
	readonly repository: Promise<Repository>;
	users: number;
	cancelIdle: () => void;
	/** Its row is another now: nobody new takes it. */
	isForgotten: boolean;
}

/** The open repositories: one each, shared by whoever uses it, so that its catalogue is read once; closed when nobody has for a while. */
export class ArchiveRepositories {
	readonly #rows: Repositories;
	readonly #clock: RunnerClock;
	readonly #opened = new Map<string, Opened>();
	readonly #closing = new Set<Promise<void>>();
	#isStopped = false;

	constructor(rows: Repositories, clock: RunnerClock) {
		this.#rows = rows;
		this.#clock = clock;
	}

	/** Rejects with UsageError for a repository that is not there or cannot be opened; what `work` throws goes on as it is. */
	async use<T>(name: string, work: (repository: Repository) => Promise<T>): Promise<T> {
		const row = this.#rows.get(name);
		if (this.#isStopped) throw new UsageError('The appliance is being stopped.', 'unavailable');
		const entry = this.#opened.get(name) ?? this.#open(row);
		entry.users++;
		entry.cancelIdle();
		try {
			return await work(await entry.repository);
		} finally {
			entry.users--;
			this.#released(name, entry);
		}
	}

	/** Whether a row opens, or with `create` makes, a repository: rejects with UsageError if not. Nothing stays open. */
	async probe(row: RepositoryRow, create: boolean): Promise<void> {
		try {
			await (await openRow(row, create)).close();
		} catch (error) {
			throw archiveRefusal(error, `Repository ${row.name} cannot be ${create ? 'made' : 'opened'} at ${placeOf(row.location)}`);
		}
	}

	/** The row is another, or gone: whoever comes opens it anew. */
	forget(name: string): void {
		const entry = this.#opened.get(name);
		if (entry === undefined) return;
		this.#opened.delete(name);
		entry.isForgotten = true;
		if (entry.users === 0) this.#close(entry);
	}

	/** When nothing uses them any more. */
	async closeAll(): Promise<void> {
		this.#isStopped = true;
		for (const name of this.#opened.keys()) this.forget(name);
		await Promise.all(this.#closing);
	}

	#open(row: RepositoryRow): Opened {
		const repository = openRow(row, false).catch((error: unknown) => {
			// What could not be opened is tried anew by the next one.
			if (this.#opened.get(row.name) === entry) this.#opened.delete(row.name);
			entry.isForgotten = true;
			throw archiveRefusal(error, `Repository ${row.name} cannot be opened`);
		});
		const entry: Opened = { repository, users: 0, cancelIdle: () => undefined, isForgotten: false };
		this.#opened.set(row.name, entry);
		return entry;
	}

	#released(name: string, entry: Opened): void {
		if (entry.users > 0) return;
		if (entry.isForgotten) this.#close(entry);
		else entry.cancelIdle = this.#clock.later(idleMs, () => this.forget(name));
	}

	#close(entry: Opened): void {
		entry.cancelIdle();
		const closing = closed(entry).finally(() => this.#closing.delete(closing));
		this.#closing.add(closing);
	}
}

async function closed({ repository }: Opened): Promise<void> {
	const opened = await repository.catch(() => undefined);
	await opened?.close();
}

/** Not at the top: neither the repository nor the client of S3 is in the memory of a process that archives nothing. */
async function openRow(row: RepositoryRow, create: boolean): Promise<Repository> {
	const [{ openStore }, { createRepository, openRepository }] = await Promise.all([
		import('../archive/store/open-store.ts'),
		import('../archive/repository.ts'),
	]);
	const store = await openStore(storeLocation(row));
	try {
		const options = row.passphrase === undefined ? {} : { passphrase: row.passphrase };
		return await (create ? createRepository(store, options) : openRepository(store, options));
	} catch (error) {
		await store.close();
		throw error;
	}
}

function storeLocation({ location, secretAccessKey }: RepositoryRow): StoreLocation {
	if (location.kind === 'folder') return location;
	const { endpoint, region, bucket, prefix, pathStyle, accessKeyId, caFile } = location;
	return {
		kind: 's3',
		region,
		bucket,
		prefix,
		pathStyle,
		...(endpoint === undefined ? {} : { endpoint }),
		...(accessKeyId === undefined || secretAccessKey === undefined ? {} : { accessKeyId, secretAccessKey }),
		...(caFile === undefined ? {} : { caFile }),
	};
}
