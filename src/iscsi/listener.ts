import net from 'node:net';
import type { MemoryBudget } from '../os/memory-budget.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import { WireSocket } from '../wire/socket.ts';
import { Connection, type ConnectionEnvironment, type ConnectionHost } from './connection.ts';
import { limits } from './limits.ts';
import type { Logger } from './logger.ts';
import { MemoryPlan } from './memory-plan.ts';
import type { TargetRegistry } from './registry.ts';
import { SessionTable } from './session-table.ts';
import { Statistics } from './statistics.ts';

const tickMs = 1000;
const ticksPerTrim = 5;

/** One session, as the admin API shows it. */
export interface SessionSummary {
	readonly initiator: string;
	/** undefined for a discovery session. */
	readonly target: string | undefined;
	/** 12 hex digits. */
	readonly isid: string;
	readonly tsih: number;
	/** host:port of the initiator. */
	readonly remote: string;
	readonly commands: number;
	readonly bytesRead: number;
	readonly bytesWritten: number;
	readonly since: Date;
}

export interface IscsiListenerOptions {
	readonly registry: TargetRegistry;
	readonly budget: MemoryBudget;
	readonly log: Logger;
}

/** The iSCSI portal: one TCP port, any number of targets. */
export class IscsiListener {
	readonly statistics = new Statistics();
	readonly #environment: ConnectionEnvironment & { accepting: boolean };
	readonly #connections = new Map<Connection, WireSocket>();
	readonly #server: net.Server;
	#timer: NodeJS.Timeout | undefined;
	#ticks = 0;
	#onGone: (() => void) | undefined;

	/** A budget below 4 MiB is refused with RangeError. */
	constructor(options: IscsiListenerOptions) {
		const plan = new MemoryPlan(options.budget);
		this.#environment = {
			registry: options.registry,
			sessions: new SessionTable(plan, this.statistics),
			plan,
			statistics: this.statistics,
			log: options.log,
			accepting: true,
			now: () => new Date(),
		};
		this.#server = net.createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
	}

	/** Rejects with the system's error (EADDRINUSE and the like). */
	listen(address: { host: string; port: number }): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#server.once('error', reject);
			this.#server.listen({ host: address.host, port: address.port, backlog: 128 }, () => {
				this.#server.off('error', reject);
				this.#server.on('error', (error) => this.#environment.log.error({ error }, 'iSCSI listener'));
				this.#timer = setInterval(() => this.#tick(), tickMs);
				this.#timer.unref();
				resolve();
			});
		});
	}

	/** Where it listens; after listen() only. */
	get address(): { host: string; port: number } {
		const address = this.#server.address();
		if (address === null || typeof address === 'string') throw new Error('the iSCSI listener does not listen');
		return { host: address.address, port: address.port };
	}

	get connections(): number {
		return this.#connections.size;
	}

	sessions(): readonly SessionSummary[] {
		return this.#environment.sessions.live().map((session) => ({
			initiator: session.initiatorName,
			target: session.target?.name,
			isid: session.isid,
			tsih: session.tsih,
			remote: session.connections[0]?.host.remote ?? '',
			commands: session.commands,
			bytesRead: session.bytesRead,
			bytesWritten: session.bytesWritten,
			since: session.since,
		}));
	}

	/** Ends the sessions of a target that goes away, or only those of an initiator that it no longer admits; returns how many. */
	endSessions(targetName: string, initiatorName?: string): number {
		const sessions = this.#environment.sessions
			.live()
			.filter((session) => session.target?.name === targetName && (initiatorName === undefined || session.initiatorName === initiatorName));
		for (const session of sessions) session.end('ended by the target');
		return sessions.length;
	}

	/** Takes no more logins, asks sessions to log out, waits for running commands and logouts up to the time, then closes. */
	async drain(timeoutMs: number): Promise<void> {
		this.#environment.accepting = false;
		this.#server.close();
		for (const connection of this.#connections.keys()) {
			if (connection.session?.target === undefined) connection.drop('the target stops');
			else connection.control.askForLogout(Math.ceil(timeoutMs / 1000));
		}
		let timer: NodeJS.Timeout | undefined;
		await Promise.race([
			new Promise<void>((resolve) => this.#environment.sessions.whenEmpty(resolve)),
			new Promise<void>((resolve) => {
				timer = setTimeout(resolve, timeoutMs);
			}),
		]);
		clearTimeout(timer);
		await this.close();
	}

	/** Closes at once. Resolves when the sockets are gone; what the device still has of ended commands goes on. */
	async close(): Promise<void> {
		this.#environment.accepting = false;
		clearInterval(this.#timer);
		if (this.#server.listening) this.#server.close();
		const gone = new Promise<void>((resolve) => {
			this.#onGone = resolve;
		});
		for (const [connection, socket] of this.#connections) {
			connection.drop('the target stops');
			// Also one that is only waiting for its peer to close.
			socket.destroy('the target stops');
		}
		if (this.#connections.size > 0) await gone;
	}

	#accept(accepted: net.Socket): void {
		if (this.#connections.size >= limits.connections || !this.#environment.accepting) {
			this.statistics.connectionsRefused++;
			accepted.destroy();
			return;
		}
		this.statistics.connections++;
		// The connection is made while WireSocket's constructor runs, which calls back before it has returned.
		let connection: Connection | undefined;
		const socket = new WireSocket(accepted, (wire) => {
			const made = new Connection(this.#environment, new SocketHost(wire));
			connection = made;
			return {
				receive: (buffer, start, end) => made.receive(buffer, start, end),
				roomAgain: () => made.roomAgain(),
				closed: (reason) => {
					made.socketClosed(reason);
					this.#connections.delete(made);
					if (this.#connections.size === 0) this.#onGone?.();
				},
			};
		});
		if (connection !== undefined) this.#connections.set(connection, socket);
	}

	#tick(): void {
		for (const [connection, socket] of this.#connections) {
			connection.tick(socket.heard);
			socket.heard = false;
		}
		if (++this.#ticks % ticksPerTrim === 0) bufferPool.trim();
	}
}

class SocketHost implements ConnectionHost {
	readonly #socket: WireSocket;

	constructor(socket: WireSocket) {
		this.#socket = socket;
	}

	get transmitter() {
		return this.#socket.transmitter;
	}

	get portal(): string {
		const address = this.#socket.localAddress.replace(/^::ffff:(?=\d+\.)/, '');
		return `${address.includes(':') ? `[${address}]` : address}:${this.#socket.localPort}`;
	}

	get remote(): string {
		return this.#socket.remote;
	}

	resume(): void {
		this.#socket.resume();
	}

	end(): void {
		this.#socket.end();
	}

	destroy(reason: string): void {
		this.#socket.destroy(reason);
	}
}
