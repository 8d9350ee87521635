import { FolderStore } from './folder-store.ts';
import type { StoreLocation } from './location.ts';
import type { ObjectStore, StoreOptions } from './object-store.ts';

/** Opens what a location names, after a look at whether it can be reached and used; a StoreError says what is wrong. Nothing is changed there, but see canPutIfAbsent of S3. */
export async function openStore(location: StoreLocation, options: StoreOptions = {}): Promise<ObjectStore> {
	if (location.kind === 'folder') return FolderStore.open(location.path);
	// The S3 client is 34 MiB of memory and 200 ms of start: only for those who use it.
	const { ThreadedStore } = await import('./threaded-store.ts');
	return ThreadedStore.open(location, options);
}
