import { expect } from '../../../conformance/checks.ts';
import { everySize, fio } from '../fio.ts';
import { login, logout } from '../initiator.ts';
import { gibibyte, iqn, oneUnit, type Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { initiators, portal } from '../target.ts';

const target = iqn('chap');
const node = `-m node -T ${target} -p ${portal}`;
const secrets = { initiator: 'initiator-secret-1', target: 'target-secret-22', discovery: 'discovery-secret-3' } as const;
/** What iscsiadm ends with when a login is refused for what was or was not proved. */
const loginAuthFailed = 24;
/** And when the initiator itself does not believe the target. */
const targetNotProved = 19;

type Settings = Readonly<Record<string, string>>;
const auth = (name: string): string => `node.session.auth.${name}`;

const oneWay: Settings = { [auth('authmethod')]: 'CHAP', [auth('username')]: 'guest', [auth('password')]: secrets.initiator };
const bothWays: Settings = { ...oneWay, [auth('username_in')]: 'blockport', [auth('password_in')]: secrets.target };

/** Algorithms as open-iscsi names them, the strongest alone and the usual one among others. */
const algorithms = ['MD5', 'SHA1', 'SHA256', 'SHA3-256', 'SHA3-256,SHA256,SHA1,MD5'];

/** Changes the node record. */
function update(settings: Settings): string {
	return ['true', ...Object.entries(settings).map(([name, value]) => `iscsiadm ${node} -o update -n ${name} -v ${value}`)].join(' && ');
}

async function allow(stage: Stage, ...words: string[]): Promise<void> {
	await stage.target.cli('target', 'allow', target, initiators.guest, ...words);
}

/** A login with these settings ends as a refusal, and leaves no session. */
async function refused(stage: Stage, settings: Settings, code = loginAuthFailed): Promise<void> {
	await stage.run(`${update(settings)} && iscsiadm ${node} --login`, { okCodes: [code] });
	await stage.run('iscsiadm -m session', { okCodes: [21] });
}

export const chap: Scenario = {
	name: 'chap',
	claim:
		'CHAP one way with each algorithm and both ways, with digests: fio verifies; without a secret, with a wrong one on either side, or from another network nobody gets in',
	units: oneUnit('chap', 2 * gibibyte),
	faults: 'connection',
	async run(stage) {
		await allow(stage, '--chap-user', 'guest', '--chap-secret', secrets.initiator);
		// open-iscsi offers CHAP once it has a name and a secret, whatever its authmethod says: so without them first.
		await stage.run(`iscsiadm -m discovery -t sendtargets -p ${portal}`);
		await refused(stage, {});
		await stage.run(update(oneWay));
		await refused(stage, { [auth('password')]: 'what-it-is-not-1' });
		await refused(stage, { [auth('password')]: secrets.initiator, [auth('username')]: 'somebody' });
		await stage.run(update(oneWay));
		for (const chapAlgs of algorithms) {
			await stage.run(`${update({ [auth('chap_algs')]: chapAlgs })} && iscsiadm ${node} --login`);
			expect(/\byes\b/.test(await stage.target.cli('session', 'list')), 'the target does not call the initiator proved');
			await logout(stage, target);
		}
		// The target cannot prove itself yet.
		await refused(stage, bothWays);

		await allow(stage, '--mutual-chap-user', 'blockport', '--mutual-chap-secret', secrets.target);
		const digests = { 'node.conn[0].iscsi.HeaderDigest': 'CRC32C', 'node.conn[0].iscsi.DataDigest': 'CRC32C' };
		const disk = await login(stage, target, { settings: { ...bothWays, ...digests } });
		expect((await stage.target.cli('session', 'list')).includes('both ways'), 'the target has not proved itself');
		await fio(stage, { name: 'chap', disk, phase: 'both', options: { rw: 'randwrite', bssplit: everySize, size: '512m', io_size: '16m' } });
		await logout(stage, target);
		await refused(stage, { [auth('password_in')]: 'what-it-is-not-2' }, targetNotProved);

		await allow(stage, '--from', '192.0.2.0/24');
		await stage.run(`iscsiadm -m discovery -t sendtargets -p ${portal}`, { okCodes: [21] });
		await stage.run(`iscsiadm ${node} -o new`);
		await refused(stage, {});
	},
};

export const chapDiscovery: Scenario = {
	name: 'chap-discovery',
	claim: 'discovery that asks for CHAP finds targets with the secret and nothing without; both ways if the initiator asks',
	units: oneUnit('chap', gibibyte),
	faults: 'connection',
	async run(stage) {
		const record = `iscsiadm -m discoverydb -t sendtargets -p ${portal}`;
		const set = (name: string, value: string): string => `${record} -o update -n discovery.sendtargets.auth.${name} -v ${value}`;
		await stage.target.cli('discovery', 'auth', '--chap-user', 'guest', '--chap-secret', secrets.discovery);
		await stage.run(`${record} -o new && ${record} --discover`, { okCodes: [loginAuthFailed] });
		await stage.run([set('authmethod', 'CHAP'), set('username', 'guest'), set('password', secrets.discovery)].join(' && '));
		expect((await stage.run(`${record} --discover`)).output.includes(target), 'the target was not found');
		await stage.run(`${set('password', 'what-it-is-not-3')} && ${record} --discover`, { okCodes: [loginAuthFailed] });
		await stage.target.cli('discovery', 'auth', '--mutual-chap-user', 'blockport', '--mutual-chap-secret', secrets.target);
		const both = [set('password', secrets.discovery), set('username_in', 'blockport'), set('password_in', secrets.target)];
		expect((await stage.run(`${both.join(' && ')} && ${record} --discover`)).output.includes(target), 'the target was not found');
		await stage.target.cli('discovery', 'auth', '--off');
		await stage.run(`${record} -o delete`);
		// The targets themselves ask for nothing, nor does discovery any more.
		await login(stage, target);
		await logout(stage, target);
	},
};

export const chapDemanded: Scenario = {
	name: 'chap-demanded',
	claim: 'a secret that is asked for from now on ends the session of who has proved nothing, and lets it in again once it knows the secret',
	units: oneUnit('chap', gibibyte),
	faults: 'connection',
	async run(stage) {
		await login(stage, target);
		await allow(stage, '--chap-user', 'guest', '--chap-secret', secrets.initiator);
		// The initiator comes again at once, and is refused as often as it comes.
		await stage.run("for i in $(seq 100); do dmesg | grep -q 'detected conn error' && break; sleep 0.1; done; sleep 2");
		expect((await stage.target.cli('session', 'list')).includes('no sessions'), 'the target kept the session, or let it in again');
		await stage.run(`iscsiadm ${node} --logout`, { okCodes: 'any' });
		await stage.run('iscsiadm -m session', { okCodes: [21] });
		const disk = await login(stage, target, { settings: oneWay });
		await stage.run(`dd if=${disk} of=/dev/null bs=4k count=1 iflag=direct`);
		await logout(stage, target);
	},
};
