import { limits } from './limits.ts';

/** Keep Alive Timer of one controller (NVMe Base 2.0, Keep Alive). It runs on ticks, and any command starts it anew: CTRATT says Traffic Based Keep Alive. */
export class KeepAlive {
	/** KATO; 0 only for a discovery controller, whose silence is bounded all the same. */
	#timeoutMs = 0;
	#remainingMs: number = limits.discoverySilenceMs;
	/** A command was seen since the last tick. The hot path sets it, so it is no method. */
	heard = false;

	get timeoutMs(): number {
		return this.#timeoutMs;
	}

	/** Takes a KATO, rounded up to KAS. False if it is none that the controller can keep: 0 where the transport demands one, or too long. */
	set(kato: number, mayBeOff: boolean): boolean {
		if (kato > limits.keepAliveMsMax || (kato === 0 && !mayBeOff)) return false;
		this.#timeoutMs = Math.ceil(kato / limits.keepAliveGranularityMs) * limits.keepAliveGranularityMs;
		this.#start();
		return true;
	}

	/** True when the timer has expired. */
	tick(elapsedMs: number): boolean {
		if (this.heard) {
			this.heard = false;
			this.#start();
			return false;
		}
		this.#remainingMs -= elapsedMs;
		return this.#remainingMs < 0;
	}

	#start(): void {
		this.#remainingMs = this.#timeoutMs === 0 ? limits.discoverySilenceMs : this.#timeoutMs;
	}
}
