/** A slab holds two of the longest PDUs that we send (128 KiB of data, header, digests), or many short ones. */
export const slabBytes = 2 * (128 * 1024 + 256);
/** Slabs that one connection may hold while its peer does not read. */
const slabsMax = 2;
/**
 * So much in small PDUs leaves at once, one time in a turn: the peer works on it while the turn goes on, instead of each side waiting for the other. Where several peers are being served nobody waits, and then the
 * call and the wake-up are for nothing; nor do long PDUs gain by it.
 */
const earlyBytes = 64 * 1024;
const smallBytesMax = 16 * 1024;
/** Bytes of answers that found no room in a slab and wait by themselves, before the connection counts as backlogged. */
const overflowBytesMax = 64 * 1024;
const slabsKeptMax = 32;
const freeSlabs: Buffer[] = [];
let transmitters = 0;
/** The number of the one whose turn was the latest in the process. */
let latest = 0;

/** Where a transmitter's bytes go. */
export interface Outlet {
	/** Takes the pieces in order. True: all bytes ever given have left the process and the buffers may be reused. False: drained() follows. */
	write(pieces: readonly Uint8Array[]): boolean;
}

/** Somebody whose pooled buffer has been sent. */
export interface Lender {
	sent(buffer: Buffer): void;
}

export interface TransmitterOwner {
	/** There is room again after reserve() refused. */
	roomAgain(): void;
}

/**
 * Collects what a connection says in one turn, so that it leaves by one write.
 *
 *   reserve → fill → commit  (slab)   ┐
 *   send                     (own)    ┴→ pieces → flush → outlet ── true ──→ slabs and buffers are free
 *                                                             └── false ─→ in flight ── drained() ─→ free, roomAgain()
 *
 * Invariants: pieces leave in the order of commit() and send(); a slab is reused only when the outlet has nothing left; at most slabsMax slabs are held.
 */
export class Transmitter {
	/** The current slab; valid after reserve() returned true, until the next call of anything here. */
	buffer: Buffer = noSlab;
	/** Where the reserved space begins. */
	at = 0;
	readonly #number = ++transmitters;
	readonly #outlet: Outlet;
	readonly #owner: TransmitterOwner;
	#flushedTo = 0;
	readonly #pieces: Uint8Array[] = [];
	readonly #fullSlabs: Buffer[] = [];
	readonly #ownBuffers: Buffer[] = [];
	readonly #lenders: (Lender | undefined)[] = [];
	#overflowBytes = 0;
	#refused = false;
	#inFlight = false;
	#held = false;
	/** In this turn. */
	#mayLeaveEarly = false;
	#scheduled = false;
	#closed = false;
	#moved = false;
	readonly #flushSoon = () => {
		this.#scheduled = false;
		this.flush();
	};
	/** Bytes ever handed to the outlet. */
	bytesSent = 0;

	constructor(outlet: Outlet, owner: TransmitterOwner) {
		this.#outlet = outlet;
		this.#owner = owner;
	}

	/** The peer asks for answers and does not read them: nothing should be taken from it until roomAgain(). */
	get backlogged(): boolean {
		return this.#overflowBytes >= overflowBytesMax;
	}

	/** Something has been handed to the outlet that has not left yet. */
	get inFlight(): boolean {
		return this.#inFlight;
	}

	/** Whether anything has left since the last call. */
	movedSince(): boolean {
		const moved = this.#moved;
		this.#moved = false;
		return moved;
	}

	/** Makes `bytes` of contiguous space at buffer[at]. False: no room until roomAgain(). Reserving again without commit() moves nothing. */
	reserve(bytes: number): boolean {
		if (this.at + bytes <= this.buffer.length) return true;
		if (this.#closed) return false;
		if (this.buffer !== noSlab) {
			if (this.#fullSlabs.length >= slabsMax - 1) {
				// What lies here may leave at once; then there are slabs again. A lender that hears of it may have reserved meanwhile.
				this.flush();
				if (!this.#inFlight) return this.reserve(bytes);
				this.#refused = true;
				return false;
			}
			this.#closePiece();
			this.#fullSlabs.push(this.buffer);
		}
		this.buffer = freeSlabs.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
		this.at = 0;
		this.#flushedTo = 0;
		return true;
	}

	/** The first `bytes` of the reserved space are to be sent. */
	commit(bytes: number): void {
		this.at += bytes;
		if (!this.#held) this.#wantFlush();
		else if (this.#mayLeaveEarly && this.at - this.#flushedTo >= earlyBytes && bytes <= smallBytesMax) {
			this.#mayLeaveEarly = false;
			this.flush();
		}
	}

	/**
	 * Sends a part of a buffer by itself, behind what was committed. It belongs to the transmitter until the lender hears of it. Without a lender it counts as
	 * an answer that found no room.
	 */
	send(buffer: Buffer, start: number, end: number, lender: Lender | undefined): void {
		if (this.#closed) {
			lender?.sent(buffer);
			return;
		}
		this.#closePiece();
		this.#pieces.push(buffer.subarray(start, end));
		this.#ownBuffers.push(buffer);
		this.#lenders.push(lender);
		if (lender === undefined) this.#overflowBytes += buffer.length;
		this.#wantFlush();
	}

	/** Until letGo() nothing is flushed but what leaves early: the caller is in the middle of a turn and will end it. */
	hold(): void {
		this.#held = true;
		this.#mayLeaveEarly = latest === this.#number;
		latest = this.#number;
	}

	letGo(): void {
		this.#held = false;
		this.flush();
	}

	flush(): void {
		this.#closePiece();
		if (this.#pieces.length === 0 || this.#closed) return;
		for (const piece of this.#pieces) this.bytesSent += piece.length;
		const left = this.#outlet.write(this.#pieces);
		this.#pieces.length = 0;
		if (left) this.#reuse();
		else this.#inFlight = true;
	}

	/** From the outlet: everything it was given has left. */
	drained(): void {
		if (this.#closed) return;
		this.#inFlight = false;
		if (this.#pieces.length > 0 || this.at > this.#flushedTo) this.flush();
		else this.#reuse();
		if (!this.#inFlight && this.#refused) {
			this.#refused = false;
			this.#owner.roomAgain();
		}
	}

	/** Nothing more can be sent. The outlet must have let go of its buffers (its handle is closed) before this is called. */
	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#pieces.length = 0;
		this.#reuse();
	}

	/** Asks for roomAgain() as if reserve() had refused. */
	awaitRoom(): void {
		this.#refused = true;
	}

	#closePiece(): void {
		if (this.at === this.#flushedTo) return;
		this.#pieces.push(this.buffer.subarray(this.#flushedTo, this.at));
		this.#flushedTo = this.at;
	}

	#wantFlush(): void {
		if (this.#held || this.#scheduled) return;
		this.#scheduled = true;
		queueMicrotask(this.#flushSoon);
	}

	#reuse(): void {
		this.#moved = true;
		this.#inFlight = false;
		if (this.buffer !== noSlab) recycle(this.buffer);
		this.buffer = noSlab;
		this.at = 0;
		this.#flushedTo = 0;
		for (const slab of this.#fullSlabs) recycle(slab);
		this.#fullSlabs.length = 0;
		if (this.#ownBuffers.length === 0) return;
		const buffers = this.#ownBuffers.splice(0);
		const lenders = this.#lenders.splice(0);
		this.#overflowBytes = 0;
		buffers.forEach((buffer, index) => lenders[index]?.sent(buffer));
	}
}

const noSlab = Buffer.alloc(0);

function recycle(slab: Buffer): void {
	if (freeSlabs.length < slabsKeptMax) freeSlabs.push(slab);
}
