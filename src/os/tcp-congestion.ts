import { constants } from 'node:os';
import koffi from 'koffi';
import { systemCallFailure } from './syscalls.ts';

/** tcp(7), TCP_CONGESTION: which algorithm decides how fast a TCP socket sends. Through koffi: Node has no word for it. Linux only, as everything here. */
const library = koffi.load(null);
const getsockopt = library.func('int getsockopt(int fd, int level, int name, uint8_t *value, uint32_t *length)');
const setsockopt = library.func('int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)');

const IPPROTO_TCP = 6;
const TCP_CONGESTION = 13;
/** TCP_CA_NAME_MAX, with the zero at the end. */
const nameBytesMax = 16;

/** The name of a socket's algorithm. Throws the kernel's error. */
export function congestionControlOf(fd: number): string {
	const name = Buffer.alloc(nameBytesMax);
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, Uint32Array.of(nameBytesMax)) !== 0)
		throw systemCallFailure('getsockopt', koffi.errno());
	return name.toString('latin1', 0, name.indexOf(0));
}

/** Gives a socket another algorithm. False when the kernel does not have it, or lets only root choose it; throws the kernel's error otherwise. */
export function setCongestionControl(fd: number, algorithm: string): boolean {
	const name = Buffer.from(algorithm, 'latin1');
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, name.length) === 0) return true;
	const errno = koffi.errno();
	if (errno === constants.errno.ENOENT || errno === constants.errno.EPERM) return false;
	throw systemCallFailure('setsockopt', errno);
}
