import { expect } from '../../../conformance/checks.ts';
import { diskOf, login, logout } from '../initiator.ts';
import { gibibyte, iqn, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('sg3');

/** Exit codes of sg3-utils. */
const codes = { good: 0, illegalRequest: 5, invalidOpcode: 9, miscompare: 14, lbaOutOfRange: 22 } as const;

/** Runs a command of sg3-utils; resolves to what it printed, which has to have these words. */
async function sg(stage: Stage, command: string, words: readonly string[] = [], end: keyof typeof codes = 'good'): Promise<string> {
	const { output } = await stage.run(`${command} 2>&1`, { okCodes: [codes[end]] });
	for (const one of words) expect(output.toLowerCase().includes(one.toLowerCase()), `${command}: ${one} was expected`);
	return output;
}

/** The blocks of a disk are those of a file: of /tmp/data at the same place, unless another is named. */
async function same(
	stage: Stage,
	disk: string,
	{ at = 0, count, file = '/tmp/data', fileAt = at }: { at?: number; count: number; file?: string; fileAt?: number },
): Promise<void> {
	await stage.run(
		`[ "$(dd if=${disk} bs=64k skip=${at * 512} count=${count * 512} iflag=direct,skip_bytes,count_bytes status=none | sha256sum)" = "$(dd if=${file} bs=64k skip=${fileAt * 512} count=${count * 512} iflag=skip_bytes,count_bytes,fullblock status=none | sha256sum)" ]`,
	);
}

/** Known data on the first 16 MiB of a disk. */
async function fill(stage: Stage, disk: string): Promise<void> {
	await stage.run(`head -c 16777216 /dev/urandom > /tmp/data && dd if=/tmp/data of=${disk} bs=1M oflag=direct status=none`);
}

async function attach(stage: Stage): Promise<{ disk: string; second: string }> {
	const disk = await login(stage, target);
	const second = await diskOf(stage, target, 1);
	await stage.run(`for disk in ${disk} ${second}; do sg_turs $disk; done; true`, { isQuiet: true });
	return { disk, second };
}

const units = [
	{ target, lun: 0, sizeBytes: gibibyte },
	{ target, lun: 1, sizeBytes: gibibyte },
];

export const sg3: Scenario = {
	name: 'sg3',
	claim:
		'sg3-utils finds every VPD, log and mode page, capacity, opcodes and port groups as they are; what does not exist is refused with its sense',
	units,
	faults: 'medium',
	async run(stage) {
		const { disk } = await attach(stage);
		const { output: list } = await stage.run(`sg_vpd -p 0 -q ${disk} > /dev/null; sg_vpd -r -p 0 ${disk} | od -An -tx1 -v -j4`);
		const pages = list.trim().split(/\s+/);
		expect(pages.join(' ') === '00 80 83 86 8f b0 b1 b2', `pages ${pages.join(' ')}`);
		for (const page of pages) {
			const said = await sg(stage, `sg_vpd -p 0x${page} ${disk}`);
			expect(!/warn|malformed|unable|unrecogni|fail|short/i.test(said), `sg_vpd complains of page ${page}: ${said}`);
		}
		await sg(stage, `sg_vpd -f -v -p 0x87 ${disk}`, ['Invalid field in cdb'], 'illegalRequest');
		await sg(stage, `sg_inq ${disk}`, ['BLKPORT', 'CmdQue=1', '3PC=1', 'TPGS=3']);
		await sg(stage, `sg_readcap -l ${disk}`, [
			'Number of logical blocks=2097152',
			'Logical block length=512 bytes',
			'Logical blocks per physical block exponent=3',
			'lbpme=1, lbprz=1',
		]);
		const opcodes = await sg(stage, `sg_opcodes -R -n ${disk}`, [
			'Compare and write',
			'Extended copy',
			'Persistent reserve out, preempt and abort',
			'Write same(16)',
			'timeout',
		]);
		expect(!/sanitize|format unit/i.test(opcodes), 'commands are listed that do not exist');
		await sg(stage, `sg_opcodes -t -q -n ${disk}`, ['Abort task']);
		await sg(stage, `sg_rtpg -d ${disk}`, ['active/optimized', 'target port group id']);
		await sg(stage, `sg_logs -ll ${disk}`);
		await sg(stage, `sg_logs -p 0x0c ${disk}`, ['Logical block provisioning']);
		await sg(stage, `sg_logs -p 0x2f ${disk}`, ['Informational Exceptions']);
		await sg(stage, `sg_logs -v -p 0x0d ${disk}`, ['Invalid field in cdb'], 'illegalRequest');
		await sg(stage, `sg_logs -v -p 0x18 ${disk}`, ['Invalid field in cdb'], 'illegalRequest');
		for (const page of ['1', '8', '0xa', '0x1c', '0x1c,2']) {
			await sg(stage, `sg_modes -p ${page} ${disk}`);
		}
		await sg(stage, `sg_modes -v -p 2 ${disk}`, ['Invalid field in cdb'], 'illegalRequest');
		await sg(stage, `sg_modes -v -c 3 ${disk}`, ['Saving parameters not supported'], 'illegalRequest');
		await sg(stage, `sg_sync -v ${disk}`);
		await sg(stage, `sg_sync -v --16 --lba=0 --count=8 ${disk}`);
		await sg(stage, `sg_raw -v ${disk} 48 01 00 00 00 00 00 00 00 00`, ['Invalid command operation code'], 'invalidOpcode');
		await logout(stage, target);
	},
};

export const sg3Data: Scenario = {
	name: 'sg3-data',
	claim:
		'compare and write, copies, write same, unmap and verify of sg3-utils do to the data what they say, and to no other block; refusals change nothing',
	units,
	faults: 'medium',
	async run(stage) {
		const { disk, second } = await attach(stage);
		await fill(stage, disk);
		await compareAndWrite(stage, disk);
		await copy(stage, disk, second);
		await fill(stage, disk);
		await writeSame(stage, disk);
		await unmap(stage, disk);
		await verify(stage, disk);
		await logout(stage, target);
	},
};

/** Blocks 16 to 23: equal, then with one byte that differs; beyond the end, and more than the disk takes. */
async function compareAndWrite(stage: Stage, disk: string): Promise<void> {
	await stage.run(
		`set -e
		dd if=/tmp/data bs=512 skip=16 count=8 status=none > /tmp/compared
		head -c 4096 /dev/urandom > /tmp/new
		cat /tmp/compared /tmp/new > /tmp/pair
		cp /tmp/new /tmp/other; printf 'x' | dd of=/tmp/other bs=1 seek=2000 conv=notrunc status=none`,
	);
	await sg(stage, `sg_compare_and_write -v --in=/tmp/pair --lba=16 --num=8 --xferlen=8192 ${disk}`);
	await same(stage, disk, { at: 16, count: 8, file: '/tmp/new', fileAt: 0 });
	await same(stage, disk, { at: 0, count: 16 });
	await same(stage, disk, { at: 24, count: 64 });
	// What is compared is not there any more; INFORMATION has the offset of the first byte that differs.
	await stage.run(`cat /tmp/other /tmp/compared > /tmp/pair`);
	await sg(stage, `sg_compare_and_write -v --in=/tmp/pair --lba=16 --num=8 --xferlen=8192 ${disk}`, ['Miscompare', '7d0'], 'miscompare');
	await same(stage, disk, { at: 16, count: 8, file: '/tmp/new', fileAt: 0 });
	await sg(
		stage,
		`sg_compare_and_write -v --in=/tmp/pair --lba=2097145 --num=8 --xferlen=8192 ${disk}`,
		['block address out of range'],
		'lbaOutOfRange',
	);
	await stage.run(`dd if=/tmp/new of=/tmp/data bs=512 seek=16 conv=notrunc status=none`);
}

/** 4 MiB within the disk, 2 MiB to the other. */
async function copy(stage: Stage, disk: string, second: string): Promise<void> {
	await sg(stage, `sg_xcopy if=${disk} of=${disk} bs=512 skip=1001 seek=1000001 count=8192 bpt=4096`);
	await same(stage, disk, { at: 1_000_001, count: 8192, fileAt: 1001 });
	await sg(stage, `sg_xcopy if=${disk} of=${second} bs=512 skip=4096 seek=7 count=4096 bpt=2048`);
	await same(stage, second, { at: 7, count: 4096, fileAt: 4096 });
	await same(stage, second, { at: 0, count: 7, file: '/dev/zero', fileAt: 0 });
	await same(stage, second, { at: 4103, count: 100, file: '/dev/zero', fileAt: 0 });
	await same(stage, disk, { count: 32_768 });
}

/** A pattern, zeros without data-out, zeros by UNMAP; none, too many and ANCHOR are refused. */
async function writeSame(stage: Stage, disk: string): Promise<void> {
	const pattern = `head -c 512 /dev/urandom > /tmp/block && for i in $(seq 100); do cat /tmp/block; done > /tmp/pattern`;
	await stage.run(pattern);
	await sg(stage, `sg_write_same -v --10 --in=/tmp/block --lba=100 --num=100 ${disk}`);
	await same(stage, disk, { at: 100, count: 100, file: '/tmp/pattern', fileAt: 0 });
	await sg(stage, `sg_write_same -v --16 --ndob --lba=300 --num=100 ${disk}`);
	await sg(stage, `sg_write_same -v --16 --unmap --lba=801 --num=4000 ${disk}`);
	for (const [at, count] of [
		[300, 100],
		[801, 4000],
	] as const) {
		await same(stage, disk, { at, count, file: '/dev/zero', fileAt: 0 });
	}
	for (const [options, sense] of [
		['--16 --in=/tmp/block --lba=0 --num=0', 'Invalid field in cdb'],
		['--16 --ndob --lba=0 --num=2097153', 'block address out of range'],
		['--16 --unmap --anchor --lba=0 --num=8', 'Invalid field in cdb'],
		['--16 --in=/tmp/block --lba=2097151 --num=2', 'block address out of range'],
		['--32 --in=/tmp/block --lba=0 --num=8', ''],
	] as const) {
		await sg(
			stage,
			`sg_write_same -v ${options} ${disk}`,
			sense === '' ? [] : [sense],
			options.startsWith('--32') ? 'invalidOpcode' : sense.includes('out of range') ? 'lbaOutOfRange' : 'illegalRequest',
		);
	}
	for (const [at, count] of [
		[0, 100],
		[200, 100],
		[400, 401],
		[4801, 1000],
	] as const) {
		await same(stage, disk, { at, count });
	}
}

/** Two ranges of one UNMAP, and what GET LBA STATUS says of them; a range too far changes nothing of the other. */
async function unmap(stage: Stage, disk: string): Promise<void> {
	await sg(stage, `sg_unmap -v --force --lba=8192,16384 --num=1024,2048 ${disk}`);
	await same(stage, disk, { at: 8192, count: 1024, file: '/dev/zero', fileAt: 0 });
	await same(stage, disk, { at: 16_384, count: 2048, file: '/dev/zero', fileAt: 0 });
	await same(stage, disk, { at: 9216, count: 7168 });
	const status = await sg(stage, `sg_get_lba_status --lba=8192 --maxlen=128 --brief ${disk}`);
	expect(/0x0*2000\s+0x400\s+1/.test(status) && /0x0*2400\s+0x1c00\s+0/.test(status), `GET LBA STATUS: ${status}`);
	await sg(stage, `sg_unmap -v --force --lba=9216,2097150 --num=8,8 ${disk}`, ['block address out of range'], 'lbaOutOfRange');
	await sg(stage, `sg_unmap -v --force --anchor --lba=9216 --num=8 ${disk}`, ['Invalid field in cdb'], 'illegalRequest');
	await same(stage, disk, { at: 9216, count: 7168 });
}

async function verify(stage: Stage, disk: string): Promise<void> {
	await stage.run('dd if=/tmp/data bs=512 skip=10000 count=64 status=none > /tmp/verified');
	await sg(stage, `sg_verify -v --lba=0 --count=32768 --bpc=4096 ${disk}`);
	await sg(stage, `sg_verify -v --16 --lba=10000 --count=64 --ndo=32768 --in=/tmp/verified ${disk}`);
	await sg(stage, `sg_verify -v --16 --lba=10001 --count=64 --ndo=32768 --in=/tmp/verified ${disk}`, ['Miscompare'], 'miscompare');
	await sg(stage, `sg_verify -v --lba=2097151 --count=2 ${disk}`, ['block address out of range'], 'lbaOutOfRange');
}
