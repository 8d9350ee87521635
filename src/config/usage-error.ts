/**
 * What was wrong with what the operator asked for.
 * - invalid: the words themselves (a name, a size, a flag)
 * - notFound, alreadyExists, inUse: the state of the appliance does not allow it
 * - noSpace: the file system is full
 * - unavailable: it cannot be done now (starting, stopping, a faulted volume)
 */
export type UsageErrorCode = 'invalid' | 'notFound' | 'alreadyExists' | 'inUse' | 'noSpace' | 'unavailable';

/** The operator's mistake: one sentence that says the mend. On the command line it ends the process with exit code 2 if the words are wrong (invalid), else with 1; in the admin API it is an HTTP 4xx or 5xx. */
export class UsageError extends Error {
	override readonly name = 'UsageError';
	readonly code: UsageErrorCode;

	constructor(message: string, code: UsageErrorCode = 'invalid', options?: ErrorOptions) {
		super(message, options);
		this.code = code;
	}
}
