import { Sqe, sglIdentifier } from './pdu.ts';
import { status } from './status.ts';

/** Where the data of a command is: behind it in the capsule, or at the host, to be sent or asked for. */
export type SGLKind = 'inCapsule' | 'transport';

/**
 * SGL 1 of a command that transfers `lengthBytes` to the controller (NVMe over Fabrics, "Command Capsules"; NVMe Base 2.0, "Scatter Gather List"). Returns what it is, or the status of
 * what is wrong with it. `capsuleBytes` of data came in the capsule; ICDOFF is 0.
 */
export function sglToController(sqe: Buffer, lengthBytes: number, capsuleBytes: number): SGLKind | number {
	const identifier = identifierOf(sqe);
	if (typeof identifier === 'number') return identifier;
	if (Sqe.sglLength.get(sqe, 0) !== lengthBytes) return status.dataSGLLengthInvalid;
	if (identifier === 'transport') return identifier;
	const offset = Sqe.sglOffset.get(sqe, 0);
	if (offset > capsuleBytes || Sqe.sglOffsetHigh.get(sqe, 0) > 0) return status.sglOffsetInvalid;
	return offset + lengthBytes > capsuleBytes ? status.dataSGLLengthInvalid : identifier;
}

/** The same for data to the host, of which any length may be right: see Request. Capsules to the host carry none. */
export function sglToHost(sqe: Buffer): 'transport' | number {
	const identifier = identifierOf(sqe);
	return identifier === 'inCapsule' ? status.sglDescriptorTypeInvalid : identifier;
}

function identifierOf(sqe: Buffer): SGLKind | number {
	// 00b would be PRPs, which no fabric has; 11b is reserved.
	const psdt = Sqe.psdt.get(sqe, 0);
	if (psdt !== 1 && psdt !== 2) return status.invalidField;
	switch (Sqe.sglIdentifier.get(sqe, 0)) {
		case sglIdentifier.transport:
			return 'transport';
		case sglIdentifier.inCapsule:
			return 'inCapsule';
		default:
			return status.sglDescriptorTypeInvalid;
	}
}
