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
	#idleSeconds = 0;
	#slowSeconds = 0;
	#starvingSeconds = 0;
	#receivedBefore = 0;
	#dataOutBefore = 0;
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
		const isContended = connection.session!.isContended;
		const secondsMax = isContended ? limits.stalledContendedSeconds : limits.stalledSeconds;
		if (this.#stuckSeconds >= secondsMax || this.#dataStalled(secondsMax, isContended)) {
			connection.statistics.stalled++;
			connection.drop('stalled');
		} else if (this.#silentSeconds >= limits.pingSeconds + limits.pingAnswerSeconds) connection.drop('no answer to a ping');
		else if (this.#silentSeconds >= limits.pingSeconds && !this.#pinged) {
			this.#pinged = true;
			connection.control.ping();
		}
	}

	/** Tasks hold memory for data that the initiator does not send, though we read. */
	#dataStalled(secondsMax: number, isContended: boolean): boolean {
		const connection = this.#connection;
		const received = connection.dataBytesReceived - this.#receivedBefore;
		this.#receivedBefore = connection.dataBytesReceived;
		// Data that comes with commands, however much, does not excuse what was announced or asked for.
		const dataOut = connection.dataOutBytesReceived - this.#dataOutBefore;
		this.#dataOutBefore = connection.dataOutBytesReceived;
		if (connection.stopped) return false;
		let oldest = 0;
		let awaitedBytes = 0;
		for (const task of connection.session!.tasks.all()) {
			// A chunk whose R2Ts have not been sent waits for us.
			if (task.wantedGrantBytes > 0 && task.r2ts.length === 0) continue;
			for (const chunk of task.chunks) {
				chunk.seconds++;
				awaitedBytes += chunk.capacity;
				if (chunk.seconds > oldest) oldest = chunk.seconds;
			}
		}
		this.#idleSeconds = received === 0 ? this.#idleSeconds + 1 : 0;
		this.#slowSeconds = dataOut < limits.contendedBytesPerSecond ? this.#slowSeconds + 1 : 0;
		this.#starvingSeconds = dataOut * limits.starvedSeconds < awaitedBytes ? this.#starvingSeconds + 1 : 0;
		// At the rate that is demanded nothing is so old, unless it is kept back behind what is newer.
		if (connection.session!.isStarved && (this.#starvingSeconds >= secondsMax || oldest >= limits.stalledSeconds))
			return oldest >= secondsMax;
		return oldest >= secondsMax && (isContended ? this.#slowSeconds : this.#idleSeconds) >= secondsMax;
	}
}
