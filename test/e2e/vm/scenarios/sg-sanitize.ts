import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const target = iqn('sg-sanitize');

/** Waits until the disk is ready, shows what it said before, and has the kernel look at it again: it asked for the capacity meanwhile, and was told that the disk is not ready. */
async function ready(stage: Stage, disk: string): Promise<void> {
	const name = disk.replace('/dev/', '');
	await stage.run(
		`for i in $(seq 600); do sg_turs ${disk} && break; sg_requests -p ${disk}; sleep 0.1; done
		udevadm settle; echo 1 > /sys/block/${name}/device/rescan; [ $(blockdev --getsize64 ${disk}) = ${gibibyte} ]`,
		{ timeoutSeconds: 120 },
	);
}

export const sgSanitize: Scenario = {
	name: 'sg-sanitize',
	claim:
		'sg_sanitize is refused until the operator allows it; then a block erase leaves zeros and takes no space, an overwrite leaves its pattern, and the disk works on',
	units: oneUnit('sg-sanitize', gibibyte),
	faults: 'medium',
	async run(stage) {
		const disk = await login(stage, target);
		const fill = async (): Promise<void> => {
			await stage.run(`head -c 8388608 /dev/urandom > /tmp/data && dd if=/tmp/data of=${disk} bs=1M oflag=direct status=none`);
		};
		const holds = async (what: string): Promise<void> => {
			await stage.run(
				`[ "$(dd if=${disk} bs=1M count=8 iflag=direct status=none | sha256sum)" = "$(${what} | head -c 8388608 | sha256sum)" ]`,
			);
		};
		await fill();
		const { output: refused } = await stage.run(`sg_sanitize --block --quick --wait ${disk} 2>&1`, { okCodes: [9] });
		expect(/not supported|invalid op/i.test(refused), `another refusal than INVALID COMMAND OPERATION CODE: ${refused}`);
		await holds('cat /tmp/data');
		await stage.target.cli('volume', 'set', 'volume0', '--sanitize', 'on');
		await stage.run(`sg_opcodes -n ${disk} 2>&1 | grep -i sanitize`);
		await stage.run(`sg_sanitize --block --quick --early ${disk}`);
		await ready(stage, disk);
		await holds('cat /dev/zero');
		const { output: status } = await stage.run(`sg_get_lba_status --lba=0 --maxlen=64 --brief ${disk}`);
		expect(/^0x0+\s+0x200000\s+1/m.test(status), `all of it deallocated was expected: ${status}`);
		await fill();
		await stage.run(
			`printf 'blank***' > /tmp/pattern; sg_sanitize --overwrite --pattern=/tmp/pattern --count=2 --invert --quick --wait ${disk}`,
			{
				timeoutSeconds: 120,
			},
		);
		await ready(stage, disk);
		await holds(`yes 'blank***' | tr -d '\\n'`);
		await fill();
		await holds('cat /tmp/data');
		await logout(stage, target);
	},
};
