import { compareAndWriteBlocksMax } from './compare-and-write.ts';
import { deviceIdentification } from './device-identification.ts';
import { bits, u16be, u32be, u64be, u8 } from './field.ts';
import { limits } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { Nexus } from './nexus.ts';
import { physicalBlockBytes } from './read-capacity.ts';
import { senseBytesMax } from './sense.ts';
import { thresholdExponent } from './thin-space.ts';
import { thirdPartyCopyDescriptors } from './third-party-copy.ts';
import { atomicBlocksMax } from './write-atomic.ts';

type Page = (unit: LogicalUnit, nexus: Nexus) => Buffer;

/** SPC-4 and SBC-3: the vital product data pages, ascending. Page 00h is the list of the keys, so it names exactly what exists. */
const pages: ReadonlyMap<number, Page> = new Map<number, Page>([
	[0x00, () => page(0x00, Buffer.from([...pages.keys()]))],
	[0x80, (unit) => page(0x80, Buffer.from(unit.identity.serialNumber, 'latin1'))],
	[0x83, (unit, nexus) => page(0x83, deviceIdentification(unit.identity, nexus.port))],
	[0x86, extendedInquiry],
	[0x8f, () => page(0x8f, thirdPartyCopyDescriptors())],
	[0xb0, blockLimits],
	[0xb1, blockDeviceCharacteristics],
	[0xb2, logicalBlockProvisioning],
]);

/** A page with its header; undefined if there is none of that code. */
export function vpdPage(code: number, unit: LogicalUnit, nexus: Nexus): Buffer | undefined {
	return pages.get(code)?.(unit, nexus);
}

function page(code: number, content: Buffer): Buffer {
	const data = Buffer.alloc(4 + content.length);
	data[1] = code;
	data.writeUInt16BE(content.length, 2);
	content.copy(data, 4);
	return data;
}

/** SPC-4, Extended INQUIRY Data VPD page. No protection information, no priorities; ORDERED commands are not kept in order. */
const extended = {
	headsup: bits(5, 1, 1),
	simpsup: bits(5, 0, 1),
	vSup: bits(6, 0, 1),
	maximumSupportedSenseDataLength: u8(13),
};

function extendedInquiry(): Buffer {
	const data = page(0x86, Buffer.alloc(0x3c));
	// A command is begun when it arrives, so one at the head of the queue waits for none.
	extended.headsup.set(data, 1);
	extended.simpsup.set(data, 1);
	extended.vSup.set(data, 1);
	extended.maximumSupportedSenseDataLength.set(data, senseBytesMax);
	return data;
}

/** SBC-3, Block Limits VPD page; offsets count from the page's first byte. Writes with an atomic boundary do not exist. */
const limitsPage = {
	wsnz: bits(4, 0, 1),
	maximumCompareAndWriteLength: u8(5),
	optimalTransferLengthGranularity: u16be(6),
	maximumTransferLength: u32be(8),
	optimalTransferLength: u32be(12),
	maximumPrefetchLength: u32be(16),
	maximumUnmapLbaCount: u32be(20),
	maximumUnmapBlockDescriptorCount: u32be(24),
	optimalUnmapGranularity: u32be(28),
	ugavalid: bits(32, 7, 1),
	maximumWriteSameLength: u64be(36),
	maximumAtomicTransferLength: u32be(44),
};

function blockLimits(unit: LogicalUnit): Buffer {
	const { blockSize } = unit.device;
	const data = page(0xb0, Buffer.alloc(0x3c));
	limitsPage.wsnz.set(data, 1);
	limitsPage.maximumCompareAndWriteLength.set(data, compareAndWriteBlocksMax(unit));
	limitsPage.optimalTransferLengthGranularity.set(data, physicalBlockBytes / blockSize);
	limitsPage.maximumTransferLength.set(data, limits.transferBytesMax / blockSize);
	limitsPage.optimalTransferLength.set(data, limits.transferBytesOptimal / blockSize);
	limitsPage.maximumPrefetchLength.set(data, limits.prefetchBytesMax / blockSize);
	limitsPage.maximumUnmapLbaCount.set(data, limits.unmapBlocksMax);
	limitsPage.maximumUnmapBlockDescriptorCount.set(data, limits.unmapDescriptorsMax);
	limitsPage.optimalUnmapGranularity.set(data, physicalBlockBytes / blockSize);
	limitsPage.ugavalid.set(data, 1);
	limitsPage.maximumWriteSameLength.set(data, limits.writeSameBytesMax / blockSize);
	limitsPage.maximumAtomicTransferLength.set(data, atomicBlocksMax(unit));
	return data;
}

/** SBC-4, Block Device Characteristics VPD page: 0001h is a medium that does not rotate; WABEREQ 01b: after a block erase reads complete without error. */
const characteristics = { mediumRotationRate: u16be(4), wabereq: bits(7, 6, 2) };

function blockDeviceCharacteristics({ device }: LogicalUnit): Buffer {
	const data = page(0xb1, Buffer.alloc(0x3c));
	characteristics.mediumRotationRate.set(data, 0x0001);
	if (device.sanitizer?.isAllowed === true) characteristics.wabereq.set(data, 1);
	return data;
}

/** SBC-3, Logical Block Provisioning VPD page. ANC_SUP and DP are 0; LBPRZ 001b: what was unmapped reads as zeros. */
const provisioning = {
	thresholdExponent: u8(4),
	lbpu: bits(5, 7, 1),
	lbpws: bits(5, 6, 1),
	lbpws10: bits(5, 5, 1),
	lbprz: bits(5, 2, 3),
	provisioningType: bits(6, 0, 3),
};
const thin = 2;

function logicalBlockProvisioning(unit: LogicalUnit): Buffer {
	const data = page(0xb2, Buffer.alloc(4));
	// 0: no thresholds, because nobody knows the space.
	if (unit.hasThresholds) provisioning.thresholdExponent.set(data, thresholdExponent(unit));
	provisioning.lbpu.set(data, 1);
	provisioning.lbpws.set(data, 1);
	provisioning.lbpws10.set(data, 1);
	provisioning.lbprz.set(data, 1);
	provisioning.provisioningType.set(data, thin);
	return data;
}
