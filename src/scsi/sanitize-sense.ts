import type { SanitizeState } from '../blockvol/block-device.ts';
import { additionalSense, senseKey } from './sense.ts';
import type { Sense } from './sense.ts';

/** What is told of a unit that is being sanitized, or where that has failed (SBC-4, sanitize operations). */
export function sanitizeSense(state: SanitizeState): Sense {
	return state.kind === 'failed'
		? { key: senseKey.mediumError, code: additionalSense.sanitizeCommandFailed }
		: { key: senseKey.notReady, code: additionalSense.logicalUnitNotReadySanitizeInProgress, progress: state.done };
}
