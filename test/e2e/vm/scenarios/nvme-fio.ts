import { expect } from '../../../conformance/checks.ts';
import { everySize, fio } from '../fio.ts';
import { connect, disconnect, nqn, offer, pathOf, raiseCommandSize } from '../host.ts';
import { gibibyte, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import { written } from './fio-verify.ts';

const name = nqn('fio');
const largeCommands = 48;

export const nvmeFio: Scenario = {
	name: 'nvme-fio',
	claim: 'fio at depth 32 with 512 bytes to 4 MiB reads back what it wrote, and writes of 4 MiB reach the wire whole',
	units: oneUnit('fio', 4 * gibibyte),
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name);
		await raiseCommandSize(stage, disk);
		const path = await pathOf(stage, disk);
		await stage.run(
			`cd /sys/block && grep . {${disk.replace('/dev/', '')},${path}}/queue/{max_sectors_kb,max_hw_sectors_kb,fua,write_cache,discard_granularity}`,
		);
		await fio(stage, {
			name: 'every-size',
			disk,
			phase: 'both',
			options: { rw: 'randwrite', bssplit: everySize, size: '3g', io_size: '192m' },
		});
		const before = await written(stage, path);
		await fio(stage, {
			name: 'large',
			disk,
			phase: 'both',
			options: { rw: 'randwrite', bs: '4m', size: '512m', io_size: `${largeCommands * 4}m`, iodepth: 8 },
		});
		const after = await written(stage, path);
		expect(after.bytes - before.bytes === largeCommands * 4 * mebibyte, `the path counts ${after.bytes - before.bytes} bytes written`);
		expect(
			after.commands - before.commands === largeCommands,
			`4 MiB went in pieces: ${after.commands - before.commands} commands for ${largeCommands}`,
		);
		await disconnect(stage, name);
	},
};
