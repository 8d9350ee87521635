import { errorCode } from '../os/disk.ts';
import { VolumeFault } from '../blockvol/volume-fault.ts';

/** An error as the log shows it: what the machine or the medium did in one line; a fault of ours with the way there. */
export function loggedError(error: unknown): object | string {
	if (!(error instanceof Error)) return String(error);
	const cause = error.cause === undefined ? {} : { cause: loggedError(error.cause) };
	if (error instanceof VolumeFault || errorCode(error) !== '') return { message: error.message, ...cause };
	return { type: error.name, message: error.message, stack: error.stack, ...cause };
}
