/**
 * The medium failed, or what is on it cannot be believed: the volume goes offline and says why. `message` is one sentence for a person.
 * The kernel's error, where there is one, is the cause.
 */
export class VolumeFault extends Error {
	override readonly name = 'VolumeFault';
}

/** A request that the engine refuses for what it asks: one sentence that says the mend. */
export class VolumeUsageError extends Error {
	override readonly name = 'VolumeUsageError';
}

/** The same, because the file system below is full: later it may go. */
export class VolumeFullError extends VolumeUsageError {}
