import { isIPv6 } from 'node:net';
import type { ScsiTarget } from '../scsi/target-device.ts';

/** Where an IscsiListener listens. */
export interface Portal {
	readonly host: string;
	readonly port: number;
	/** The portal group that it belongs to, and so which targets it leads to: those of that tag. Undefined: to all, as a portal of each one's group. */
	readonly portalGroupTag?: number | undefined;
}

export function leadsTo(portalGroupTag: number | undefined, target: ScsiTarget): boolean {
	return portalGroupTag === undefined || portalGroupTag === target.targetPortalGroupTag;
}

/**
 * Every TargetAddress of a target (RFC 7143 §13.8): all portals of its group, as SendTargets lists them. A portal on all addresses is named by the one that the
 * initiator has reached us by, if it listens there: others may lead nowhere from where it is.
 */
export function targetAddresses(target: ScsiTarget, portals: readonly Portal[], reached: { readonly host: string }): string[] {
	const places = portals
		.filter(({ portalGroupTag }) => leadsTo(portalGroupTag, target))
		.flatMap(({ host, port }) => {
			if (host !== '0.0.0.0' && host !== '::') return [hostPort(host, port)];
			// `::` takes IPv4 as well.
			return host === '0.0.0.0' && isIPv6(reached.host) ? [] : [hostPort(reached.host, port)];
		});
	return [...new Set(places)].map((place) => `${place},${target.targetPortalGroupTag}`);
}

/** IPv6 in brackets. */
export function hostPort(host: string, port: number): string {
	return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
