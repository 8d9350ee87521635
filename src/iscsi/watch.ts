import type { Connection } from './connection.ts';
import { limits } from './limits.ts';

/**
 * Looks at a connection once a second, and ends it when its peer is silent, holds memory without using it, or does not read.
 *
 *   heard ─→ silent for limits.pingSeconds: ping ─→ no answer for limits.pingAnswerSeconds: the end
 */
export class Watch {
	readonly #connection: Connection;
	#loginSeconds = 0;
	#silentSeconds = 0;
	#stuckSeconds = 0;
	#pinged = false;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	/** `heard`: something came since the last time. */
	tick(heard: boolean): void {
		const connection = this.#connection;
		if (connection.loggingIn) {
			if (++this.#loginSeconds > limits.loginSeconds) connection.drop('login took too long');
			return;
		}
		if (!connection.inFullFeaturePhase) return;
		if (heard) {
			this.#silentSeconds = 0;
			this.#pinged = false;
		} else if (!connection.stopped) this.#silentSeconds++;
		const { transmitter } = connection.host;
		this.#stuckSeconds = transmitter.inFlight && !transmitter.movedSince() ? this.#stuckSeconds + 1 : 0;
		if (this.#stuckSeconds >= limits.stalledSeconds || this.#dataStalled()) {
			connection.statistics.stalled++;
			connection.drop('stalled');
		} else if (this.#silentSeconds >= limits.pingSeconds + limits.pingAnswerSeconds) connection.drop('no answer to a ping');
		else if (this.#silentSeconds >= limits.pingSeconds && !this.#pinged) {
			this.#pinged = true;
			connection.control.ping();
		}
	}

	/** A task holds memory for data that the initiator does not send, though we read. */
	#dataStalled(): boolean {
		const connection = this.#connection;
		if (connection.stopped) return false;
		const { plan } = connection;
		const secondsMax = plan.isContended ? limits.stalledContendedSeconds : limits.stalledSeconds;
		let stalled = false;
		for (const task of connection.session!.tasks.all()) {
			for (const chunk of task.chunks) {
				chunk.idleSeconds = chunk.receivedBytes === chunk.receivedBefore ? chunk.idleSeconds + 1 : 0;
				chunk.receivedBefore = chunk.receivedBytes;
				stalled ||= chunk.idleSeconds >= secondsMax;
			}
		}
		return stalled;
	}
}
