/** What a volume does while the file system below is full. */
export interface FullDiskOwner {
	/** It is full now, or `again` found full: those who wait for room are refused, zeros may go on. */
	becameFull(again: boolean): void;
	/** It has room again. */
	hasRoom(): void;
	/** Time to see whether it has room again; not called once the volume has ended. */
	retry(): void;
	/** The volume is faulted or being closed. */
	hasEnded(): boolean;
}

/** The state of a volume whose file system is full: it tries again every now and then, until a flush finds room. */
export class FullDisk {
	readonly #retryMs: number;
	readonly #owner: FullDiskOwner;
	isFull = false;

	constructor(retryMs: number, owner: FullDiskOwner) {
		this.#retryMs = retryMs;
		this.#owner = owner;
	}

	noSpace(): void {
		const wasFull = this.isFull;
		this.isFull = true;
		this.#owner.becameFull(wasFull);
		if (!this.#owner.hasEnded()) setTimeout(() => this.#retry(), this.#retryMs).unref();
	}

	/** Something that needs room has succeeded. */
	foundRoom(): void {
		if (!this.isFull) return;
		this.isFull = false;
		this.#owner.hasRoom();
	}

	#retry(): void {
		if (this.isFull && !this.#owner.hasEnded()) this.#owner.retry();
	}
}
