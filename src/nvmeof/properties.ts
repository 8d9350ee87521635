import { bits, layout, reserved, u16le } from '../wire/layout.ts';
import { limits } from './limits.ts';

/** NVMe Base 2.0, Controller Properties. Those that exist over fabrics and that this controller has. */
export const propertyOffset = { cap: 0x00, vs: 0x08, cc: 0x14, csts: 0x1c, crto: 0x68 } as const;

export const CAP = layout('CAP', 8, {
	mqes: u16le(0),
	cqr: bits(2, 0, 1),
	ams: bits(2, 1, 2),
	to: bits(3, 0, 8),
	dstrd: bits(4, 0, 4),
	nssrs: bits(4, 4, 1),
	cssNVM: bits(4, 5, 1),
	cssIOCommandSets: bits(5, 3, 1),
	mpsmin: bits(6, 0, 4),
	mpsmax: bits(6, 4, 4),
	crms: bits(7, 3, 2),
});

export const CC = layout('CC', 4, {
	en: bits(0, 0, 1),
	css: bits(0, 4, 3),
	mps0: bits(0, 7, 1),
	mps1: bits(1, 0, 3),
	ams: bits(1, 3, 3),
	shn: bits(1, 6, 2),
	iosqes: bits(2, 0, 4),
	iocqes: bits(2, 4, 4),
	reserved3: reserved(3, 1),
});

export const CSTS = layout('CSTS', 4, {
	rdy: bits(0, 0, 1),
	cfs: bits(0, 1, 1),
	shst: bits(0, 2, 2),
	reserved1: reserved(1, 3),
});

const CRTO = layout('CRTO', 4, { crwmt: u16le(0), reserved2: reserved(2, 2) });

export const shutdownNotification = { none: 0, normal: 1, abrupt: 2 } as const;
export const shutdownStatus = { none: 0, occurring: 1, complete: 2 } as const;
/** CC.CSS: the NVM Command Set, and all supported I/O command sets, which is the same here. */
const commandSets: readonly number[] = [0, 6];

/** NVMe Base 2.0. */
export const version = 0x0002_0000;
/** CAP.TO and CRTO count in 500 ms. */
const readyTimeout = limits.readyMs / 500;

const capabilities = Buffer.alloc(CAP.sizeBytes);
CAP.mqes.set(capabilities, 0, limits.queueDepth - 1);
CAP.cqr.set(capabilities, 0, 1);
CAP.to.set(capabilities, 0, readyTimeout);
CAP.cssNVM.set(capabilities, 0, 1);
CAP.cssIOCommandSets.set(capabilities, 0, 1);
CAP.crms.set(capabilities, 0, 1);

const readyTimeouts = Buffer.alloc(CRTO.sizeBytes);
CRTO.crwmt.set(readyTimeouts, 0, readyTimeout);

/** What a change of CC asks for. `refused`: a value that is not supported, and nothing has changed. */
export type Configured = 'refused' | 'nothing' | 'enable' | 'reset' | 'normalShutdown' | 'abruptShutdown';

/**
 * CC and CSTS of one controller.
 *
 *     CC.EN 0, CSTS.RDY 0 ──EN 1──▶ RDY 1 ──SHN──▶ SHST occurring ──▶ SHST complete
 *              ▲                     │                  │                  │
 *              └────────EN 0─────────┴──────────────────┴──────────────────┘
 */
export class Properties {
	readonly #cc = Buffer.alloc(CC.sizeBytes);
	readonly #csts = Buffer.alloc(CSTS.sizeBytes);

	/** Commands other than Fabrics commands are carried out. */
	get isReady(): boolean {
		return CSTS.rdy.get(this.#csts, 0) === 1 && CSTS.shst.get(this.#csts, 0) === shutdownStatus.none;
	}

	get isShuttingDown(): boolean {
		return CSTS.shst.get(this.#csts, 0) === shutdownStatus.occurring;
	}

	/** The sizes of queue entries that the host has set are those of the standard. */
	get hasEntrySizes(): boolean {
		return CC.iosqes.get(this.#cc, 0) === 6 && CC.iocqes.get(this.#cc, 0) === 4;
	}

	/** The property's bytes, 4 or 8 of them; undefined if there is none at this offset. */
	read(offset: number): Buffer | undefined {
		switch (offset) {
			case propertyOffset.cap:
				return capabilities;
			case propertyOffset.vs:
				return versionProperty;
			case propertyOffset.cc:
				return this.#cc;
			case propertyOffset.csts:
				return this.#csts;
			case propertyOffset.crto:
				return readyTimeouts;
			default:
				return undefined;
		}
	}

	/** Takes a new CC. */
	configure(value: number): Configured {
		const next = Buffer.alloc(CC.sizeBytes);
		next.writeUInt32LE(value);
		const [enabled, enable] = [CC.en.get(this.#cc, 0), CC.en.get(next, 0)];
		const shn = CC.shn.get(next, 0);
		if (shn > shutdownNotification.abrupt) return 'refused';
		if (enable === 1) {
			if (!commandSets.includes(CC.css.get(next, 0)) || CC.ams.get(next, 0) !== 0 || CC.mps0.get(next, 0) + CC.mps1.get(next, 0) !== 0)
				return 'refused';
			// What says how the controller works may be set only while it does not.
			if (enabled === 1 && CC.css.get(next, 0) !== CC.css.get(this.#cc, 0)) return 'refused';
		}
		const notified = shn !== CC.shn.get(this.#cc, 0) && shn !== shutdownNotification.none;
		next.copy(this.#cc);
		if (enabled === 1 && enable === 0) {
			this.#csts.fill(0);
			return 'reset';
		}
		if (enabled === 0 && enable === 1) {
			this.#csts.fill(0);
			CSTS.rdy.set(this.#csts, 0, 1);
			return 'enable';
		}
		if (!notified) return 'nothing';
		return shn === shutdownNotification.normal ? 'normalShutdown' : 'abruptShutdown';
	}

	setShutdownStatus(value: number): void {
		CSTS.shst.set(this.#csts, 0, value);
	}
}

const versionProperty = Buffer.alloc(4);
versionProperty.writeUInt32LE(version);
