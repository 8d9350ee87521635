import { UsageError, type UsageErrorCode } from '../config/usage-error.ts';
import { VolumeFault, VolumeFullError, VolumeUsageError } from '../blockvol/volume-fault.ts';
import { kernelCode } from './kernel-code.ts';

/**
 * What the engine refuses or the kernel reports, as the sentence for who asked; anything else is ours and goes on. Words that can never work are refused before the engine is asked, so what
 * it refuses is a state (`inUse`), unless the caller knows better.
 */
export function asUsage(error: unknown, what: string, code: UsageErrorCode = 'inUse'): unknown {
	const cause = { cause: error };
	if (error instanceof VolumeFullError) return new UsageError(error.message, 'noSpace', cause);
	if (error instanceof VolumeUsageError) return new UsageError(sentence(what, error.message), code, cause);
	if (error instanceof VolumeFault) return new UsageError(sentence(what, error.message), 'unavailable', cause);
	const kernel = kernelCode(error);
	if (kernel === 'ENOSPC' || kernel === 'EDQUOT')
		return new UsageError(`${what}: the file system is full; make room on it first.`, 'noSpace', cause);
	if (kernel === '' || error instanceof UsageError) return error;
	return new UsageError(`${what}: the data directory answers ${kernel}.`, 'unavailable', cause);
}

/** `What happened: why.`, whether the reason is a sentence of its own or not. */
export function sentence(what: string, reason: string): string {
	return `${what}: ${reason.endsWith('.') ? reason : `${reason}.`}`;
}
