import { expect } from '../../../conformance/checks.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';

const target = iqn('commands');

/** Commands with as much room as data, and with more; the kernel works out from the residual count how many bytes came. */
const answers = [
	{ what: 'standard INQUIRY', cdb: '12 00 00 04 00 00', room: 1024, bytes: undefined },
	{ what: 'READ CAPACITY (16)', cdb: '9e 10 00 00 00 00 00 00 00 00 00 00 04 00 00 00', room: 1024, bytes: 32 },
	{ what: 'REPORT LUNS', cdb: 'a0 00 00 00 00 00 00 00 04 00 00 00', room: 1024, bytes: 16 },
	{ what: 'READ (10) of 8 blocks', cdb: '28 00 00 00 00 00 00 00 08 00', room: 4096, bytes: 4096 },
	{ what: 'READ (10) of 8 blocks', cdb: '28 00 00 00 00 00 00 00 08 00', room: 16_384, bytes: 4096 },
] as const;

/** VPD page B2h, as sg_vpd shows it. */
const provisioning = [
	'(LBPU): 1',
	'(LBPWS): 1',
	'(LBPWS10): 1',
	'(LBPRZ): 1',
	'(ANC_SUP): 0',
	'Threshold exponent: 11',
	'(DP): 0',
	'Provisioning type: 2 (thin provisioned)',
];

export const commands: Scenario = {
	name: 'commands',
	claim: 'the kernel learns the disk’s traits, VPD page B2h is right in every field, and residual counts are exact to the byte',
	units: oneUnit('commands', gibibyte),
	async run(stage) {
		const disk = await login(stage, target);
		const queue = `/sys/block/${disk.replace('/dev/', '')}/queue`;
		const { output: traits } = await stage.run(
			`cd ${queue} && grep . fua write_cache rotational logical_block_size physical_block_size minimum_io_size discard_zeroes_data`,
		);
		for (const trait of ['fua:1', 'write_cache:write back', 'rotational:0', 'logical_block_size:512', 'physical_block_size:4096']) {
			expect(traits.split('\n').includes(trait), `${trait} was expected`);
		}
		const { output: length } = await stage.run(`sg_inq ${disk} -r | wc -c`);
		for (const { what, cdb, room, bytes = Number(length) } of answers) {
			const { output } = await stage.run(`sg_raw -r ${room} -o /dev/null ${disk} ${cdb}`);
			const received = Number(/(?:Received|Writing) (\d+) bytes of data/i.exec(output)?.[1]);
			expect(received === bytes, `${what} with room for ${room} bytes: ${received} bytes counted, ${bytes} are right`);
		}
		const { output: pages } = await stage.run(`sg_vpd -p lbpv ${disk}; sg_vpd -p bl ${disk}; sg_vpd -p di ${disk}`);
		for (const line of provisioning) expect(pages.includes(line), `${line} was expected`);
		await logout(stage, target);
	},
};
