import net from 'node:net';
import { AddressSlots, plainAddress } from '../os/address-slots.ts';
import type { Logger } from '../os/logger.ts';
import type { MemoryBudget } from '../os/memory-budget.ts';
import { ThrottledLog } from '../os/throttled-log.ts';
import { bufferPool } from '../wire/buffer-pool.ts';
import { WireSocket } from '../wire/socket.ts';
import type { Transmitter } from '../wire/transmitter.ts';
import { Connection, type ConnectionEnvironment, type ConnectionHost } from './connection.ts';
import type { Fabric } from './request.ts';
import { Statistics } from './statistics.ts';
import { transportLimits } from './transport-limits.ts';
import { TransportMemory } from './transport-memory.ts';

const tickMs = 1000;
const ticksPerTrim = 5;

/** Of all listeners that share a fabric: any of them leads to any controller. */
const slotsByFabric = new WeakMap<Fabric, AddressSlots>();

function slotsOf(fabric: Fabric): AddressSlots {
	let slots = slotsByFabric.get(fabric);
	if (slots === undefined) slotsByFabric.set(fabric, (slots = new AddressSlots(transportLimits.connectionsPerAddress)));
	return slots;
}

export interface NvmeListenerOptions {
	/** Several listeners may share one. */
	readonly fabric: Fabric;
	readonly budget: MemoryBudget;
	readonly log: Logger;
}

/** An NVMe/TCP portal: one TCP port, any number of subsystems. */
export class NvmeListener {
	readonly statistics = new Statistics();
	readonly #environment: ConnectionEnvironment;
	readonly #connections = new Map<Connection, WireSocket>();
	readonly #server: net.Server;
	readonly #slots: AddressSlots;
	readonly #log: ThrottledLog;
	#accepting = true;
	#timer: NodeJS.Timeout | undefined;
	#ticks = 0;
	readonly #onGone: (() => void)[] = [];

	/** A budget below 4 MiB is refused with RangeError. */
	constructor(options: NvmeListenerOptions) {
		this.#slots = slotsOf(options.fabric);
		this.#log = new ThrottledLog(options.log);
		this.#environment = {
			fabric: options.fabric,
			memory: TransportMemory.of(options.budget),
			statistics: this.statistics,
			log: this.#log,
		};
		this.#server = net.createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
	}

	/** Rejects with the system's error (EADDRINUSE and the like). */
	listen(address: { host: string; port: number }): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#server.once('error', reject);
			this.#server.listen({ host: address.host, port: address.port, backlog: transportLimits.backlog }, () => {
				this.#server.off('error', reject);
				this.#server.on('error', (error) => this.#environment.log.error({ error }, 'NVMe/TCP listener'));
				this.#timer = setInterval(() => this.#tick(), tickMs);
				this.#timer.unref();
				resolve();
			});
		});
	}

	/** Where it listens; after listen() only. */
	get address(): { host: string; port: number } {
		const address = this.#server.address();
		if (address === null || typeof address === 'string') throw new Error('the NVMe/TCP listener does not listen');
		return { host: address.address, port: address.port };
	}

	get connections(): number {
		return this.#connections.size;
	}

	/** Takes no more connections and commands, waits up to the time for the commands that are running, then closes. Hosts connect again to whoever is there then. */
	async drain(timeoutMs: number): Promise<void> {
		this.#accepting = false;
		if (this.#server.listening) this.#server.close();
		for (const connection of this.#connections.keys()) connection.drain();
		let timer: NodeJS.Timeout | undefined;
		await Promise.race([
			this.#whenGone(),
			new Promise<void>((resolve) => {
				timer = setTimeout(resolve, timeoutMs);
			}),
		]);
		clearTimeout(timer);
		await this.close();
	}

	/** Closes at once. Resolves when the sockets are gone; what the device still has of ended commands goes on. */
	async close(): Promise<void> {
		this.#accepting = false;
		clearInterval(this.#timer);
		if (this.#server.listening) this.#server.close();
		for (const [connection, socket] of this.#connections) {
			connection.destroy('the target stops');
			// Also one that is only waiting for its host to close.
			socket.destroy('the target stops');
		}
		await this.#whenGone();
	}

	#whenGone(): Promise<void> {
		if (this.#connections.size === 0) return Promise.resolve();
		return new Promise((resolve) => {
			this.#onGone.push(resolve);
		});
	}

	#accept(accepted: net.Socket): void {
		const address = plainAddress(accepted.remoteAddress ?? '');
		const refusal = this.#refusal(address);
		if (refusal !== undefined) {
			this.statistics.connectionsRefused++;
			this.#log.warn({ remote: address, reason: refusal }, 'NVMe/TCP connection refused');
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
					this.#slots.give(address);
					if (this.#connections.size === 0) for (const gone of this.#onGone.splice(0)) gone();
				},
			};
		});
		if (connection !== undefined) this.#connections.set(connection, socket);
	}

	/** Why another connection of this address is not taken; undefined when it has a slot now. */
	#refusal(address: string): string | undefined {
		if (!this.#accepting) return 'the target stops';
		if (this.#connections.size >= transportLimits.connections) return `there are ${transportLimits.connections} connections`;
		if (!this.#slots.take(address)) return `this address has ${transportLimits.connectionsPerAddress} connections`;
		return undefined;
	}

	#tick(): void {
		this.#log.tick();
		this.#environment.fabric.tick();
		for (const connection of this.#connections.keys()) connection.tick();
		if (++this.#ticks % ticksPerTrim === 0) bufferPool.trim();
	}
}

class SocketHost implements ConnectionHost {
	readonly #socket: WireSocket;
	/** Kept: a socket that is closed knows it no longer. */
	#remote: string | undefined;

	constructor(socket: WireSocket) {
		this.#socket = socket;
	}

	get transmitter(): Transmitter {
		return this.#socket.transmitter;
	}

	get localAddress(): string {
		return plainAddress(this.#socket.localAddress);
	}

	get localPort(): number {
		return this.#socket.localPort;
	}

	get remote(): string {
		this.#remote ??= this.#socket.remote;
		return this.#remote;
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
