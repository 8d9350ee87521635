import { AddressSlots } from '../os/address-slots.ts';
import type { ScsiTarget } from '../scsi/target-device.ts';
import type { Connection } from './connection.ts';
import { limits } from './limits.ts';
import type { Login } from './login.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { loginStatus } from './pdu.ts';
import { Session } from './session.ts';
import type { Statistics } from './statistics.ts';
import { OpenFunctions } from './task-management.ts';

/** Sessions of the process. Invariant: of each (initiator name, ISID, target) at most one is live, and its TSIH is its own and not zero (RFC 7143 §4.4.3). */
export class SessionTable {
	readonly functions = new OpenFunctions();
	readonly #byTSIH = new Map<number, Session>();
	readonly #slots = new AddressSlots(limits.sessionsPerAddress);
	readonly #plan: MemoryPlan;
	readonly #statistics: Statistics;
	#lastTSIH = 0;
	#onEmpty: (() => void) | undefined;

	constructor(plan: MemoryPlan, statistics: Statistics) {
		this.#plan = plan;
		this.#statistics = statistics;
	}

	/** Live sessions and those whose tasks the device still has. */
	get size(): number {
		return this.#byTSIH.size;
	}

	live(): Session[] {
		return [...this.#byTSIH.values()].filter((session) => !session.ended);
	}

	ofTarget(target: ScsiTarget): Session[] {
		return this.live().filter((session) => session.target === target);
	}

	sessionOf(initiatorName: string, isid: string, tsih: number): Session | undefined {
		const session = this.#byTSIH.get(tsih);
		return session !== undefined && !session.ended && session.initiatorName === initiatorName && session.isid === isid
			? session
			: undefined;
	}

	/**
	 * Ends a login: makes the session, or takes over the old one's place (§6.3.5: a login with the same names and ISID and TSIH 0 first ends what was there).
	 * Answers through `settled`, perhaps before returning: the session, or a login status. It takes as long as the device needs for what the old session
	 * left, so that no old write lands on a new one.
	 */
	establish(login: Login, connection: Connection, now: Date, settled: (result: Session | number) => void): void {
		const old = login.tsih === 0 ? this.#sameNexus(login) : this.sessionOf(login.initiatorName, login.isid, login.tsih);
		if (login.tsih !== 0) {
			if (old === undefined) settled(loginStatus.sessionDoesNotExist);
			else this.#reinstateConnection(old, login, connection, settled);
			return;
		}
		if (old === undefined) {
			settled(this.#create(login, connection, now));
			return;
		}
		this.#statistics.reinstatements++;
		if (!old.ended) old.end('reinstated by a new login');
		old.whenIdle(() => this.establish(login, connection, now, settled));
	}

	/** A connection that had reached full feature phase is gone. */
	connectionGone(session: Session, connection: Connection): void {
		const index = session.connections.indexOf(connection);
		if (index >= 0) session.connections.splice(index, 1);
		if (session.connections.length > 0 || session.ended) return;
		session.ended = true;
		session.whenIdle(() => {
			session.target?.detach(session.nexus);
			session.leaveShares();
			this.#byTSIH.delete(session.tsih);
			this.#slots.give(session.address);
			if (this.#byTSIH.size === 0) this.#onEmpty?.();
		});
	}

	/** Calls back when no session is left; at once if there is none. */
	whenEmpty(callback: () => void): void {
		if (this.#byTSIH.size === 0) callback();
		else this.#onEmpty = callback;
	}

	/** The nexus's session, live or not yet drained. Discovery sessions have no nexus to protect. */
	#sameNexus(login: Login): Session | undefined {
		if (login.discovery) return undefined;
		for (const session of this.#byTSIH.values()) {
			if (session.isid === login.isid && session.initiatorName === login.initiatorName && session.target === login.target) return session;
		}
		return undefined;
	}

	#create(login: Login, connection: Connection, now: Date): Session | number {
		if (connection.closed) return loginStatus.initiatorError;
		// §11.13.5: not enough session or connection resources.
		if (this.#byTSIH.size >= limits.sessions) return loginStatus.outOfResources;
		const address = connection.host.remoteAddress;
		if (!this.#slots.take(address)) return loginStatus.outOfResources;
		const session = new Session(login, this.#nextTSIH(), login.parameters, login.cmdSN, this.#plan, now);
		// PREEMPT AND ABORT by another nexus: this one did not ask for it and waits for answers.
		session.nexus.abortTasks = (unit, ended) => {
			const tasks = session.tasks.all().filter((task) => task.unit === unit);
			this.functions.abort(tasks, () => 'answered', ended);
		};
		if (login.target !== undefined && !login.target.attach(session.nexus)) {
			session.leaveShares();
			this.#slots.give(address);
			return loginStatus.outOfResources;
		}
		session.address = address;
		this.#byTSIH.set(session.tsih, session);
		session.connections.push(connection);
		return session;
	}

	/** §6.3.4: the same CID again. At ErrorRecoveryLevel 0 the old connection's tasks end with it; the session goes on with its CmdSN. */
	#reinstateConnection(session: Session, login: Login, connection: Connection, settled: (result: Session | number) => void): void {
		this.#statistics.reinstatements++;
		session.connections.push(connection);
		session.authentication = login.authentication;
		for (const old of session.connections.filter((other) => other !== connection && other.cid === login.cid))
			old.drop('reinstated by a new connection');
		session.whenIdle(() => settled(session.ended ? loginStatus.sessionDoesNotExist : session));
	}

	#nextTSIH(): number {
		do this.#lastTSIH = (this.#lastTSIH % 0xffff) + 1;
		while (this.#byTSIH.has(this.#lastTSIH));
		return this.#lastTSIH;
	}
}
