import type { Connection } from './connection.ts';
import { transportLimits } from './transport-limits.ts';

/**
 * Looks at a connection once a second, and ends it when it does not come to Connect, holds memory without using it, does not read, or does not close. Whether a host that is connected lives is for Keep
 * Alive to say.
 */
export class Watch {
	readonly #connection: Connection;
	#connectSeconds = 0;
	#closedSeconds = 0;
	#stuckSeconds = 0;
	#idleSeconds = 0;
	#slowSeconds = 0;
	#solicitedSlowSeconds = 0;
	#starvingSeconds = 0;
	#capsuleSeconds = 0;
	#receivedBefore = 0;
	#solicitedBefore = 0;

	constructor(connection: Connection) {
		this.#connection = connection;
	}

	tick(): void {
		const connection = this.#connection;
		if (connection.closed) {
			if (++this.#closedSeconds > transportLimits.closeSeconds) connection.host.destroy('the host does not close');
			return;
		}
		if (!connection.isConnected && ++this.#connectSeconds > transportLimits.connectSeconds) {
			connection.destroy('Connect took too long');
			return;
		}
		const { transmitter } = connection.host;
		const { isContended } = connection;
		const secondsMax = isContended ? transportLimits.stalledContendedSeconds : transportLimits.stalledSeconds;
		this.#stuckSeconds = transmitter.inFlight && !transmitter.movedSince() ? this.#stuckSeconds + 1 : 0;
		if (this.#stuckSeconds < secondsMax && !this.#dataStalled(secondsMax, isContended)) return;
		connection.statistics.stalled++;
		connection.destroy('stalled');
	}

	/** Memory is held for data that the host does not send, though we read. */
	#dataStalled(secondsMax: number, isContended: boolean): boolean {
		const connection = this.#connection;
		const received = connection.dataBytesReceived - this.#receivedBefore;
		this.#receivedBefore = connection.dataBytesReceived;
		const solicited = connection.solicitedBytesReceived - this.#solicitedBefore;
		this.#solicitedBefore = connection.solicitedBytesReceived;
		if (connection.stopped) return false;
		this.#capsuleSeconds = connection.awaitsCapsule ? this.#capsuleSeconds + 1 : 0;
		let oldest = 0;
		let awaitedBytes = 0;
		connection.r2ts.forEach((chunk) => {
			chunk.seconds++;
			if (chunk.command === undefined || chunk.command.failed) return;
			awaitedBytes += chunk.end - chunk.start;
			if (chunk.seconds > oldest) oldest = chunk.seconds;
		});
		this.#idleSeconds = received === 0 ? this.#idleSeconds + 1 : 0;
		this.#slowSeconds = received < transportLimits.contendedBytesPerSecond ? this.#slowSeconds + 1 : 0;
		// What comes in capsules, however much, does not excuse what R2Ts wait for.
		this.#solicitedSlowSeconds = solicited < transportLimits.contendedBytesPerSecond ? this.#solicitedSlowSeconds + 1 : 0;
		this.#starvingSeconds = solicited * transportLimits.solicitedStarvedSeconds < awaitedBytes ? this.#starvingSeconds + 1 : 0;
		const slow = isContended ? this.#slowSeconds : this.#idleSeconds;
		if (this.#capsuleSeconds >= secondsMax && slow >= secondsMax) return true;
		// At the rate that is demanded nothing is so old, unless it is kept back behind what is newer.
		if (connection.solicited.isStarved && (this.#starvingSeconds >= secondsMax || oldest >= transportLimits.stalledSeconds))
			return oldest >= secondsMax;
		return oldest >= secondsMax && (isContended ? this.#solicitedSlowSeconds : this.#idleSeconds) >= secondsMax;
	}
}
