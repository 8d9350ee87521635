/** A file, or what stands for one, that is read at any place. */
export interface RandomSource {
	readonly sizeBytes: number;
	/** Exactly so many bytes; the caller keeps inside of the size. Rejects with ImageError if the source ends before, else with the kernel's error. */
	read(offsetBytes: number, lengthBytes: number): Promise<Buffer>;
}

/** A part of a disk: its bytes, or zeros if there are none. */
export interface DiskPart {
	readonly lengthBytes: number;
	readonly data: Buffer | undefined;
}

/** A disk image, whatever its format. */
export interface DiskImage {
	/** Of the disk; undefined while nobody knows it, as of a pipe. */
	readonly sizeBytes: number | undefined;
	/** The disk from a byte on, in its order and without gaps. Rejects with ImageError for what cannot be believed. */
	parts(fromBytes: number): AsyncGenerator<DiskPart>;
}
