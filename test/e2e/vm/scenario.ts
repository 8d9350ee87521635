import type { OfferedUnit } from '../../conformance/servers/target-server.ts';
import type { KernelName } from './image/recipe.ts';
import type { Stage } from './stage.ts';

export const gibibyte = 1024 ** 3;
export const mebibyte = 1024 ** 2;

/** What a scenario may do to the guest's disks, and so what its kernel may say about them. */
export type Faults = 'none' | 'connection' | 'medium';

/** One claim about Blockport, and how Linux is asked whether it holds. */
export interface Scenario {
	/** What it is called by on the command line. */
	readonly name: string;
	readonly claim: string;
	/** What the target offers when it begins. */
	readonly units: readonly OfferedUnit[];
	/** 'none': the guest's kernel log holds no complaint; 'connection': about the connection only; 'medium': of any kind. */
	readonly faults?: Faults;
	/** Begins with the disks as that scenario left them, and so runs it first. The units are the same. */
	readonly after?: Scenario;
	/** The kernel that the guest boots (bookworm). */
	readonly kernel?: KernelName;
	/** The target's data are on a disk of their own, which can lose power (Stage.losePower). */
	readonly hasOwnDisk?: boolean;
	/** The target has a second portal, at an address that can be taken away (setSecondAddress). */
	readonly hasSecondPortal?: boolean;
	/** Programs of the host that it needs beside the lane's own, and the Debian packages that have them. */
	readonly programs?: Readonly<Record<string, string>>;
	/** Only when it is named. */
	readonly isOnDemand?: boolean;
	/** Throws when the claim does not hold; resolves to figures for the log. */
	run(stage: Stage): Promise<string | void>;
}

/** A target name of a scenario's own. */
export function iqn(name: string): string {
	return `iqn.2026-11.dev.blockport.test:${name}`;
}

/** The usual case: one target with one LUN. */
export function oneUnit(name: string, sizeBytes: number): OfferedUnit[] {
	return [{ target: iqn(name), lun: 0, sizeBytes }];
}
