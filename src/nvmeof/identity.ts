import { createHash } from 'node:crypto';

/** ASCII: MN of Identify Controller. */
export const modelNumber = 'Blockport';
/** A locally administered company id (bit 1 of its first byte is set), which no vendor is ever assigned. In the order in which it is written. */
export const companyId = Buffer.from('424c4b', 'hex');

/** Names of a namespace, all derived from the volume's UUID: the same over restarts and subsystems, never the same for two volumes. */
export class NamespaceIdentity {
	readonly uuid: Buffer;
	readonly nguid: Buffer;
	readonly eui64: Buffer;

	/**
	 * The identifiers are of a hash and not of the UUID itself, because a UUID has 122 bits that matter and every version has its entropy elsewhere. Company id and extension stand where NVMe Base
	 * 2.0 wants them: NGUID bytes 8 to 10, EUI64 bytes 0 to 2.
	 */
	constructor(uuid: string) {
		this.uuid = uuidBytes(uuid);
		const digest = createHash('sha256').update('nvme namespace').update(this.uuid).digest();
		this.nguid = Buffer.concat([digest.subarray(0, 8), companyId, digest.subarray(8, 13)]);
		this.eui64 = Buffer.concat([companyId, digest.subarray(13, 18)]);
	}
}

/** SN of a subsystem: 20 characters, because a UUID's 32 digits do not fit. */
export function serialNumberOf(uuid: string): string {
	return createHash('sha256').update('nvme subsystem').update(uuidBytes(uuid)).digest('hex').slice(0, 20).toUpperCase();
}

/** ASCII, padded with spaces. */
export function paddedText(text: string, lengthBytes: number): Buffer {
	return Buffer.from(text.padEnd(lengthBytes).slice(0, lengthBytes), 'latin1');
}

/** UTF-8, padded with zeros and ended by one. */
export function terminatedText(text: string, lengthBytes: number): Buffer {
	const field = Buffer.alloc(lengthBytes);
	field.write(text, 0, lengthBytes - 1, 'utf8');
	return field;
}

function uuidBytes(uuid: string): Buffer {
	const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex');
	if (bytes.length !== 16) throw new RangeError(`${uuid} is no UUID`);
	return bytes;
}
