import { limits } from './limits.ts';

/** Features of one controller as the host has set them. Those that live elsewhere: Asynchronous Event Configuration, Keep Alive Timer, reservation notifications and persistence. */
export class FeatureValues {
	arbitration = 0;
	powerManagement = 0;
	/** Kelvin. Nothing here has a temperature, so no threshold is ever passed. */
	overTemperatureThreshold = 0xffff;
	underTemperatureThreshold = 0;
	/** WCE: without it every write goes to stable storage before it is answered. */
	writeCache = true;
	/** DN of Write Atomicity Normal. Writes are as atomic with it as without. */
	disableNormal = 0;
	/** I/O queues that the host may connect. */
	ioQueues: number = limits.ioQueues;
	/** What the host set its timestamp to, and when on the fabric's clock; undefined if it has not. */
	timestamp: { readonly valueMs: number; readonly setMs: number } | undefined = undefined;

	/** NVMe Base 2.0, Controller Level Reset. */
	reset(): void {
		Object.assign(this, new FeatureValues());
	}
}
