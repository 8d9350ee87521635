import type { Completion, Outcome, Sanitizer, SanitizeState, SanitizeWatcher } from '../../src/blockvol/block-device.ts';
import type { SanitizeOrder } from '../../src/blockvol/sanitize-record.ts';

/** A sanitizer that does what a test tells it to. */
export class ScriptedSanitizer implements Sanitizer {
	isAllowed = true;
	state: SanitizeState | undefined = undefined;
	/** What begin() is answered with. */
	answer: Outcome | 'kept' = 'good';
	readonly orders: SanitizeOrder[] = [];
	exits = 0;
	#watcher: SanitizeWatcher | undefined = undefined;

	begin(order: SanitizeOrder, watcher: SanitizeWatcher): void {
		this.orders.push(order);
		if (this.answer === 'good') this.state = { kind: 'running', done: 0 };
		this.#watcher = watcher;
		queueMicrotask(() => watcher.begun(this.answer));
	}

	exitFailure(completion: Completion): void {
		this.exits++;
		this.state = undefined;
		queueMicrotask(() => completion.complete('good'));
	}

	moved(done: number): void {
		this.state = { kind: 'running', done };
		this.#watcher?.moved();
	}

	ended(outcome: Outcome, mayExitFailure = false): void {
		this.state = outcome === 'good' ? undefined : { kind: 'failed', mayExitFailure };
		this.#watcher?.ended(outcome);
	}
}
