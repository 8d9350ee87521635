import { keepRules, type Keep } from '../schedule/retention.ts';
import { limits as policyLimits } from '../schedule/limits.ts';
import { isZone } from '../schedule/zone.ts';
import type { SqliteDatabase } from './database.ts';
import { limits } from './limits.ts';
import { checkRepositoryName, quoted } from './names.ts';
import type { Transactions } from './transactions.ts';
import { UsageError } from './usage-error.ts';

/** Where a repository is: nothing of it is secret. */
export type RepositoryLocation =
	| { readonly kind: 'folder'; readonly path: string }
	| {
			readonly kind: 's3';
			/** http(s)://HOST[:PORT]; undefined: Amazon's of the region. */
			readonly endpoint?: string | undefined;
			readonly region: string;
			readonly bucket: string;
			/** Before every key; '' for none. */
			readonly prefix: string;
			readonly pathStyle: boolean;
			/** Undefined: the credentials of the process's environment. */
			readonly accessKeyId?: string | undefined;
			readonly caFile?: string | undefined;
	  };

export interface RepositoryRow {
	readonly name: string;
	readonly location: RepositoryLocation;
	/** Never in an answer or a log. */
	readonly secretAccessKey: string | undefined;
	/** Undefined: the repository is not encrypted. Never in an answer or a log. */
	readonly passphrase: string | undefined;
	/** What is kept of each volume; all 0: everything, until somebody deletes it. */
	readonly keep: Keep;
	/** Of the calendar of the rules. */
	readonly zone: string;
	readonly createdAt: string;
}

export interface NewRepository {
	readonly name: string;
	readonly location: RepositoryLocation;
	readonly secretAccessKey?: string | undefined;
	readonly passphrase?: string | undefined;
	readonly keep?: Partial<Keep> | undefined;
	readonly zone?: string | undefined;
}

/** What it leaves out stays as it is. */
export interface RepositoryChange {
	readonly accessKeyId?: string | undefined;
	readonly secretAccessKey?: string | undefined;
	readonly passphrase?: string | undefined;
	readonly keep?: { readonly [Rule in keyof Keep]?: number | undefined } | undefined;
	readonly zone?: string | undefined;
}

interface RepositoryRecord extends Keep {
	name: string;
	location: string;
	secretAccessKey: string | null;
	passphrase: string | null;
	zone: string;
	createdAt: string;
}

const nothingKept: Keep = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
/** S3's rules for buckets, which other servers follow. */
const bucketName = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const regionName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const prefixForm = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*\/?)?$/;

/** The repositories that the appliance knows, with the manners of Configuration. What is in them is nowhere but in them. */
export class Repositories {
	readonly #transactions: Transactions;
	readonly #database: SqliteDatabase;
	readonly #now: () => Date;

	constructor(transactions: Transactions, now: () => Date) {
		this.#transactions = transactions;
		this.#database = transactions.database;
		this.#now = now;
	}

	all(): RepositoryRow[] {
		return this.#transactions.read(() =>
			this.#database.prepare<[], RepositoryRecord>(`${selectRepository} ORDER BY name`).all().map(rowOf),
		);
	}

	find(name: string): RepositoryRow | undefined {
		return this.#transactions.read(() => {
			const record = this.#database.prepare<[string], RepositoryRecord>(`${selectRepository} WHERE name = ?`).get(name);
			return record === undefined ? undefined : rowOf(record);
		});
	}

	/** The row, or UsageError notFound. */
	get(name: string): RepositoryRow {
		const row = this.find(name);
		if (row === undefined) throw new UsageError(`There is no repository ${name}.`, 'notFound');
		return row;
	}

	/** Refuses what add() would refuse, before anything is asked of a store; returns the row that it would make. */
	check(wish: NewRepository): RepositoryRow {
		checkRepositoryName(wish.name);
		const location = checkedLocation(wish.location);
		checkSecrets(location, wish);
		const keep = { ...nothingKept, ...wish.keep };
		const zone = wish.zone ?? 'UTC';
		checkKeep(keep, zone);
		if (this.find(wish.name) !== undefined) throw new UsageError(`There is a repository ${wish.name} already.`, 'alreadyExists');
		const all = this.all();
		const same = all.find((row) => placeOf(row.location) === placeOf(location));
		if (same !== undefined)
			throw new UsageError(
				`Repository ${same.name} is at ${placeOf(location)} already: use that one, or remove it first.`,
				'alreadyExists',
			);
		if (all.length >= limits.repositories)
			throw new UsageError(`There are ${limits.repositories} repositories, which is the most.`, 'inUse');
		const { name, secretAccessKey, passphrase } = wish;
		return { name, location, secretAccessKey, passphrase, keep, zone, createdAt: this.#now().toISOString() };
	}

	add(wish: NewRepository): RepositoryRow {
		return this.#transactions.change(() => {
			const { name, location, secretAccessKey, passphrase, keep, zone, createdAt } = this.check(wish);
			this.#database
				.prepare('INSERT INTO repositories (name, location, secret_access_key, passphrase, zone, created_at) VALUES (?, ?, ?, ?, ?, ?)')
				.run(name, JSON.stringify(location), secretAccessKey ?? null, passphrase ?? null, zone, createdAt);
			this.#setKeep(name, keep);
			return this.get(name);
		});
	}

	/** What check() is to add(); the row that change() would leave. */
	changed(name: string, change: RepositoryChange): RepositoryRow {
		const row = this.get(name);
		if (change.accessKeyId !== undefined && row.location.kind !== 's3') throw onlyS3('--access-key-id');
		const accessKeyId = change.accessKeyId ?? (row.location.kind === 's3' ? row.location.accessKeyId : undefined);
		const location = row.location.kind === 's3' ? { ...row.location, accessKeyId } : row.location;
		const secretAccessKey = change.secretAccessKey ?? row.secretAccessKey;
		const passphrase = change.passphrase ?? row.passphrase;
		checkSecrets(location, { secretAccessKey, passphrase });
		const said = Object.entries(change.keep ?? {}).filter(([, count]) => count !== undefined);
		const keep: Keep = { ...row.keep, ...Object.fromEntries(said) };
		const zone = change.zone ?? row.zone;
		checkKeep(keep, zone);
		return { ...row, location, secretAccessKey, passphrase, keep, zone };
	}

	change(name: string, change: RepositoryChange): RepositoryRow {
		return this.#transactions.change(() => {
			const { location, secretAccessKey, passphrase, keep, zone } = this.changed(name, change);
			this.#database
				.prepare('UPDATE repositories SET location = ?, secret_access_key = ?, passphrase = ?, zone = ? WHERE name = ?')
				.run(JSON.stringify(location), secretAccessKey ?? null, passphrase ?? null, zone, name);
			this.#setKeep(name, keep);
			return this.get(name);
		});
	}

	/** Forgets where it is; what is in it stays. Refused (inUse) while a schedule archives into it or work for it is left. */
	remove(name: string): RepositoryRow {
		return this.#transactions.change(() => {
			const row = this.get(name);
			const schedule = this.#database
				.prepare<[string], string>('SELECT name FROM schedules WHERE repository = ? ORDER BY name')
				.pluck()
				.get(name);
			if (schedule !== undefined)
				throw new UsageError(`Schedule ${schedule} archives into repository ${name}: change the schedule first.`, 'inUse');
			const job = this.#database
				.prepare<[string], number>("SELECT id FROM archive_jobs WHERE repository = ? AND state IN ('waiting', 'running') ORDER BY id")
				.pluck()
				.get(name);
			if (job !== undefined)
				throw new UsageError(`Job ${job} is still at work for repository ${name}: wait for its end, or cancel it first.`, 'inUse');
			this.#database.prepare('DELETE FROM repositories WHERE name = ?').run(name);
			return row;
		});
	}

	#setKeep(name: string, keep: Keep): void {
		this.#database
			.prepare(
				'UPDATE repositories SET keep_last = ?, keep_hourly = ?, keep_daily = ?, keep_weekly = ?, keep_monthly = ?, keep_yearly = ? WHERE name = ?',
			)
			.run(keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly, name);
	}
}

const selectRepository = `SELECT name, location, secret_access_key AS secretAccessKey, passphrase, zone, created_at AS createdAt, keep_last AS last,
	keep_hourly AS hourly, keep_daily AS daily, keep_weekly AS weekly, keep_monthly AS monthly, keep_yearly AS yearly FROM repositories`;

function rowOf({ name, location, secretAccessKey, passphrase, zone, createdAt, ...keep }: RepositoryRecord): RepositoryRow {
	return {
		name,
		location: JSON.parse(location) as RepositoryLocation,
		secretAccessKey: secretAccessKey ?? undefined,
		passphrase: passphrase ?? undefined,
		keep,
		zone,
		createdAt,
	};
}

/** `/backup`, `s3://bucket/prefix at https://host`: for people, and the same for the same place. */
export function placeOf(location: RepositoryLocation): string {
	if (location.kind === 'folder') return location.path;
	const { bucket, prefix, endpoint } = location;
	return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}${endpoint === undefined ? '' : ` at ${endpoint}`}`;
}

/** Whether it has a rule: else nothing is ever deleted by itself. */
export function hasRules(keep: Keep): boolean {
	return keepRules.some((rule) => keep[rule] > 0);
}

/** The location in its normal form. */
function checkedLocation(location: RepositoryLocation): RepositoryLocation {
	if (location.kind === 'folder') {
		checkPath(location.path, 'The folder of a repository');
		return { kind: 'folder', path: location.path.replace(/(?<=.)\/+$/, '') };
	}
	const { bucket, region, endpoint, caFile, accessKeyId } = location;
	if (!bucketName.test(bucket)) throw new UsageError(`${quoted(bucket)} is no name of a bucket: it is 3 to 63 of a-z, 0-9, '.' and '-'.`);
	if (!regionName.test(region)) throw new UsageError(`${quoted(region)} is no region: it looks like us-east-1.`);
	if (!prefixForm.test(location.prefix) || location.prefix.length > limits.repositoryPrefixLength) {
		throw new UsageError(
			`${quoted(location.prefix)} is no prefix in a bucket: use letters, digits, '.', '_', '-' and single slashes, ${limits.repositoryPrefixLength} at most.`,
		);
	}
	if (caFile !== undefined) checkPath(caFile, 'The file of certificates');
	if (accessKeyId !== undefined && !/^[\x21-\x7e]{1,255}$/.test(accessKeyId))
		throw new UsageError('An access key id is 1 to 255 characters of ASCII without spaces.');
	return {
		...location,
		prefix: location.prefix.replace(/\/$/, ''),
		...(endpoint === undefined ? {} : { endpoint: checkedEndpoint(endpoint) }),
	};
}

function checkedEndpoint(endpoint: string): string {
	const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
	if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '' || url.hash !== '')
		throw new UsageError(`${quoted(endpoint)} is no endpoint of S3: it looks like https://s3.example.com:8443.`);
	// A secret in it would be shown with the location.
	if (url.username !== '' || url.password !== '')
		throw new UsageError('An endpoint holds no name and password: --access-key-id and --secret-access-key take them.');
	return url.origin;
}

function checkPath(path: string, what: string): void {
	if (!path.startsWith('/') || path.length > limits.repositoryPathLength || path.includes('\0'))
		throw new UsageError(`${what} is an absolute path of at most ${limits.repositoryPathLength} characters, not ${quoted(path)}.`);
}

function checkSecrets(
	location: RepositoryLocation,
	{ secretAccessKey, passphrase }: { secretAccessKey?: string | undefined; passphrase?: string | undefined },
): void {
	if (location.kind === 'folder') {
		if (secretAccessKey !== undefined) throw onlyS3('--secret-access-key');
	} else if ((location.accessKeyId === undefined) !== (secretAccessKey === undefined)) {
		throw new UsageError('--access-key-id and --secret-access-key go together; without both the environment of the appliance has them.');
	}
	if (secretAccessKey !== undefined && (secretAccessKey.length === 0 || secretAccessKey.length > limits.secretAccessKeyLength))
		throw new UsageError(`A secret access key is 1 to ${limits.secretAccessKeyLength} characters.`);
	const bytes = passphrase === undefined ? limits.passphraseBytesMin : Buffer.byteLength(passphrase);
	if (bytes < limits.passphraseBytesMin || bytes > limits.passphraseBytesMax)
		throw new UsageError(`A passphrase is ${limits.passphraseBytesMin} to ${limits.passphraseBytesMax} bytes.`);
}

function onlyS3(flag: string): UsageError {
	return new UsageError(`${flag} is for repositories on S3, not in a folder.`);
}

function checkKeep(keep: Keep, zone: string): void {
	let total = 0;
	for (const rule of keepRules) {
		if (!Number.isInteger(keep[rule]) || keep[rule] < 0)
			throw new UsageError(`How many archived snapshots are kept is a whole number, not ${keep[rule]} (${rule}).`);
		total += keep[rule];
	}
	if (total > policyLimits.keepTotal)
		throw new UsageError(`A repository keeps at most ${policyLimits.keepTotal} archived snapshots of a volume by rules, not ${total}.`);
	if (!isZone(zone)) throw new UsageError(`${quoted(zone)} is no time zone that this system knows: it looks like UTC or Europe/Berlin.`);
}
