import { errorCode } from '../../os/disk.ts';
import { StoreError } from './object-store.ts';

/** The kernel's errors as the store's; what is no error of the kernel comes back as it is. */
export function folderError(error: unknown, doing: string, root: string): unknown {
	if (error instanceof StoreError) return error;
	const code = errorCode(error);
	const cause = { cause: error };
	switch (code) {
		case '':
			return error;
		case 'ENOSPC':
		case 'EDQUOT':
			return new StoreError('noSpace', `${doing}: the file system of ${root} is full (${code}); make room there`, cause);
		case 'EACCES':
		case 'EPERM':
			return new StoreError(
				'denied',
				`${doing}: not permitted (${code}); give the user that runs blockport read and write access to ${root} and what is in it`,
				cause,
			);
		case 'EROFS':
			return new StoreError('denied', `${doing}: the file system of ${root} is mounted read-only`, cause);
		case 'ENOTDIR':
		case 'EISDIR':
		case 'ELOOP':
			return new StoreError('invalid', `${doing}: something that is no folder, or no file, is in the way in ${root} (${code})`, cause);
		case 'ENAMETOOLONG':
		case 'EFBIG':
			return new StoreError('invalid', `${doing}: the file system of ${root} does not take it (${code})`, cause);
		case 'ESTALE':
		case 'ETIMEDOUT':
		case 'EHOSTDOWN':
		case 'EHOSTUNREACH':
		case 'ENOTCONN':
			return new StoreError('unreachable', `${doing}: the file system of ${root} does not answer (${code})`, cause);
		case 'EMFILE':
		case 'ENFILE':
			return new StoreError('failed', `${doing}: too many open files (${code})`, { ...cause, retryable: true });
		default:
			return new StoreError('failed', `${doing}: ${code} in ${root}`, cause);
	}
}
