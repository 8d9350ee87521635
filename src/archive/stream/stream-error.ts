import type { Outcome } from '../../blockvol/block-device.ts';

/** What was given is no image that can be read; the message is one sentence that says what is wrong with it. */
export class ImageError extends Error {
	override readonly name = 'ImageError';
}

/** The device did not do what the stream needs. */
export class DeviceError extends Error {
	override readonly name = 'DeviceError';
	readonly outcome: Exclude<Outcome, 'good'>;

	constructor(what: string, outcome: Exclude<Outcome, 'good'>) {
		super(`${what}: ${outcome}`);
		this.outcome = outcome;
	}
}
