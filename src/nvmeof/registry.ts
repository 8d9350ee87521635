import type { Subsystem } from './subsystem.ts';

/** Which subsystems there are. Asked at each Connect and for each discovery log page; the answers may change at any time. */
export interface SubsystemRegistry {
	find(nqn: string): Subsystem | undefined;
	all(): readonly Subsystem[];
	/** Calls the listener after a subsystem came or went, or after whom one admits changed; returns the function that ends it. */
	onChange(listener: () => void): () => void;
}

/** Where I/O queues are served. */
export interface Portal {
	/** The address that is listened on, without brackets; of all addresses (`0.0.0.0`, `::`) a host is told the one by which it came. */
	readonly host: string;
	readonly port: number;
}
