import { ok as assert } from 'node:assert';
import type { Outcome } from '../blockvol/block-device.ts';
import type { Request } from './request.ts';
import { status } from './status.ts';

/**
 * Ends a request with the status of an outcome that is not good.
 *
 * A volume that is being shut down is a path that goes, no fault of the medium: hosts with a second path use it, and the others try again when the target is back. A faulted volume stays so until
 * somebody mends it, so nothing is said about another try.
 */
export function endWithOutcome(request: Request, outcome: Outcome, access: 'read' | 'write' | 'none'): void {
	switch (outcome) {
		case 'outOfRange':
			request.end(status.lbaOutOfRange);
			return;
		case 'noSpace':
			request.end(status.capacityExceeded);
			return;
		case 'miscompare':
			request.end(status.compareFailure);
			return;
		case 'mediumError':
			request.end(access === 'write' ? status.writeFault : status.unrecoveredReadError);
			return;
		case 'faulted':
			request.end(status.internalError);
			return;
		case 'closed':
			request.end(status.internalPathError, false);
			return;
		case 'sanitizing':
			request.end(status.sanitizeInProgress, false);
			return;
		case 'sanitizeFailed':
			request.end(status.sanitizeFailed);
			return;
		case 'good':
			assert(false, 'good is no failure');
	}
}
