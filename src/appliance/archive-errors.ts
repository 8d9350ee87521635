import { ArchiveError, type ArchiveErrorCode } from '../archive/repository-types.ts';
import { StoreError, type StoreErrorCode } from '../archive/store/object-store.ts';
import { UsageError, type UsageErrorCode } from '../config/usage-error.ts';
import { kernelCode } from './kernel-code.ts';
import { sentence } from './refusals.ts';

const ofStore: Record<StoreErrorCode, UsageErrorCode> = {
	unreachable: 'unavailable',
	notFound: 'notFound',
	denied: 'unavailable',
	noSpace: 'noSpace',
	invalid: 'invalid',
	failed: 'unavailable',
};

const ofArchive: Record<ArchiveErrorCode, UsageErrorCode> = {
	noRepository: 'notFound',
	repositoryExists: 'alreadyExists',
	unsupported: 'unavailable',
	wrongKey: 'invalid',
	noManifest: 'notFound',
	missing: 'unavailable',
	corrupt: 'unavailable',
	geometry: 'invalid',
	source: 'unavailable',
	sink: 'unavailable',
	stale: 'unavailable',
	tooLarge: 'invalid',
	closed: 'unavailable',
};

/** What a store or a repository refuses, or the kernel reports, as the sentence for who asked; anything else is ours and goes on. */
export function archiveRefusal(error: unknown, what: string): unknown {
	const cause = { cause: error };
	if (error instanceof StoreError) return new UsageError(sentence(what, error.message), ofStore[error.code], cause);
	if (error instanceof ArchiveError) return new UsageError(sentence(what, error.message), ofArchive[error.code], cause);
	const code = kernelCode(error);
	if (code === '' || error instanceof UsageError) return error;
	if (code === 'ENOSPC' || code === 'EDQUOT')
		return new UsageError(`${what}: the file system is full; make room on it first.`, 'noSpace', cause);
	return new UsageError(`${what}: the kernel answers ${code}.`, 'unavailable', cause);
}

/** Whether the same may succeed later with nobody doing anything. */
export function isPassing(error: unknown): boolean {
	if (error instanceof StoreError) return error.retryable;
	return error instanceof ArchiveError && error.code === 'stale';
}
