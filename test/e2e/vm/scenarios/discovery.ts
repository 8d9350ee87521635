import { expect } from '../../../conformance/checks.ts';
import { diskOf, login, logout } from '../initiator.ts';
import { gibibyte, iqn, type Scenario } from '../scenario.ts';
import { initiators, portal } from '../target.ts';

const target = iqn('discovery');
const hidden = iqn('hidden');

export const discovery: Scenario = {
	name: 'discovery',
	claim: 'SendTargets shows a target at the portal it was asked at, and only to whom it is open; both LUNs appear with their sizes',
	units: [
		{ target, lun: 0, sizeBytes: 2 * gibibyte },
		{ target, lun: 5, sizeBytes: 3 * gibibyte },
	],
	async run(stage) {
		await stage.target.cli('target', 'create', hidden);
		await stage.target.cli('target', 'allow', hidden, initiators.second);
		const { output: found } = await stage.run(`iscsiadm -m discovery -t sendtargets -p ${portal}`);
		expect(found.trim() === `${portal},1 ${target}`, `SendTargets answered ${found}`);
		const first = await login(stage, target);
		const second = await diskOf(stage, target, 5);
		const { output: sizes } = await stage.run(`lsscsi -s; blockdev --getsize64 ${first} ${second}`);
		expect(sizes.trim().endsWith(`${2 * gibibyte}\n${3 * gibibyte}`), 'other sizes were expected');
		const { output: sessions } = await stage.run('iscsiadm -m session');
		expect(sessions.includes(`${portal},1 ${target}`), 'there is no session');
		await logout(stage, target);
		await stage.run('iscsiadm -m session', { okCodes: [21] });
		await stage.run(`[ ! -e ${first} ]`);
	},
};

export const stranger: Scenario = {
	name: 'stranger',
	claim: 'whoever is not allowed finds nothing, and his login ends with an authorization failure',
	units: [],
	// A login that is refused ends its connection.
	faults: 'connection',
	async run(stage) {
		await stage.target.cli('target', 'create', hidden);
		await stage.target.cli('target', 'allow', hidden, initiators.second);
		await stage.run(`iscsiadm -m discovery -t sendtargets -p ${portal}`, { okCodes: [21] });
		const which = `-m node -T ${hidden} -p ${portal}`;
		const { output } = await stage.run(`iscsiadm ${which} -o new && iscsiadm ${which} --login`, { okCodes: [24] });
		expect(output.includes('login failed due to authorization failure'), 'another reason was expected');
		await stage.run('iscsiadm -m session', { okCodes: [21] });
	},
};
