import type { Logger } from '../os/logger.ts';
import type { AuthLedger } from './auth-exchange.ts';
import type { DiscoverySubsystem } from './discovery-subsystem.ts';
import type { Queue } from './queue.ts';
import type { SubsystemRegistry } from './registry.ts';

/** What all queues of a fabric share. */
export interface FabricState {
	readonly registry: SubsystemRegistry;
	readonly discovery: DiscoverySubsystem;
	readonly log: Logger;
	readonly ledger: AuthLedger;
	/** Connections without a controller. */
	readonly unconnected: Set<Queue>;
	/** Milliseconds of a clock that never goes back. */
	now(): number;
}
