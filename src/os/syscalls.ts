import { constants } from 'node:os';
import koffi from 'koffi';
import { addressOf } from './address-of.ts';
import { errorCode } from './disk.ts';

/**
 * System calls that Node does not offer, through koffi. Each returns what the call returned, or throws an Error with the kernel's `code`.
 * Those that may wait for a disk run on libuv's thread pool.
 */
const library = koffi.load(null);
const preadv2 = library.func('int64_t preadv2(int fd, intptr_t iov, int count, int64_t offset, int flags)');
const fallocate = library.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseek = library.func('int64_t lseek(int fd, int64_t offset, int whence)');
const flock = library.func('int flock(int fd, int operation)');

const RWF_NOWAIT = 8;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_EX = 2;
const LOCK_NB = 4;

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** An Error with the kernel's `code`. */
export function systemCallFailure(call: string, errno: number): Error {
	const code = names.get(errno) ?? `errno ${errno}`;
	return Object.assign(new Error(`${code}: ${call}`), { code, errno: -errno, syscall: call });
}

/** One iovec of two 64-bit fields, filled anew for each call: the calls are synchronous, so one serves all. The machine is little-endian. */
// An ArrayBuffer made by itself: the garbage collector moves the content of small typed arrays.
const iovec = new Uint32Array(new ArrayBuffer(16));
const iovecAddress = Number(koffi.address(iovec));
/** preadv2(RWF_NOWAIT) into a part of `target`: bytes read from the page cache, 0 at the end of the file, -1 when the kernel would have to wait. */
export function readFromCache(fd: number, target: Uint8Array, positionBytes: number, start = 0, end = target.length): number {
	if (start < 0 || start > end || end > target.length) throw new RangeError('a read behind the end of its buffer');
	const address = addressOf(target) + start;
	iovec[0] = address >>> 0;
	iovec[1] = Math.floor(address / 0x1_0000_0000);
	iovec[2] = end - start;
	const result = Number(preadv2(fd, iovecAddress, 1, positionBytes, RWF_NOWAIT));
	if (result >= 0) return result;
	const errno = koffi.errno();
	// EOPNOTSUPP: a file system without RWF_NOWAIT; then every read takes the thread pool.
	if (errno === constants.errno.EAGAIN || errno === constants.errno.EOPNOTSUPP) return -1;
	throw systemCallFailure('preadv2', errno);
}

function onPool(call: string, run: (done: (error: unknown, result: unknown) => void) => void): Promise<number> {
	return new Promise((resolve, reject) => {
		run((error, result) => {
			const value = Number(result);
			if (error !== null && error !== undefined) reject(error instanceof Error ? error : new Error(call, { cause: error }));
			else if (value < 0) reject(systemCallFailure(call, koffi.errno()));
			else resolve(value);
		});
	});
}

/** fallocate(PUNCH_HOLE | KEEP_SIZE). */
export async function punchHole(fd: number, positionBytes: number, lengthBytes: number): Promise<void> {
	await onPool('fallocate', (done) => {
		fallocate.async(fd, FALLOC_FL_PUNCH_HOLE + FALLOC_FL_KEEP_SIZE, positionBytes, lengthBytes, done);
	});
}

/** fallocate(KEEP_SIZE): the range has space afterwards, and its bytes stay. A file system that cannot is no error. */
export async function allocate(fd: number, positionBytes: number, lengthBytes: number): Promise<void> {
	try {
		await onPool('fallocate', (done) => {
			fallocate.async(fd, FALLOC_FL_KEEP_SIZE, positionBytes, lengthBytes, done);
		});
	} catch (error) {
		if (errorCode(error) !== 'EOPNOTSUPP') throw error;
	}
}

/** SEEK_DATA and SEEK_HOLE: the next range with data at or after a position, undefined if there is none. */
export async function nextDataRange(fd: number, positionBytes: number): Promise<{ startBytes: number; endBytes: number } | undefined> {
	try {
		const startBytes = await onPool('lseek', (done) => {
			lseek.async(fd, positionBytes, SEEK_DATA, done);
		});
		const endBytes = await onPool('lseek', (done) => {
			lseek.async(fd, startBytes, SEEK_HOLE, done);
		});
		return { startBytes, endBytes };
	} catch (error) {
		// ENXIO is how lseek says that only a hole follows.
		if (error instanceof Error && 'code' in error && error.code === 'ENXIO') return undefined;
		throw error;
	}
}

/** flock(LOCK_EX | LOCK_NB): false when somebody else holds the lock. */
export function tryLock(fd: number): boolean {
	if (Number(flock(fd, LOCK_EX + LOCK_NB)) === 0) return true;
	const errno = koffi.errno();
	if (errno === constants.errno.EAGAIN) return false;
	throw systemCallFailure('flock', errno);
}
