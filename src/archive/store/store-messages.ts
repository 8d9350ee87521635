import type { StoreLocation } from './location.ts';
import type { ObjectInfo, StoreErrorCode } from './object-store.ts';

/** What threaded-store.ts and store-thread.ts say to each other. Every request has one reply, whatever becomes of it. */
export type Request = { readonly id: number } & (
	| { readonly kind: 'open'; readonly location: StoreLocation }
	| { readonly kind: 'put'; readonly key: string; readonly bytes: Uint8Array<ArrayBuffer>; readonly ifAbsent: boolean }
	| { readonly kind: 'get' | 'head' | 'delete'; readonly key: string }
	/** The first objects of a list; the reply says whether there may be more of it. */
	| { readonly kind: 'list'; readonly prefix: string }
	/** More of the list that was begun with `list`. */
	| { readonly kind: 'next'; readonly list: number }
	| { readonly kind: 'cleanUploads'; readonly olderThanMs: number }
);

/** No replies: an operation is to end, a list is not wanted any more. */
export type Notice = { readonly kind: 'abort'; readonly id: number } | { readonly kind: 'endList'; readonly list: number };

export interface Opened {
	readonly name: string;
	readonly canPutIfAbsent: boolean;
}

export interface ListPart {
	readonly infos: readonly ObjectInfo[];
	readonly isLast: boolean;
}

export type Result = Opened | ListPart | ObjectInfo | Uint8Array | 'stored' | 'exists' | number | undefined;

export interface Reply {
	readonly id: number;
	/** The store's clock is ahead of this machine's by so much. */
	readonly clockOffsetMs: number;
	readonly result?: Result;
	readonly fault?: Fault;
}

export interface Fault {
	/** 'aborted': as it was told to. */
	readonly code: StoreErrorCode | 'aborted';
	readonly message: string;
	readonly retryable: boolean;
	/** Of what was behind it. */
	readonly detail: string;
}
