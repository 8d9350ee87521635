import type { Party } from '../os/fair-share.ts';
import type { GrantLine } from '../os/grant-line.ts';
import { Nexus } from '../scsi/nexus.ts';
import type { ScsiTarget } from '../scsi/target-device.ts';
import { CommandWindow } from './command-window.ts';
import type { Connection } from './connection.ts';
import type { Authentication } from './login.ts';
import type { MemoryPlan } from './memory-plan.ts';
import type { Parameters } from './parameters.ts';
import type { IscsiTask } from './task.ts';
import { TaskTable } from './task-table.ts';

/** Who a session is. */
export interface SessionIdentity {
	readonly initiatorName: string;
	/** 12 hex digits. */
	readonly isid: string;
	/** undefined: a discovery session. */
	readonly target: ScsiTarget | undefined;
	readonly authentication: Authentication;
}

/**
 * An iSCSI session, one I_T nexus (RFC 7143 §4.4.1).
 *
 *   live ── its last connection is gone, or end() ─→ ended ── the device has nothing of its tasks ─→ drained
 */
export class Session implements SessionIdentity {
	readonly initiatorName: string;
	readonly isid: string;
	readonly target: ScsiTarget | undefined;
	/** Of its newest connection. */
	authentication: Authentication;
	readonly tsih: number;
	readonly nexus: Nexus;
	readonly since: Date;
	readonly window: CommandWindow;
	readonly tasks = new TaskTable();
	readonly grants: GrantLine<IscsiTask>;
	readonly reads: GrantLine<IscsiTask>;
	/** Whose unsolicited data it is. */
	readonly unsolicitedParty: Party;
	/** At most MaxConnections, which is 1. */
	readonly connections: Connection[] = [];
	/** As negotiated by the leading connection. */
	readonly parameters: Parameters;
	immediateTasks = 0;
	taskManagementFunctions = 0;
	commands = 0;
	bytesRead = 0;
	bytesWritten = 0;
	ended = false;
	/** Source address of its first connection, which it counts for. */
	address = '';
	readonly #plan: MemoryPlan;
	readonly #onDrained: (() => void)[] = [];

	constructor(identity: SessionIdentity, tsih: number, parameters: Parameters, firstCmdSN: number, plan: MemoryPlan, since: Date) {
		this.initiatorName = identity.initiatorName;
		this.isid = identity.isid;
		this.target = identity.target;
		this.authentication = identity.authentication;
		this.tsih = tsih;
		this.nexus = new Nexus(identity.initiatorName, identity.isid);
		this.parameters = parameters;
		this.window = new CommandWindow(firstCmdSN);
		this.#plan = plan;
		this.grants = plan.grantLine(this.initiatorName);
		this.reads = plan.readLine(this.initiatorName);
		this.unsolicitedParty = plan.unsolicited.join(this.initiatorName);
		this.since = since;
	}

	get drained(): boolean {
		return this.ended && this.tasks.size === 0;
	}

	/** Another initiator waits for memory that may be what this one holds. */
	get isContended(): boolean {
		return this.grants.isContended || this.reads.isContended || this.#plan.unsolicited.isWantedBeside(this.unsolicitedParty);
	}

	/** The same for memory of data-out, and it holds nothing. */
	get isStarved(): boolean {
		return this.grants.isStarved || this.#plan.unsolicited.isStarvedBeside(this.unsolicitedParty);
	}

	hasConnection(cid: number): boolean {
		return this.connections.some((connection) => connection.cid === cid);
	}

	/** Calls back once the device has nothing of the session's tasks; at once if that is so. */
	whenIdle(callback: () => void): void {
		if (this.tasks.size === 0) callback();
		else this.#onDrained.push(callback);
	}

	/** A task is gone. */
	taskGone(): void {
		if (this.tasks.size > 0 || this.#onDrained.length === 0) return;
		for (const callback of this.#onDrained.splice(0)) callback();
	}

	/** It asks for no memory any more. */
	leaveShares(): void {
		this.grants.leave();
		this.reads.leave();
		this.#plan.unsolicited.leave(this.unsolicitedParty);
	}

	/** Closes its connections, and with the last one the session. */
	end(reason: string): void {
		for (const connection of this.connections.slice()) connection.drop(reason);
	}

	/** The same, with a word to the initiator. */
	dismiss(reason: string): void {
		for (const connection of this.connections.slice()) connection.dismiss('session', reason);
	}
}
