import type { Completion, Outcome } from '../../src/blockvol/block-device.ts';
import { SimulationFailure } from './failure.ts';

/** Rejects unless the command ends well. */
export async function good(start: (completion: Completion) => void, what = 'a command'): Promise<void> {
	const outcome = await new Promise<Outcome>((resolve) => {
		start({ complete: resolve });
	});
	if (outcome !== 'good') throw new SimulationFailure(`${what} ended with ${outcome}`);
}
