import { createHash } from 'node:crypto';

/** ASCII, eight characters: T10 VENDOR IDENTIFICATION. */
export const vendorIdentification = 'BLKPORT ';
/** ASCII, sixteen characters. */
export const productIdentification = 'Blockport volume';

/**
 * The names of a logical unit, all derived from the volume's UUID: the same over restarts, targets and LUNs, never the same for two volumes.
 */
export class Identity {
	/** The UUID's 32 hex digits. */
	readonly serialNumber: string;
	/** NAA 6h, 16 bytes (SPC-4, NAA IEEE Registered Extended designator). */
	readonly naa: Buffer;
	/** Four characters. */
	readonly productRevision: string;

	constructor(uuid: string, productRevision: string) {
		this.serialNumber = uuid.replaceAll('-', '').toLowerCase();
		this.naa = naa6(this.serialNumber);
		this.productRevision = productRevision.padEnd(4).slice(0, 4);
	}
}

/**
 * The company id is a locally administered one (bit 1 of its first byte is set), which no vendor is ever assigned. The other 100 bits are of a hash and not
 * of the UUID itself, because a UUID has 122 bits that matter and every version has its entropy elsewhere.
 */
function naa6(uuidDigits: string): Buffer {
	const companyId = '424c4b';
	const digest = createHash('sha256').update(Buffer.from(uuidDigits, 'hex')).digest('hex');
	return Buffer.from(`6${companyId}${digest.slice(0, 25)}`, 'hex');
}
