import { vendorIdentification } from './identity.ts';
import type { Identity } from './identity.ts';
import type { TargetPort } from './nexus.ts';
import { targetPortName } from './port-name.ts';

/** SPC-4, designation descriptor. */
const codeSet = { binary: 1, ascii: 2, utf8: 3 } as const;
const association = { logicalUnit: 0, targetPort: 1, targetDevice: 2 } as const;
const designatorType = { t10VendorId: 1, naa: 3, relativeTargetPort: 4, targetPortGroup: 5, scsiNameString: 8 } as const;
/** SPC-4, PROTOCOL IDENTIFIER. */
const iscsi = 5;

/** The designation descriptors of the Device Identification VPD page. Without a port, those of the logical unit alone. */
export function deviceIdentification(identity: Identity, port: TargetPort | undefined): Buffer {
	const unit = [
		descriptor(codeSet.binary, association.logicalUnit, designatorType.naa, identity.naa),
		descriptor(
			codeSet.ascii,
			association.logicalUnit,
			designatorType.t10VendorId,
			Buffer.from(vendorIdentification + identity.serialNumber, 'latin1'),
		),
		descriptor(codeSet.utf8, association.logicalUnit, designatorType.scsiNameString, nameString(`naa.${identity.naa.toString('hex')}`)),
	];
	if (port === undefined) return Buffer.concat(unit);
	const tag = Buffer.alloc(4);
	tag.writeUInt16BE(port.targetPortalGroupTag, 2);
	const portName = targetPortName(port.name, port.targetPortalGroupTag);
	return Buffer.concat([
		...unit,
		descriptor(codeSet.binary, association.targetPort, designatorType.relativeTargetPort, tag),
		descriptor(codeSet.binary, association.targetPort, designatorType.targetPortGroup, tag),
		descriptor(codeSet.utf8, association.targetPort, designatorType.scsiNameString, nameString(portName)),
		descriptor(codeSet.utf8, association.targetDevice, designatorType.scsiNameString, nameString(port.name)),
	]);
}

function descriptor(set: number, associated: number, type: number, designator: Buffer): Buffer {
	const ofPort = associated !== association.logicalUnit;
	// PIV: the protocol identifier is valid with a port or a device only.
	const header = [(ofPort ? iscsi << 4 : 0) | set, (ofPort ? 0x80 : 0) | (associated << 4) | type, 0, designator.length];
	return Buffer.concat([Buffer.from(header), designator]);
}

/** SPC-4: null-terminated, null-padded to a multiple of 4. */
function nameString(name: string): Buffer {
	const text = Buffer.from(name, 'utf8');
	const padded = Buffer.alloc(Math.ceil((text.length + 1) / 4) * 4);
	text.copy(padded);
	return padded;
}
