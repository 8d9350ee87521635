import type { Outcome } from '../blockvol/block-device.ts';

/** What the SMART / Health Information log counts of one namespace since it was added. A command counts when it is let through, whatever becomes of it. */
export class NamespaceStatistics {
	readCommands = 0;
	writeCommands = 0;
	readBytes = 0;
	writtenBytes = 0;
	mediaErrors = 0;

	/** Read, Compare and Verify. */
	read(lengthBytes: number): void {
		this.readCommands++;
		this.readBytes += lengthBytes;
	}

	written(lengthBytes: number): void {
		this.writeCommands++;
		this.writtenBytes += lengthBytes;
	}

	/** A command ended with an outcome that is not good. */
	failed(outcome: Outcome): void {
		if (outcome === 'mediumError') this.mediaErrors++;
	}

	add(other: NamespaceStatistics): void {
		this.readCommands += other.readCommands;
		this.writeCommands += other.writeCommands;
		this.readBytes += other.readBytes;
		this.writtenBytes += other.writtenBytes;
		this.mediaErrors += other.mediaErrors;
	}
}
