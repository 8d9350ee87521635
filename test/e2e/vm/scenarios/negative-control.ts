import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '../../../conformance/checks.ts';
import { fio, fioCommand } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, mebibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('negative-control');
const sizeMiB = 32;

/** Changes one byte in each MiB of the volume's data on the host. */
async function corrupt(stage: Stage): Promise<number> {
	const volumes = join(stage.target.folder, 'volumes');
	const layers = join(volumes, (await readdir(volumes))[0]!, 'layers');
	let changed = 0;
	for (const name of (await readdir(layers, { recursive: true })).filter((one) => one.endsWith('.data'))) {
		const file = await open(join(layers, name), 'r+');
		const byte = Buffer.alloc(1);
		for (let at = 12_345; at < sizeMiB * mebibyte && (await file.read(byte, 0, 1, at)).bytesRead === 1; at += mebibyte) {
			byte[0]! ^= 0x10;
			await file.write(byte, 0, 1, at);
			changed++;
		}
		await file.close();
	}
	return changed;
}

export const negativeControl: Scenario = {
	name: 'negative-control',
	claim:
		'data that was changed turns fio verify red, whether by another writer or on the host’s disk, which is a medium error and never wrong data',
	units: oneUnit('negative-control', gibibyte),
	faults: 'medium',
	async run(stage) {
		const disk = await login(stage, target);
		const job = { name: 'control', disk, options: { rw: 'write', bs: '64k', size: `${sizeMiB}m` } } as const;
		await fio(stage, { ...job, phase: 'both' });
		await stage.run(`dd if=/dev/urandom of=${disk} bs=512 seek=20001 count=1 oflag=direct status=none`);
		const other = await stage.run(fioCommand({ ...job, phase: 'verify' }), { okCodes: 'any', timeoutSeconds: 60 });
		expect(other.code !== 0 && /verify: bad|crc32c/.test(other.output), 'fio did not notice what another writer changed');
		await fio(stage, { ...job, phase: 'both' });
		await logout(stage, target);
		// A clean stop brings everything from the log into the layers.
		await stage.target.stop();
		const changed = await corrupt(stage);
		expect(changed >= sizeMiB - 1, `only ${changed} places could be changed`);
		await stage.target.start();
		const again = await login(stage, target);
		const spoilt = await stage.run(fioCommand({ ...job, disk: again, phase: 'verify' }), { okCodes: 'any', timeoutSeconds: 60 });
		expect(spoilt.code !== 0, 'fio did not notice what was changed on the host’s disk');
		expect(/No data available/.test(spoilt.output), 'fio got wrong data instead of a medium error');
		const { output } = await stage.run("dmesg | grep -cE 'Medium Error'", { okCodes: [0, 1] });
		expect(Number(output) > 0, 'the kernel saw no medium error');
		await logout(stage, target);
	},
};
