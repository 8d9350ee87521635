import type { Outcome } from '../blockvol/block-device.ts';
import { additionalSense, senseKey } from './sense.ts';
import type { Sense } from './sense.ts';

/** Which way a command goes to the medium: a medium error has another name for a read than for a write. */
export type Access = 'none' | 'read' | 'write';

/**
 * The one table from Outcome to sense. `undefined` is status BUSY.
 * - faulted: not MEDIUM ERROR, because no block is to blame and an initiator that rewrites or reassigns one mends nothing; not DATA PROTECT, because a
 *   SYNCHRONIZE CACHE that failed must not look like a setting. Linux fails HARDWARE ERROR at once on all paths instead of retrying it.
 * - closed: the volume is being shut down, perhaps for a restart that the initiator should sit out. Initiators retry BUSY until their time-out, while they
 *   hand NOT READY 04h/00h to the file system at once.
 */
const table: Record<Exclude<Outcome, 'good'>, Record<Access, Sense | undefined>> = {
	outOfRange: forAll({ key: senseKey.illegalRequest, code: additionalSense.logicalBlockAddressOutOfRange }),
	noSpace: forAll({ key: senseKey.dataProtect, code: additionalSense.spaceAllocationFailedWriteProtect }),
	miscompare: forAll({ key: senseKey.miscompare, code: additionalSense.miscompareDuringVerifyOperation }),
	mediumError: {
		none: { key: senseKey.mediumError, code: additionalSense.writeError },
		read: { key: senseKey.mediumError, code: additionalSense.unrecoveredReadError },
		write: { key: senseKey.mediumError, code: additionalSense.writeError },
	},
	faulted: forAll({ key: senseKey.hardwareError, code: additionalSense.internalTargetFailure }),
	closed: forAll(undefined),
	sanitizing: forAll({ key: senseKey.notReady, code: additionalSense.logicalUnitNotReadySanitizeInProgress }),
	sanitizeFailed: forAll({ key: senseKey.mediumError, code: additionalSense.sanitizeCommandFailed }),
};

/** Sense of a command that went wrong; undefined is status BUSY. `lba` goes to INFORMATION of a medium error only (SBC-3, sense data for medium errors). */
export function outcomeSense(outcome: Exclude<Outcome, 'good'>, access: Access, lba?: number): Sense | undefined {
	const sense = table[outcome][access];
	return sense !== undefined && lba !== undefined && outcome === 'mediumError' ? { ...sense, information: lba } : sense;
}

function forAll(sense: Sense | undefined): Record<Access, Sense | undefined> {
	return { none: sense, read: sense, write: sense };
}
