import { layout, reserved, u16le, u32le, u8 } from '../wire/layout.ts';
import { limits } from './limits.ts';
import { number64le } from './number-field.ts';
import type { Subsystem } from './subsystem.ts';

/** The ANA group of all namespaces of a subsystem, which are served by one process and reached alike by every path. */
export const anaGroup = 1;

/** NVMe Base 2.0, Asymmetric Namespace Access Log Page (0Ch). */
export const AnaLogHeader = layout('ANA Log Header', 16, {
	changeCount: number64le(0),
	numberOfDescriptors: u16le(8),
	reserved10: reserved(10, 6),
});

export const AnaGroupDescriptor = layout('ANA Group Descriptor', 32, {
	anaGroupID: u32le(0),
	numberOfNSIDs: u32le(4),
	changeCount: number64le(8),
	asymmetricNamespaceAccessState: u8(16),
	reserved17: reserved(17, 15),
});

const optimized = 0x01;

/**
 * With `groupsOnly` (RGO) the NSIDs are left out. A group without namespaces is left out. The page has always the size that hosts compute from NANAGRPID and MNAN: libnvme reads
 * it in pieces of 4 KiB, and an offset beyond its end would be refused.
 */
export function anaLog(subsystem: Subsystem, groupsOnly: boolean): Buffer {
	const nsids = [...subsystem.namespaces.keys()];
	const listed = groupsOnly ? [] : nsids;
	const groups = nsids.length === 0 ? 0 : 1;
	const nsidsMax = groupsOnly ? 0 : limits.namespacesPerSubsystem;
	const page = Buffer.alloc(AnaLogHeader.sizeBytes + AnaGroupDescriptor.sizeBytes + 4 * nsidsMax);
	AnaLogHeader.changeCount.set(page, 0, subsystem.changeCount);
	AnaLogHeader.numberOfDescriptors.set(page, 0, groups);
	if (groups === 0) return page;
	const at = AnaLogHeader.sizeBytes;
	AnaGroupDescriptor.anaGroupID.set(page, at, anaGroup);
	AnaGroupDescriptor.numberOfNSIDs.set(page, at, listed.length);
	AnaGroupDescriptor.changeCount.set(page, at, subsystem.changeCount);
	AnaGroupDescriptor.asymmetricNamespaceAccessState.set(page, at, optimized);
	for (const [index, nsid] of listed.entries()) page.writeUInt32LE(nsid, at + AnaGroupDescriptor.sizeBytes + 4 * index);
	return page;
}
