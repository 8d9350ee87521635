import { expect } from '../../../conformance/checks.ts';
import { everySize, fio } from '../fio.ts';
import { at, connect, disconnect, hosts, nqn, nvme, nvmeFails, offer, onTarget, raiseCommandSize } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

const name = nqn('auth');

/** What the target asks for. Emulated, ffdhe6144 and ffdhe8192 take the guest's kernel longer than hosts may be silent. */
const strengths = [
	{ hash: 'sha256', dhGroup: 'null' },
	{ hash: 'sha384', dhGroup: 'ffdhe2048' },
	{ hash: 'sha512', dhGroup: 'ffdhe4096' },
] as const;

/** hmac: 0 for a secret as it is, 1 to 3 for one that SHA-256, 384 or 512 transforms. */
async function newKey(stage: Stage, hmac: number, forNQN: string): Promise<string> {
	const key = (await nvme(stage, `gen-dhchap-key --hmac=${hmac} --nqn=${forNQN}`)).trim();
	expect(new RegExp(`^DHHC-1:0${hmac}:[A-Za-z0-9+/=]+:$`).test(key), `gen-dhchap-key made ${key}`);
	return key;
}

/** What the kernel says of the admin queue. */
async function kernelSays(stage: Stage, words: string): Promise<void> {
	await stage.run(`dmesg | grep '${words}'`);
}

export const nvmeAuth: Scenario = {
	name: 'nvme-auth',
	claim:
		'DH-HMAC-CHAP one way and both ways, with three hashes and groups and digests: fio verifies; without the key, or with a wrong one on either side, nobody gets in',
	units: oneUnit('auth', 2 * gibibyte),
	kernel: 'trixie',
	faults: 'connection',
	async run(stage) {
		// Why it takes this kernel.
		const { output: configurations } = await stage.run("grep -E 'CONFIG_NVME_(HOST_)?AUTH\\b' /boot/config-*");
		expect(/config-6\.1\..*# CONFIG_NVME_AUTH is not set/.test(configurations), 'bookworm’s kernel could do it now: let it');
		await offer(stage, name, ['volume0'], []);
		const { nqn: host } = hosts.guest;
		for (const [index, { hash, dhGroup }] of strengths.entries()) {
			const [secret, ctrlSecret] = [await newKey(stage, index, host), await newKey(stage, index + 1, name)];
			const strength = ['--dhchap-hash', hash, '--dhchap-dhgroup', dhGroup];
			await onTarget(stage, 'subsystem', 'allow', name, host, '--dhchap-secret', secret, '--dhchap-ctrl-secret', ctrlSecret, ...strength);
			await stage.run('dmesg -C');
			await connect(stage, name, `--dhchap-secret=${secret}`);
			await kernelSays(stage, `authenticated with hash hmac(${hash}) dhgroup ${dhGroup}`);
			await stage.run("! dmesg | grep 'controller authenticated'");
			await disconnect(stage, name);
			const disk = await connect(stage, name, `--dhchap-secret=${secret} --dhchap-ctrl-secret=${ctrlSecret} --hdr-digest --data-digest`);
			await kernelSays(stage, 'qid 0: controller authenticated');
			const listed = await onTarget(stage, 'controller', 'list');
			expect(/\byes\b/.test(listed), 'the target does not call the controller authenticated');
			await raiseCommandSize(stage, disk);
			const options = { rw: 'randwrite', bssplit: everySize, size: '512m', io_size: '16m', randseed: index + 1 };
			await fio(stage, { name: 'auth', disk, phase: 'both', options });
			await disconnect(stage, name);
			const [otherSecret, otherCtrlSecret] = [await newKey(stage, index, host), await newKey(stage, index, name)];
			await nvmeFails(stage, `connect ${at} -n ${name}`, /Required key not available/);
			await nvmeFails(stage, `connect ${at} -n ${name} --dhchap-secret=${otherSecret}`, /Key was rejected by service/);
			await nvmeFails(
				stage,
				`connect ${at} -n ${name} --dhchap-secret=${secret} --dhchap-ctrl-secret=${otherCtrlSecret}`,
				/Key was rejected by service/,
			);
		}
	},
};
