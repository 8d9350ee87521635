import type { ServerProcess } from './server-process.ts';

/** A logical unit that the server offers after its set-up. */
export interface OfferedUnit {
	target: string;
	lun: number;
	sizeBytes: number;
	/** Bytes of a logical block; without it 512 (tgtd has no other). */
	blockSize?: 512 | 4096;
	/** Initiators may sanitize it (Blockport only). */
	isSanitizable?: boolean;
}

/** One iSCSI target program with its data in one folder, to be started, killed and started again. Blockport, or another one to compare with. */
export interface TargetServer {
	readonly name: string;
	readonly port: number;
	readonly units: readonly OfferedUnit[];
	/** The folder of all its data. */
	readonly folder: string;
	/** The running process; throws when there is none. */
	readonly process: ServerProcess;
	/** Starts it and resolves when it serves its units. */
	start(): Promise<void>;
	/** SIGKILL. */
	kill(): Promise<void>;
	/** SIGTERM, or what the program takes for a clean stop; resolves to how it ended. */
	stop(): Promise<string>;
}

export interface ServerSettings {
	folder: string;
	units: readonly OfferedUnit[];
	/** Pins the whole process, all threads, to one CPU. */
	cpu?: number | undefined;
	/** Where it listens for iSCSI (127.0.0.1). */
	address?: string;
	/** Who may log in. */
	initiators: readonly string[];
	/** Further arguments of the Node process (Blockport only): --cpu-prof and the like. */
	nodeOptions?: string;
	/** Further arguments of `serve` (Blockport only). */
	serveArguments?: readonly string[];
	/** The program to start instead of this tree's (Blockport only). */
	launcher?: string;
}

/** The initiator names that the lanes and the bench use with other people's programs. */
export const foreignInitiatorName = 'iqn.2026-11.dev.blockport.test:foreign';
