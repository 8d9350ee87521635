import { FolderStore } from './folder-store.ts';
import type { StoreLocation } from './location.ts';
import { type ObjectStore, StoreError } from './object-store.ts';

/** Opens what a location names, after a look at whether it can be reached and used; a StoreError says what is wrong. */
export function openStore(location: StoreLocation): Promise<ObjectStore> {
	if (location.kind === 'folder') return FolderStore.open(location.path);
	return Promise.reject(new StoreError('invalid', 'this build has no S3 client; take a folder'));
}
