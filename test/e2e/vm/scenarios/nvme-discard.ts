import { expect } from '../../../conformance/checks.ts';
import { connect, controllerOf, disconnect, nqn, nvme, offer } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';
import { layersMiB, settled } from './fstrim.ts';

const name = nqn('discard');
const halfMiB = 96;

export const nvmeDiscard: Scenario = {
	name: 'nvme-discard',
	claim: 'blkdiscard gives the space of one half back on the host, which then reads as zeros, and leaves the other half alone',
	units: oneUnit('discard', gibibyte),
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name);
		const identify = await nvme(stage, `id-ns ${disk} -H`);
		for (const line of [
			'Thin Provisioning Supported',
			'NPWG, NPWA, NPDG, NPDA, and NOWS are Supported',
			'Deallocate Bit in the Write Zeroes Command is Supported',
		]) {
			expect(
				identify.split('\n').some((one) => one.includes(line) && /: 0x1\s/.test(one)),
				`${line} was expected`,
			);
		}
		const bytesNotZero = async (dd: string): Promise<number> =>
			Number((await stage.run(`${dd} iflag=direct status=none | tr -d '\\000' | wc -c`)).output);
		const empty = await layersMiB(stage);
		await stage.run(`dd if=/dev/urandom of=${disk} bs=1M count=${2 * halfMiB} oflag=direct status=none`, { timeoutSeconds: 120 });
		const sum = `dd if=${disk} bs=1M skip=${halfMiB} count=${halfMiB} iflag=direct status=none | sha256sum`;
		const { output: kept } = await stage.run(sum);
		const full = await settled(stage, (mebibytes) => mebibytes >= empty + 2 * halfMiB);
		expect(full >= empty + 2 * halfMiB, `${2 * halfMiB} MiB were written, and the layers grew from ${empty} to ${full} MiB`);
		await stage.run(`blkdiscard -o 0 -l ${halfMiB}M ${disk}`);
		const after = await settled(stage, (mebibytes) => mebibytes <= full - halfMiB * 0.95);
		expect(after <= full - halfMiB * 0.95, `the layers took ${full} MiB before blkdiscard and ${after} MiB after`);
		expect((await bytesNotZero(`dd if=${disk} bs=1M count=${halfMiB}`)) === 0, 'what was discarded does not read as zeros');
		const { output: still } = await stage.run(sum);
		expect(still === kept, 'the other half has changed');
		await stage.run(`blkdiscard -z -o ${halfMiB}M -l 1M ${disk}`);
		expect((await bytesNotZero(`dd if=${disk} bs=1M skip=${halfMiB} count=1`)) === 0, 'what was zeroed does not read as zeros');
		await nvme(stage, `smart-log ${controllerOf(disk)}`);
		await disconnect(stage, name);
		return `on the host ${empty} MiB, ${full} written, ${after} after blkdiscard`;
	},
};
