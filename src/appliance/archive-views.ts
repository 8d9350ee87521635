import type { NewRepositoryWish, RepositoryView } from '../admin/archive-schemas.ts';
import { ArchiveError, type ManifestSummary } from '../archive/repository-types.ts';
import type { Repository } from '../archive/repository.ts';
import { type RepositoryRow, placeOf } from '../config/repositories.ts';
import { UsageError } from '../config/usage-error.ts';
import type { KeepRule } from '../schedule/retention.ts';

/** Without secrets. */
export function viewOf({ name, location, secretAccessKey, passphrase, keep, zone, createdAt }: RepositoryRow): RepositoryView {
	return {
		name,
		place: placeOf(location),
		location,
		hasSecret: secretAccessKey !== undefined,
		isEncrypted: passphrase !== undefined,
		keep,
		zone,
		createdAt,
	};
}

/** Also one that is damaged. */
export async function isIn(repository: Repository, manifest: string): Promise<boolean> {
	const { openManifest } = await import('../archive/catalogue.ts');
	try {
		await openManifest(repository, manifest);
		return true;
	} catch (error) {
		if (!(error instanceof ArchiveError)) throw error;
		if (error.code === 'noManifest') return false;
		// What is damaged may go, too.
		if (error.code === 'corrupt') return true;
		throw error;
	}
}

/** The one of this id, or UsageError notFound. */
export function found(repository: string, id: string, all: readonly ManifestSummary[]): ManifestSummary {
	const one = all.find((manifest) => manifest.id === id);
	if (one === undefined) throw new UsageError(`Repository ${repository} has no archived snapshot ${id.slice(0, 64)}.`, 'notFound');
	return one;
}

/** Without what was not said. */
export function said(keep: NewRepositoryWish['keep']): Partial<Record<KeepRule, number>> {
	return Object.fromEntries(Object.entries(keep ?? {}).filter(([, count]) => count !== undefined));
}

/** `data-before-20261121-190000`. */
export function nameBefore(volume: string, nowMs: number): string {
	const time = new Date(nowMs).toISOString().replaceAll(/[-:]/g, '').slice(0, 15).replace('T', '-');
	return `${volume.slice(0, 40)}-before-${time}`;
}
