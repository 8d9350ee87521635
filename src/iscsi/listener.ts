import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { AddressSlots, plainAddress } from '../os/address-slots.ts';
import type { Logger } from '../os/logger.ts';
import type { MemoryBudget } from '../os/memory-budget.ts';
import { ThrottledLog } from '../os/throttled-log.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import { WireSocket } from '../wire/socket.ts';
import { Connection, type ConnectionEnvironment, type ConnectionHost } from './connection.ts';
import { limits } from './limits.ts';
import type { Authentication } from './login.ts';
import { MemoryPlan } from './memory-plan.ts';
import { hostPort, type Portal } from './portal.ts';
import type { TargetRegistry } from './registry.ts';
import type { Session } from './session.ts';
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
	/** Its IP address alone. */
	readonly address: string;
	readonly authentication: Authentication;
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

/** The iSCSI side of the process: any number of portals, targets and sessions. Sessions are the listener's, whichever portal they came by. */
export class IscsiListener {
	readonly statistics = new Statistics();
	readonly #environment: ConnectionEnvironment & { accepting: boolean };
	readonly #connections = new Map<Connection, WireSocket>();
	readonly #slots = new AddressSlots(limits.connectionsPerAddress);
	readonly #log: ThrottledLog;
	readonly #servers: net.Server[] = [];
	readonly #portals: Portal[] = [];
	#timer: NodeJS.Timeout | undefined;
	#ticks = 0;
	#onGone: (() => void) | undefined;

	/** A budget below 4 MiB is refused with RangeError. */
	constructor(options: IscsiListenerOptions) {
		const plan = new MemoryPlan(options.budget);
		this.#log = new ThrottledLog(options.log);
		this.#environment = {
			registry: options.registry,
			sessions: new SessionTable(plan, this.statistics),
			plan,
			statistics: this.statistics,
			log: this.#log,
			portals: this.#portals,
			accepting: true,
			now: () => new Date(),
			random: (lengthBytes) => randomBytes(lengthBytes),
		};
	}

	/** Opens one portal more, at most limits.portals. Rejects with the system's error (EADDRINUSE and the like). */
	listen({ host, port, portalGroupTag }: Portal): Promise<void> {
		if (this.#portals.length >= limits.portals) return Promise.reject(new RangeError(`more than ${limits.portals} portals`));
		const server = net.createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket, portalGroupTag));
		return new Promise((resolve, reject) => {
			server.once('error', reject);
			server.listen({ host, port, backlog: limits.backlog }, () => {
				server.off('error', reject);
				server.on('error', (error) => this.#environment.log.error({ error }, 'iSCSI listener'));
				this.#servers.push(server);
				this.#portals.push({ ...boundTo(server), portalGroupTag });
				this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
				resolve();
			});
		});
	}

	/** Where it listens, in the order of listen(). */
	get portals(): readonly Portal[] {
		return this.#portals;
	}

	/** The first portal; after listen() only. */
	get address(): { host: string; port: number } {
		const [first] = this.#portals;
		if (first === undefined) throw new Error('the iSCSI listener does not listen');
		return { host: first.host, port: first.port };
	}

	get connections(): number {
		return this.#connections.size;
	}

	sessions(): readonly SessionSummary[] {
		return this.#environment.sessions.live().map(summary);
	}

	/** Ends sessions, with a word to their initiators (§11.9); returns how many. */
	endSessions(which: (session: SessionSummary) => boolean, reason: string): number {
		const sessions = this.#environment.sessions.live().filter((session) => which(summary(session)));
		for (const session of sessions) session.dismiss(reason);
		return sessions.length;
	}

	/** Asks initiators to log out within limits.logoutSeconds, and ends the sessions of those that do not; returns how many are asked. */
	askForLogout(which: (session: SessionSummary) => boolean): number {
		const sessions = this.#environment.sessions.live().filter((session) => which(summary(session)));
		for (const session of sessions) for (const connection of session.connections) connection.control.askForLogout(limits.logoutSeconds);
		return sessions.length;
	}

	/** Tells the initiators of a target that its LUNs are others now: Linux then looks at once, and the unit attention tells whoever does not listen. */
	announceLuns(targetName: string): void {
		for (const session of this.#environment.sessions.live()) {
			if (session.target?.name !== targetName) continue;
			for (const connection of session.connections) connection.control.reportedLunsChanged();
		}
	}

	/** Takes no more logins, asks sessions to log out, waits for running commands and logouts up to the time, then closes. */
	async drain(timeoutMs: number): Promise<void> {
		this.#environment.accepting = false;
		for (const server of this.#servers) server.close();
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
		for (const server of this.#servers) if (server.listening) server.close();
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

	#accept(accepted: net.Socket, portalGroupTag: number | undefined): void {
		const address = plainAddress(accepted.remoteAddress ?? '');
		const refusal = this.#refusal(address);
		if (refusal !== undefined) {
			this.statistics.connectionsRefused++;
			this.#log.warn({ remote: address, reason: refusal }, 'iSCSI connection refused');
			accepted.destroy();
			return;
		}
		this.statistics.connections++;
		const peer = { address, port: accepted.remotePort ?? 0 };
		// The connection is made while WireSocket's constructor runs, which calls back before it has returned.
		let connection: Connection | undefined;
		const socket = new WireSocket(accepted, (wire) => {
			const made = new Connection(this.#environment, new SocketHost(wire, portalGroupTag, peer));
			connection = made;
			return {
				receive: (buffer, start, end) => made.receive(buffer, start, end),
				roomAgain: () => made.roomAgain(),
				closed: (reason) => {
					made.socketClosed(reason);
					this.#connections.delete(made);
					this.#slots.give(address);
					if (this.#connections.size === 0) this.#onGone?.();
				},
			};
		});
		if (connection !== undefined) this.#connections.set(connection, socket);
	}

	/** Why another connection of this address is not taken; undefined when it has a slot now. */
	#refusal(address: string): string | undefined {
		if (!this.#environment.accepting) return 'the target stops';
		if (this.#connections.size >= limits.connections) return `there are ${limits.connections} connections`;
		if (!this.#slots.take(address)) return `this address has ${limits.connectionsPerAddress} connections`;
		return undefined;
	}

	#tick(): void {
		this.#log.tick();
		for (const [connection, socket] of this.#connections) {
			connection.tick(socket.heard);
			socket.heard = false;
		}
		if (++this.#ticks % ticksPerTrim === 0) bufferPool.trim();
	}
}

function summary(session: Session): SessionSummary {
	return {
		initiator: session.initiatorName,
		target: session.target?.name,
		isid: session.isid,
		tsih: session.tsih,
		remote: session.connections[0]?.host.remote ?? '',
		address: session.connections[0]?.host.remoteAddress ?? '',
		authentication: session.authentication,
		commands: session.commands,
		bytesRead: session.bytesRead,
		bytesWritten: session.bytesWritten,
		since: session.since,
	};
}

function boundTo(server: net.Server): { host: string; port: number } {
	const address = server.address();
	if (address === null || typeof address === 'string') throw new Error('the iSCSI listener does not listen');
	return { host: address.address, port: address.port };
}

class SocketHost implements ConnectionHost {
	readonly #socket: WireSocket;
	readonly portalGroupTag: number | undefined;
	readonly remote: string;
	readonly remoteAddress: string;

	/** `peer`: where the connection came from; the socket forgets it when it is gone. */
	constructor(socket: WireSocket, portalGroupTag: number | undefined, peer: { readonly address: string; readonly port: number }) {
		this.#socket = socket;
		this.portalGroupTag = portalGroupTag;
		this.remoteAddress = peer.address;
		this.remote = hostPort(peer.address, peer.port);
	}

	get transmitter() {
		return this.#socket.transmitter;
	}

	get localAddress(): string {
		return plainAddress(this.#socket.localAddress);
	}

	resume(): void {
		this.#socket.resume();
	}

	resumeLater(): void {
		this.#socket.resumeLater();
	}

	end(): void {
		this.#socket.end();
	}

	destroy(reason: string): void {
		this.#socket.destroy(reason);
	}
}
