import type { ScsiTarget } from '../scsi/target-device.ts';

/** Which targets there are and who may use them. Asked at each login and discovery; the answers may change at any time. */
export interface TargetRegistry {
	find(name: string): ScsiTarget | undefined;
	/** Targets that this initiator may see and log in to. */
	visibleTo(initiatorName: string): readonly ScsiTarget[];
	admits(initiatorName: string, target: ScsiTarget): boolean;
}
