import { errorCode } from '../os/disk.ts';

/** The kernel's name of an error (EIO, ENOSPC, …), or ''. Node gives its own errors and failed assertions a code too (ERR_…): those are faults of ours. */
export function kernelCode(error: unknown): string {
	const code = errorCode(error);
	return /^E(?!RR_)[A-Z0-9_]+$/.test(code) ? code : '';
}
