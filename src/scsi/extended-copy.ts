import type { Outcome } from '../blockvol/block-device.ts';
import { collect, finish } from './answer.ts';
import { isInside } from './block-range.ts';
import { defineCommand } from './command.ts';
import type { CopyProgress } from './copies.ts';
import { listIdUsage, parseCopyList } from './copy-list.ts';
import type { CopyDevice, CopyList, CopySegment } from './copy-list.ts';
import { copyBuffer, copyRange } from './copy-range.ts';
import type { CopyRange } from './copy-range.ts';
import { u32be } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus } from './nexus.ts';
import { additionalSense, illegal, invalidFieldInParameterList, senseKey } from './sense.ts';
import type { Sense } from './sense.ts';
import { status } from './task.ts';
import type { NextStep, ScsiTask } from './task.ts';

const parameterListLength = u32be(10);

/**
 * SPC-4, EXTENDED COPY (LID1): copies blocks within a volume and between volumes of one target, which are those that the initiator reaches anyway. The segments are copied in their order; the
 * first that fails ends the command with COPY ABORTED.
 */
export const extendedCopy = defineCommand({
	name: 'EXTENDED COPY (LID1)',
	opcode: 0x83,
	serviceAction: 0x00,
	lengthBytes: 16,
	fields: { parameterListLength },
	reservation: 'write',
	timeoutSeconds: limits.longTimeoutSeconds,
	start(unit, task, nexus) {
		task.nexus = nexus;
		const lengthBytes = parameterListLength.get(task.cdb);
		if (lengthBytes > limits.parameterBytesMax) return unit.invalidField(task, parameterListLength);
		return collect(task, lengthBytes);
	},
	parameters(unit, task, data) {
		const nexus = task.nexus!;
		const list = parseCopyList(data.subarray(0, task.lengthBytes));
		if ('wrong' in list) return unit.check(task, list.wrong);
		const units = list.devices.map((device) => findUnit(unit, nexus, device));
		for (const [index, { diskBlockLength, blockLengthAt }] of list.devices.entries()) {
			const found = units[index];
			if (found !== undefined && found.device.blockSize !== diskBlockLength)
				return unit.check(task, invalidFieldInParameterList({ byte: blockLengthAt, bit: 7 }));
		}
		if (list.segments.length === 0) return 'finished';
		return begin(unit, task, nexus, list, units);
	},
});

function begin(unit: LogicalUnit, task: ScsiTask, nexus: Nexus, list: CopyList, units: readonly (LogicalUnit | undefined)[]): NextStep {
	const identifier = list.usage === listIdUsage.none ? undefined : list.identifier;
	if (identifier !== undefined && unit.copies.get(nexus, identifier)?.state === 'inProgress')
		return unit.check(task, illegal(additionalSense.operationInProgress));
	const progress = unit.copies.begin(nexus, identifier);
	if (progress === undefined) {
		task.status = status.busy;
		return 'finished';
	}
	void copySegments(task, nexus, list.segments, units, progress).then((wrong) => {
		progress.state = wrong === undefined ? 'good' : 'failed';
		unit.copies.end(nexus, identifier, progress, list.usage === listIdUsage.discard);
		if (wrong === 'ended') task.status = status.taskAborted;
		else if (wrong === 'closed') unit.fail(task, wrong);
		else if (wrong !== undefined) unit.check(task, wrong);
		finish(task);
	});
	return 'pending';
}

async function copySegments(
	task: ScsiTask,
	nexus: Nexus,
	segments: readonly CopySegment[],
	units: readonly (LogicalUnit | undefined)[],
	progress: CopyProgress,
): Promise<Sense | 'ended' | 'closed' | undefined> {
	const buffer = copyBuffer();
	const moved = (bytes: number): boolean => {
		progress.bytes += bytes;
		return !task.aborted;
	};
	for (const segment of segments) {
		const range = rangeOf(segment, units, nexus);
		if ('wrong' in range) return range.wrong;
		const outcome = range.lengthBytes === 0 ? 'good' : await copyRange(range, buffer, moved);
		if (outcome === 'ended' || outcome === 'closed') return outcome;
		if (outcome !== 'good') return failure(outcome);
		progress.segments++;
	}
	return undefined;
}

/** The bytes that a segment is about; the sense of what stands in the way. Looked at when its turn comes, since a reservation may be new. */
function rangeOf(segment: CopySegment, units: readonly (LogicalUnit | undefined)[], nexus: Nexus): CopyRange | { wrong: Sense } {
	const source = units[segment.source];
	const destination = units[segment.destination];
	if (source === undefined || destination === undefined) return { wrong: aborted(additionalSense.unreachableCopyTarget) };
	const lengthBytes = segment.blocks * (segment.countsDestination ? destination : source).device.blockSize;
	const sourceBlocks = lengthBytes / source.device.blockSize;
	const destinationBlocks = lengthBytes / destination.device.blockSize;
	if (!Number.isInteger(sourceBlocks) || !Number.isInteger(destinationBlocks))
		return { wrong: aborted(additionalSense.unexpectedInexactSegment) };
	const isRefused =
		lengthBytes > limits.copySegmentBytesMax ||
		!isInside(source, segment.sourceLba, sourceBlocks) ||
		!isInside(destination, segment.destinationLba, destinationBlocks) ||
		destination.readOnly ||
		!source.reservations.allows(nexus.registrant, 'read') ||
		!destination.reservations.allows(nexus.registrant, 'write');
	if (isRefused) return { wrong: aborted(additionalSense.copyTargetDeviceNotReachable) };
	return {
		source: source.device,
		sourceOffsetBytes: segment.sourceLba * source.device.blockSize,
		destination: destination.device,
		destinationOffsetBytes: segment.destinationLba * destination.device.blockSize,
		lengthBytes,
		fua: !destination.mode.isWriteBack,
	};
}

function findUnit(unit: LogicalUnit, nexus: Nexus, { naa }: CopyDevice): LogicalUnit | undefined {
	if (naa === undefined) return undefined;
	if (unit.identity.naa.equals(naa)) return unit;
	for (const other of nexus.port?.reachableUnits() ?? []) if (other.identity.naa.equals(naa)) return other;
	return undefined;
}

/** No space is told as such: the initiator can do something about it. */
function failure(outcome: Exclude<Outcome, 'good' | 'closed'>): Sense {
	if (outcome === 'noSpace') return { key: senseKey.dataProtect, code: additionalSense.spaceAllocationFailedWriteProtect };
	return aborted(additionalSense.thirdPartyDeviceFailure);
}

function aborted(code: number): Sense {
	return { key: senseKey.copyAborted, code };
}
