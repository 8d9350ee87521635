/** Bounds of one reservation table. */
export const limits = {
	/** A cluster of 64 nodes with 8 paths each, since SCSI registers each path by itself. */
	registrantsPerVolume: 512,
	/** An iSCSI name of 223 bytes, `,i,0x` and an ISID of 12 digits; a HOSTID is 32 digits. */
	registrantIdLength: 240,
	/** A target's name of 223 bytes, `,t,0x` and a tag of 4 digits. */
	registrantPortLength: 232,
} as const;

/** Keys are 64-bit numbers; 0 stands for no key in every field of both standards. */
export const reservationKeyMax = 0xffff_ffff_ffff_ffffn;

/** PRGENERATION and GEN are 32-bit and wrap around. */
export const generationModulus = 2 ** 32;
