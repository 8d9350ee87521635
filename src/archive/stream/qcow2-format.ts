import { bytes, layout, reserved, u32be, u64be, u8 } from '../../wire/layout.ts';

/**
 * The qcow2 image format, versions 2 and 3, as QEMU's docs/interop/qcow2 has it. Numbers are big-endian. An image is a row of clusters; a table of two levels leads from the clusters of
 * the disk to those of the file, and a table of reference counts says which clusters of the file are in use.
 */
export const qcow2Magic = 0x514649fb;

/** What both versions begin with. */
export const Qcow2Header = layout('qcow2 header', 72, {
	magic: u32be(0),
	version: u32be(4),
	backingFileOffset: u64be(8),
	backingFileSize: u32be(16),
	clusterBits: u32be(20),
	size: u64be(24),
	cryptMethod: u32be(32),
	l1Size: u32be(36),
	l1TableOffset: u64be(40),
	refcountTableOffset: u64be(48),
	refcountTableClusters: u32be(56),
	nbSnapshots: u32be(60),
	snapshotsOffset: u64be(64),
});

/** What version 3 has behind it; the compression type only where headerLength says so. */
export const Qcow2HeaderMore = layout('qcow2 header, version 3', 40, {
	incompatibleFeatures: u64be(0),
	compatibleFeatures: u64be(8),
	autoclearFeatures: u64be(16),
	refcountOrder: u32be(24),
	headerLength: u32be(28),
	compressionType: u8(32),
	reserved33: reserved(33, 7),
});

/** The least that headerLength says in version 3: up to the compression type, and without it. */
export const headerLengthMin = 104;

export const incompatible = { dirty: 0, corrupt: 1, externalDataFile: 2, compressionType: 3, extendedL2Entries: 4 } as const;

/** Of an entry of either table: the cluster has one reference. */
export const copied = 1n << 63n;
/** Of an entry of the second level. */
export const compressed = 1n << 62n;
/** Of an entry of the second level, version 3: reads as zeros, whatever the offset says. */
export const zeroFlag = 1n;
/** Bits 9 to 55 of an entry that is not compressed. */
export const offsetMask = 0x00ff_ffff_ffff_fe00n;

export const clusterBitsMin = 9;
export const clusterBitsMax = 21;
/** Compressed data is counted in these. */
export const sectorBytes = 512;

const field = bytes(0, 8);
/** One entry of a table. */
export const tableEntry = { sizeBytes: field.size, ...u64be(0) };
