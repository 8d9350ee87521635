import type { StoreLocation } from './location.ts';
import type { ObjectStore, StoreOptions } from './object-store.ts';
import { ThreadedStore } from './threaded-store.ts';

/** Opens what a location names, after a look at whether it can be reached and used; a StoreError says what is wrong. Nothing is changed there, but see canPutIfAbsent of S3. */
export function openStore(location: StoreLocation, options: StoreOptions = {}): Promise<ObjectStore> {
	return ThreadedStore.open(location, options);
}
