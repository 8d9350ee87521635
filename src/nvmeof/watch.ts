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
	#capsuleSeconds = 0;
	#receivedBefore = 0;

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
		const secondsMax = connection.memory.isContended ? transportLimits.stalledContendedSeconds : transportLimits.stalledSeconds;
		this.#stuckSeconds = transmitter.inFlight && !transmitter.movedSince() ? this.#stuckSeconds + 1 : 0;
		if (this.#stuckSeconds < secondsMax && !this.#dataStalled(secondsMax)) return;
		connection.statistics.stalled++;
		connection.destroy('stalled');
	}

	/** Memory is held for data that the host does not send, though we read. */
	#dataStalled(secondsMax: number): boolean {
		const connection = this.#connection;
		const received = connection.dataBytesReceived - this.#receivedBefore;
		this.#receivedBefore = connection.dataBytesReceived;
		if (connection.stopped) return false;
		this.#capsuleSeconds = connection.awaitsCapsule ? this.#capsuleSeconds + 1 : 0;
		let oldest = this.#capsuleSeconds;
		connection.r2ts.forEach((chunk) => {
			chunk.seconds++;
			if (chunk.command !== undefined && !chunk.command.failed && chunk.seconds > oldest) oldest = chunk.seconds;
		});
		this.#idleSeconds = received === 0 ? this.#idleSeconds + 1 : 0;
		this.#slowSeconds = received < transportLimits.contendedBytesPerSecond ? this.#slowSeconds + 1 : 0;
		const slow = connection.memory.isContended ? this.#slowSeconds : this.#idleSeconds;
		return oldest >= secondsMax && slow >= secondsMax;
	}
}
