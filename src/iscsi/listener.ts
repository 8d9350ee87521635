import type { MemoryBudget } from '../os/memory-budget.ts';
import type { Logger } from './logger.ts';
import type { TargetRegistry } from './registry.ts';
import { Statistics } from './statistics.ts';

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

/** The iSCSI portal: one TCP port, any number of targets. */
export class IscsiListener {
	readonly statistics = new Statistics();
	constructor(options: IscsiListenerOptions) {
		void options;
	}
	/** Rejects with the system's error (EADDRINUSE and the like). */
	listen(address: { host: string; port: number }): Promise<void> {
		return Promise.reject(new Error(`not yet: ${address.host}`));
	}
	get address(): { host: string; port: number } {
		return { host: '', port: 0 };
	}
	sessions(): readonly SessionSummary[] {
		return [];
	}
	/** Takes no more logins, asks sessions to log out, waits for running commands and logouts up to the time, then closes. */
	drain(timeoutMs: number): Promise<void> {
		void timeoutMs;
		return this.close();
	}
	/** Closes at once. */
	close(): Promise<void> {
		return Promise.resolve();
	}
	/** Ends the sessions of a target that goes away; returns how many. */
	endSessions(targetName: string): number {
		return targetName.length * 0;
	}
}
