import net from 'node:net';
import { busyPoll } from './busy-poll.ts';
import { congestionControl } from './congestion-control.ts';
import { Transmitter, type Outlet, type TransmitterOwner } from './transmitter.ts';

const receiveBufferBytes = 512 * 1024;
/** How long a peer may take to read our last words, and then to close. */
const defaultPatience = { endMs: 10_000, lingerMs: 1000 };
const nothing = Buffer.alloc(0);

/**
 * All sockets of the process read into one buffer: libuv reads and calls back in the same turn, and a callback consumes everything or copies the rest.
 */
const receiveBuffer = Buffer.allocUnsafeSlow(receiveBufferBytes);

/** The protocol's side of a connection. */
export interface Receiver extends TransmitterOwner {
	/**
	 * Takes bytes start..end of a buffer that is valid during the call only. Returns where it stopped; before `end` means: no more until
	 * WireSocket.resume().
	 */
	receive(buffer: Buffer, start: number, end: number): number;
	/** The connection is gone, whoever ended it. Called once; nothing is called after it. */
	closed(reason: string): void;
}

/**
 * A TCP connection that was accepted with pauseOnConnect, read and written in the cheapest way that Node has (DESIGN.md, "The data path").
 * What a paused receiver left over waits in a private copy of at most receiveBufferBytes.
 */
export class WireSocket implements Outlet {
	readonly transmitter: Transmitter;
	readonly #socket: net.Socket;
	readonly #receiver: Receiver;
	#rest: Buffer = nothing;
	#receiving = false;
	#paused = false;
	#resumeScheduled = false;
	#ending = false;
	#closed = false;
	#marked = false;
	readonly #patience: { readonly endMs: number; readonly lingerMs: number };
	/** Until we close, whatever the peer does. */
	#patienceTimer: NodeJS.Timeout | undefined;
	#finished = false;
	#failure = 'closed by the peer';
	readonly #onDrained = () => {
		this.#marked = false;
		if (this.#closed) return;
		if (this.#socket.writableLength > 0) this.#mark();
		else {
			this.transmitter.drained();
			if (this.#ending) this.#finish();
		}
	};
	readonly #resumeNow = () => {
		this.#resumeScheduled = false;
		this.#continue();
	};
	bytesReceived = 0;
	/** Set by each arrival; whoever looks for silence clears it. */
	heard = true;

	/** `bind` makes the protocol's side; it may answer at once. */
	constructor(accepted: net.Socket, bind: (socket: WireSocket) => Receiver, patience = defaultPatience) {
		this.#patience = patience;
		this.transmitter = new Transmitter(this, { roomAgain: () => this.#receiver.roomAgain() });
		this.#receiver = bind(this);
		const handle = handleOf(accepted);
		this.#socket = socketWith({
			handle,
			manualStart: true,
			onread: { buffer: receiveBuffer, callback: (length: number) => this.#arrived(length) },
		});
		this.#socket.setNoDelay(true);
		congestionControl.apply(fileDescriptorOf(handle), this.#socket.remoteAddress ?? '');
		this.#socket.on('error', (error) => {
			this.#failure = error.message;
		});
		this.#socket.on('close', () => this.#gone());
		this.#socket.resume();
	}

	get localAddress(): string {
		return this.#socket.localAddress ?? '';
	}

	get localPort(): number {
		return this.#socket.localPort ?? 0;
	}

	get remote(): string {
		return `${this.#socket.remoteAddress ?? ''}:${this.#socket.remotePort ?? 0}`;
	}

	/** The receiver can take bytes again. Acts in a microtask, so it may be called from anywhere. */
	resume(): void {
		if (this.#resumeScheduled || this.#closed) return;
		this.#resumeScheduled = true;
		queueMicrotask(this.#resumeNow);
	}

	/** The same, once every other socket has had its turn. */
	resumeLater(): void {
		setImmediate(() => this.resume());
	}

	/** Sends what was said so far, then closes; at once when the peer does not read it in time. Nothing more is received. */
	end(): void {
		if (this.#ending || this.#closed) return;
		this.#ending = true;
		this.#destroyAfter(this.#patience.endMs, 'the peer does not read our last words');
		if (this.#receiving) return;
		this.transmitter.flush();
		if (!this.transmitter.inFlight) this.#finish();
	}

	/** Closes at once. */
	destroy(reason: string): void {
		if (this.#closed) return;
		this.#failure = reason;
		this.#socket.destroy();
	}

	write(pieces: readonly Uint8Array[]): boolean {
		const socket = this.#socket;
		if (socket.destroyed) return false;
		if (pieces.length === 1) socket.write(pieces[0]!);
		else {
			socket.cork();
			for (const piece of pieces) socket.write(piece);
			socket.uncork();
		}
		if (socket.writableLength === 0) return true;
		this.#mark();
		return false;
	}

	/** An empty write completes behind everything before it. */
	#mark(): void {
		if (this.#marked) return;
		this.#marked = true;
		this.#socket.write(nothing, this.#onDrained);
	}

	#arrived(length: number): boolean {
		this.heard = true;
		this.bytesReceived += length;
		busyPoll.arrived();
		if (this.#ending || this.#closed) return true;
		if (this.#paused) {
			// A read that was under way when we paused.
			this.#rest = Buffer.concat([this.#rest, receiveBuffer.subarray(0, length)]);
			return false;
		}
		const stopped = this.#feed(receiveBuffer, 0, length);
		if (stopped === length || this.#ending || this.#closed) return true;
		this.#rest = Buffer.from(receiveBuffer.subarray(stopped, length));
		this.#paused = true;
		return false;
	}

	#feed(buffer: Buffer, start: number, end: number): number {
		this.#receiving = true;
		this.transmitter.hold();
		const stopped = this.#receiver.receive(buffer, start, end);
		this.#receiving = false;
		this.transmitter.letGo();
		if (this.#ending && !this.transmitter.inFlight) this.#finish();
		return stopped;
	}

	#continue(): void {
		if (!this.#paused || this.#ending || this.#closed || this.#receiving) return;
		const rest = this.#rest;
		this.#rest = nothing;
		const stopped = this.#feed(rest, 0, rest.length);
		if (stopped < rest.length) {
			this.#rest = rest.subarray(stopped);
			return;
		}
		this.#paused = false;
		this.#socket.resume();
	}

	#finish(): void {
		if (this.#closed || this.#socket.destroyed || this.#finished) return;
		this.#finished = true;
		this.#failure = 'closed by us';
		// FIN goes behind what was written. Closing at once, with unread bytes, would send RST and could cost the peer our last answer: so its bytes are read
		// and thrown away until it closes too, for a while.
		this.#socket.end();
		this.#socket.resume();
		this.#destroyAfter(this.#patience.lingerMs, 'closed by us');
	}

	#destroyAfter(ms: number, reason: string): void {
		clearTimeout(this.#patienceTimer);
		this.#patienceTimer = setTimeout(() => this.destroy(reason), ms);
		this.#patienceTimer.unref();
	}

	#gone(): void {
		if (this.#closed) return;
		this.#closed = true;
		clearTimeout(this.#patienceTimer);
		this.#rest = nothing;
		this.transmitter.close();
		this.#receiver.closed(this.#failure);
	}
}

/**
 * Takes the connection out of an accepted socket object: reading through `onread` can only be asked for when the object is made. Node documents neither
 * this property nor the option, but cluster and child_process rest on both.
 */
function handleOf(accepted: net.Socket): unknown {
	const handle: unknown = Reflect.get(accepted, '_handle');
	Reflect.set(accepted, '_handle', null);
	return handle;
}

/** Of a TCP handle; Node has it on each, for its own debugging. */
function fileDescriptorOf(handle: unknown): number {
	return Number(typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1);
}

function socketWith(options: object): net.Socket {
	return Reflect.construct(net.Socket, [options]);
}
