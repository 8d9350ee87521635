import { expect } from '../../../conformance/checks.ts';
import { connect, controllerOf, disconnect, nqn, nvme, nvmeFails, offer } from '../host.ts';
import { gibibyte, oneUnit, type Scenario } from '../scenario.ts';

const name = nqn('commands');

/** An nvme-cli command on the controller, and words that its answer must have. */
const pages: readonly (readonly [command: string, ...words: RegExp[]])[] = [
	[
		'id-ctrl -H',
		/^mn +: Blockport +$/m,
		/ANA supported/,
		/Reservations Supported/,
		/Volatile Write Cache Present/,
		/^mdts +: 10$/m,
		/^subnqn +: nqn\./m,
	],
	['list-ns', /^\[ +0\]:0x1$/m],
	['smart-log', /^critical_warning\s+: 0$/m, /^available_spare\s+: 100%$/m],
	['ana-log', /^nnsids\s+:\s+1$/m, /^state\s+:\s+optimized$/m, /^\s+nsid\s+:\s+1$/m],
	['effects-log -c 0', /^IOCS8 +\[Write Zeroes +\] 00000003$/m, /^IOCS17 +\[Reservation Acquire +\] 00000001$/m],
	['fw-log', /^afi +: 0x1$/m],
	['changed-ns-list-log'],
	['supported-log-pages', /LID 0xc /, /LID 0x80 /],
	['get-feature -f 7 -H', /Allocated \(NSQA\): 2$/m],
	['get-feature -f 0xf -H', /in milliseconds: 5000$/m],
	['resv-notif-log'],
];

/** The same on the namespace. */
const namespacePages: readonly (readonly [command: string, ...words: RegExp[]])[] = [
	['id-ns -H', /^nsze +: 0x200000$/m, /Thin Provisioning Supported/, /^LBA Format +0 .* 512 bytes .*\(in use\)$/m],
	['ns-descs', /^uuid +: [0-9a-f-]{36}$/m, /^nguid +: [0-9a-f]{32}$/m, /^eui64 +: [0-9a-f]{16}$/m],
	['cmdset-ind-id-ns -n 1', /^nstat +: 0x1$/m],
	['resv-report -e', /^regctl +: 0$/m],
];

export const nvmeCommands: Scenario = {
	name: 'nvme-commands',
	claim:
		'nvme-cli reads every page without a warning; read, write, compare, verify, write-zeroes, dsm and flush do what they say, and errors are in the log',
	units: oneUnit('commands', gibibyte),
	async run(stage) {
		await offer(stage, name);
		const disk = await connect(stage, name);
		const controller = controllerOf(disk);
		for (const [all, device] of [
			[pages, controller],
			[namespacePages, disk],
		] as const) {
			for (const [command, ...words] of all) {
				const [verb, ...options] = command.split(' ');
				const output = await nvme(stage, [verb, device, ...options].join(' '));
				for (const word of words) expect(word.test(output), `nvme ${command} does not say ${word.source}`);
			}
		}
		const data = '-z 65536 -d /tmp/commands';
		await stage.run('dd if=/dev/urandom of=/tmp/commands bs=64k count=1 status=none');
		await nvme(stage, `write ${disk} -s 8 -c 127 ${data}`);
		await nvme(stage, `compare ${disk} -s 8 -c 127 ${data}`);
		await nvmeFails(stage, `compare ${disk} -s 9 -c 127 ${data}`, /Compare Failure/);
		await nvme(stage, `verify ${disk} -s 8 -c 127`);
		await nvme(stage, `flush ${disk}`);
		await nvme(stage, `write ${disk} -s 136 -c 127 ${data} -f`);
		await nvme(stage, `write-zeroes ${disk} -s 16 -c 7`);
		await nvme(stage, `write-zeroes ${disk} -s 32 -c 15 -d`);
		await nvme(stage, `dsm ${disk} -d -s 64,96 -b 8,16`);
		const zeros = [
			[8, 8],
			[24, 16],
			[56, 8],
			[88, 16],
		];
		const zeroed = zeros.map(
			([at, blocks]) => `dd if=/dev/zero of=/tmp/commands bs=512 seek=${at} count=${blocks} conv=notrunc status=none`,
		);
		await stage.run(`set -e\ncp /tmp/commands /tmp/written\n${zeroed.join('\n')}`);
		await nvme(stage, `compare ${disk} -s 8 -c 127 ${data}`);
		await nvme(stage, `compare ${disk} -s 136 -c 127 -z 65536 -d /tmp/written`);
		await nvmeFails(stage, `read ${disk} -s 2097152 -c 7 -z 4096`, /LBA Out of Range/);
		const errors = await nvme(stage, `error-log ${controller} -e 2`);
		expect(
			/LBA Out of Range/.test(errors) && /^lba\s+: 0x200000$/m.test(errors) && /Compare Failure/.test(errors),
			'an error is not in the log',
		);
		const smart = await nvme(stage, `smart-log ${controller}`);
		expect(/^num_err_log_entries\s+: 2$/m.test(smart) && /^media_errors\s+: 0$/m.test(smart), 'SMART counts other errors');
		await disconnect(stage, name);
	},
};
