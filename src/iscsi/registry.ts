import type { ScsiTarget } from '../scsi/target-device.ts';
import type { ChapAccess } from './chap.ts';

/** Who asks. */
export interface Visitor {
	/** As said in the login, in lower case. Nothing is proved yet. */
	readonly initiatorName: string;
	/** IP address without brackets; IPv4 as such even on a socket of IPv6. */
	readonly address: string;
}

/** Where a target's logins go instead. */
export interface Redirection {
	/** RFC 7143 §13.8 without the tag: `host:port`, IPv6 in brackets. */
	readonly address: string;
	/** Initiators are to forget this portal. */
	readonly permanent: boolean;
}

/** Which targets there are and who may use them. Asked at each login and discovery; the answers may change at any time. */
export interface TargetRegistry {
	find(name: string): ScsiTarget | undefined;
	/** Targets that this initiator may see and log in to. */
	visibleTo(visitor: Visitor): readonly ScsiTarget[];
	admits(visitor: Visitor, target: ScsiTarget): boolean;
	/** What an initiator that is admitted has to prove itself by; undefined: nothing. */
	chapOf(initiatorName: string, target: ScsiTarget): ChapAccess | undefined;
	/** The same for discovery sessions. */
	discoveryChap(): ChapAccess | undefined;
	redirection(target: ScsiTarget): Redirection | undefined;
}
