import { Blockport } from '../../conformance/servers/blockport.ts';
import type { OfferedUnit } from '../../conformance/servers/target-server.ts';
import { network } from './network.ts';

/** iSCSI's own port: inside the lane's network nobody else has it. */
export const portalPort = 3260;
export const portal = `${network.hostAddress}:${portalPort}`;
/** Of scenarios that have one. */
export const secondPortal = `${network.secondHostAddress}:${portalPort}`;

/** Initiator names that every scenario's targets admit: the guest's usual one and a second. */
export const initiators = { guest: 'iqn.2026-11.dev.blockport.test:guest', second: 'iqn.2026-11.dev.blockport.test:second' } as const;

/** The target of one scenario, at the bridge. Remembers the largest memory of all its processes, killed ones too. */
export class ScenarioTarget extends Blockport {
	#peakBytes = 0;
	#idleBytes = 0;
	#isStarted = false;

	constructor(
		folder: string,
		units: readonly OfferedUnit[],
		{ launcher, isConfigured, hasSecondPortal }: { launcher: string | undefined; isConfigured: boolean; hasSecondPortal: boolean },
	) {
		super({
			folder,
			units,
			isConfigured,
			initiators: Object.values(initiators),
			address: network.hostAddress,
			...(hasSecondPortal ? { serveArguments: ['--iscsi', secondPortal] } : {}),
			...(launcher === undefined ? {} : { launcher }),
		});
		this.port = portalPort;
	}

	get isRunning(): boolean {
		return this.#isStarted && !this.process.isGone;
	}

	/** Bytes of resident memory: after the first start, and the most so far. */
	get memory(): { idleBytes: number; peakBytes: number } {
		this.#look();
		return { idleBytes: this.#idleBytes, peakBytes: this.#peakBytes };
	}

	override async start(): Promise<void> {
		this.#isStarted = true;
		await super.start();
		if (this.#idleBytes === 0) this.#idleBytes = this.process.rssBytes();
	}

	override async kill(): Promise<void> {
		this.#look();
		await super.kill();
	}

	override async stop(timeoutMs?: number): Promise<string> {
		this.#look();
		return await super.stop(timeoutMs);
	}

	#look(): void {
		if (!this.process.isGone) this.#peakBytes = Math.max(this.#peakBytes, this.process.peakRSSBytes());
	}
}
