import { parentPort } from 'node:worker_threads';
import { setThreadUrgency } from '../../os/thread-urgency.ts';
import { letGo } from '../let-go.ts';
import { type ObjectInfo, type ObjectStore, StoreError } from './object-store.ts';
import type { StoreLocation } from './location.ts';
import type { Fault, ListPart, Notice, Reply, Request, Result } from './store-messages.ts';

/** The thread of threaded-store.ts: one store, asked by messages. What is no StoreError ends the thread, and is what its operations fail with. */
const listPartKeys = 1000;

let store: ObjectStore | undefined;
let isFolder = false;
const running = new Map<number, AbortController>();
const lists = new Map<number, List>();

// Where cores are short, the data path goes first; whoever restores lazily waits for a network or a disk.
setThreadUrgency('low');

parentPort?.on('message', (message: Request | Notice) => {
	if (message.kind === 'abort') running.get(message.id)?.abort(new Aborted());
	else if (message.kind === 'endList') endList(message.list);
	else void answer(message);
});

class Aborted extends Error {}

interface List {
	readonly infos: AsyncIterator<ObjectInfo>;
	/** Its end, at whichever part. */
	readonly ended: AbortController;
}

async function answer(request: Request): Promise<void> {
	const controller = new AbortController();
	running.set(request.id, controller);
	try {
		const result = await execute(request, controller.signal);
		send({ id: request.id, clockOffsetMs: clockOffsetMs(), result });
	} catch (error) {
		if (!(error instanceof StoreError) && !(error instanceof Aborted)) throw error;
		send({ id: request.id, clockOffsetMs: clockOffsetMs(), fault: faultOf(error) });
	} finally {
		running.delete(request.id);
	}
}

async function execute(request: Request, signal: AbortSignal): Promise<Result> {
	if (request.kind === 'open') {
		store = await open(request.location, signal);
		return { name: store.name, canPutIfAbsent: store.canPutIfAbsent };
	}
	if (store === undefined) throw new StoreError('failed', 'the store is not open');
	switch (request.kind) {
		case 'put':
			return put(store, request, signal);
		case 'get':
			return store.get(request.key, { signal });
		case 'head':
			return store.head(request.key, { signal });
		case 'list': {
			const ended = new AbortController();
			lists.set(request.id, { infos: store.list(request.prefix, { signal: ended.signal })[Symbol.asyncIterator](), ended });
			return listPart(request.id, signal);
		}
		case 'next':
			return listPart(request.list, signal);
		case 'cleanUploads':
			return store.cleanUploads(request.olderThanMs, { signal });
		default:
			await store.delete(request.key, { signal });
			return undefined;
	}
}

async function put(
	to: ObjectStore,
	{ key, bytes, ifAbsent }: Request & { kind: 'put' },
	signal: AbortSignal,
): Promise<'stored' | 'exists'> {
	const result = await to.put(key, bytes, { ifAbsent, signal });
	// A folder's writes are over. A socket may still read from memory that belongs to an attempt that was given up, and freeing it is not undone by its reference.
	if (isFolder) letGo(bytes);
	return result;
}

async function open(location: StoreLocation, signal: AbortSignal): Promise<ObjectStore> {
	isFolder = location.kind === 'folder';
	if (location.kind === 'folder') {
		const [{ FolderStore }, { ThreadFolderDisk }] = await Promise.all([import('./folder-store.ts'), import('./thread-disk.ts')]);
		return FolderStore.open(location.path, new ThreadFolderDisk());
	}
	// The S3 client is 34 MiB of memory and 200 ms of start: only for those who use it.
	const { openS3Store } = await import('./s3-store.ts');
	return openS3Store(location, { signal });
}

async function listPart(id: number, signal: AbortSignal): Promise<ListPart> {
	const list = lists.get(id);
	if (list === undefined) throw new StoreError('failed', 'there is no such list');
	signal.addEventListener('abort', () => list.ended.abort(signal.reason), { once: true });
	const infos: ObjectInfo[] = [];
	try {
		for (let count = 0; count < listPartKeys; count++) {
			const next = await list.infos.next();
			if (next.done === true) {
				lists.delete(id);
				return { infos, isLast: true };
			}
			infos.push(next.value);
		}
		return { infos, isLast: false };
	} catch (error) {
		lists.delete(id);
		throw error;
	}
}

function endList(id: number): void {
	lists.get(id)?.ended.abort(new Aborted());
	lists.delete(id);
}

function send(reply: Reply): void {
	const { result } = reply;
	const owned = result instanceof Uint8Array && result.byteLength === result.buffer.byteLength && result.buffer instanceof ArrayBuffer;
	parentPort?.postMessage(reply, owned ? [result.buffer] : []);
}

function faultOf(error: StoreError | Aborted): Fault {
	if (!(error instanceof StoreError)) return { code: 'aborted', message: '', retryable: false, detail: '' };
	const detail = error.cause instanceof Error ? `${error.cause.name}: ${error.cause.message}` : '';
	return { code: error.code, message: error.message, retryable: error.retryable, detail };
}

function clockOffsetMs(): number {
	return store === undefined ? 0 : store.nowMs() - Date.now();
}
