import { decodeManifestInTurns, manifestBytesMax, summaryOf } from './manifest.ts';
import { limits } from './limits.ts';
import { isId, manifestKey, manifestPrefix } from './object-keys.ts';
import { type Repository, signalOf } from './repository.ts';
import { ArchiveError, type Manifest, type ManifestSummary } from './repository-types.ts';
import { objectKinds } from './sealed-object.ts';
import { BoundedTasks } from './bounded-tasks.ts';

/** The manifest of a volume of 1 TiB in chunks of 1 MiB has some 20 KiB. */
const unsealedHereBytesMax = 32 * 1024;

export interface ListOptions {
	/** Of one volume. */
	readonly volumeUuid?: string;
	readonly signal?: AbortSignal;
	/** Is told of manifests that cannot be read, which are left out; without it they are an error. */
	readonly onDamaged?: (error: ArchiveError) => void;
}

/** What is archived, oldest snapshot first. Manifests that were read before are not read again. */
export async function listManifests(repository: Repository, options: ListOptions = {}): Promise<ManifestSummary[]> {
	const ids = new Set<string>();
	for await (const id of manifestIds(repository, options.signal)) ids.add(id);
	repository.manifests.keepOnly(ids);
	const found: ManifestSummary[] = [];
	const tasks = new BoundedTasks(limits.parallel);
	for (const id of ids) {
		await tasks.run(async () => {
			try {
				const summary = await summaryFor(repository, id, options.signal);
				if (summary !== undefined && (options.volumeUuid ?? summary.volume.uuid) === summary.volume.uuid) found.push(summary);
			} catch (error) {
				if (!(error instanceof ArchiveError) || options.onDamaged === undefined) throw error;
				options.onDamaged(error);
			}
		});
	}
	await tasks.idle();
	return found.sort((a, b) => a.snapshot.timeMs - b.snapshot.timeMs || a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
}

/** ArchiveError noManifest, corrupt. */
export async function openManifest(repository: Repository, id: string, signal?: AbortSignal): Promise<Manifest> {
	const manifest = isId(id) ? await readManifest(repository, id, signal) : undefined;
	if (manifest === undefined)
		throw new ArchiveError('noManifest', `There is no manifest ${id} at ${repository.store.name}.`, { object: manifestKey(id) });
	return manifest;
}

/** Removes a manifest; what only it needed is the collector's. One that is gone is done. */
export async function deleteManifest(repository: Repository, id: string, signal?: AbortSignal): Promise<void> {
	if (!isId(id)) throw new ArchiveError('noManifest', `${JSON.stringify(id.slice(0, 80))} is no id of a manifest.`);
	await repository.store.delete(manifestKey(id), signalOf(signal));
	repository.manifests.delete(id);
}

/**
 * Deletes the manifests of a volume that a rule does not keep; resolves to those. `keep` is pure: summaries, oldest first, to the ids that stay. The newest one always stays: the next increment
 * stands on it.
 */
export async function applyRetention(
	repository: Repository,
	volumeUuid: string,
	keep: (manifests: readonly ManifestSummary[]) => ReadonlySet<string>,
	signal?: AbortSignal,
): Promise<ManifestSummary[]> {
	const manifests = await listManifests(repository, { volumeUuid, ...signalOf(signal) });
	const deleted = retired(manifests, keep);
	for (const { id } of deleted) await deleteManifest(repository, id, signal);
	return deleted;
}

/** What applyRetention would delete, oldest first. */
export function retired(
	manifests: readonly ManifestSummary[],
	keep: (manifests: readonly ManifestSummary[]) => ReadonlySet<string>,
): ManifestSummary[] {
	const kept = keep(manifests);
	return manifests.filter(({ id }, index) => index < manifests.length - 1 && !kept.has(id));
}

/** Ids of all objects under manifests/, revoked ones among them. ArchiveError tooLarge. */
export async function* manifestIds(repository: Repository, signal?: AbortSignal): AsyncGenerator<string> {
	let count = 0;
	for await (const { key } of repository.store.list(manifestPrefix, signalOf(signal))) {
		const id = key.slice(manifestPrefix.length);
		if (!isId(id)) continue;
		if (++count > limits.manifestsMax)
			throw new ArchiveError('tooLarge', `${repository.store.name} has more than ${limits.manifestsMax} manifests.`);
		yield id;
	}
}

/** undefined: there is none, or its export was revoked. */
export async function readManifest(repository: Repository, id: string, signal?: AbortSignal): Promise<Manifest | undefined> {
	const key = manifestKey(id);
	const object = await repository.store.get(key, signalOf(signal));
	if (object === undefined) return undefined;
	const isRevoked = object.length > 5 && object[4] === objectKinds.revoked;
	const kind = isRevoked ? 'revoked' : 'manifest';
	// Of a small one the way to a thread costs more than the work.
	const plain =
		object.length <= unsealedHereBytesMax
			? repository.unsealSmall(kind, object, key, manifestBytesMax)
			: (await repository.readCodec.unseal(kind, object, key, manifestBytesMax)).plain;
	if (isRevoked) {
		repository.manifests.set(id, 'revoked');
		return undefined;
	}
	const manifest = await decodeManifestInTurns(plain, id, key);
	repository.manifests.set(id, summaryOf(manifest));
	return manifest;
}

async function summaryFor(repository: Repository, id: string, signal: AbortSignal | undefined): Promise<ManifestSummary | undefined> {
	const known = repository.manifests.get(id);
	if (known !== undefined) return known === 'revoked' ? undefined : known;
	const manifest = await readManifest(repository, id, signal);
	return manifest === undefined ? undefined : summaryOf(manifest);
}
