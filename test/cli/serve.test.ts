import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, open, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { EventView } from '../../src/admin/event-schemas.ts';
import type { ControllerView, SessionView, StatusView, SubsystemView, TargetView, VolumeView } from '../../src/admin/schemas.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { Session } from '../initiator/session.ts';
import { Association, discoveryNQN } from '../nvme-host/association.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { temporaryDirectory } from '../temporary.ts';
import { type Daemon, blockport, launcher, serve } from './process.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const initiator = 'iqn.1993-08.org.debian:01:abc';

/** One sentence on stderr that begins with our name, and no trace of a stack. */
const sentence = /^blockport: [^\n]+\.\n$/;

test('the commands of the manual: volumes and targets from making to deleting, on a running appliance', async (t) => {
	const daemon = await serve(t, await temporaryDirectory(t), '--log-level', 'error');
	const { run, json } = daemon;
	t.is((await run('volume', 'list')).stdout, 'There are no volumes.\n');
	t.is((await run('target', 'list')).stdout, 'There are no targets.\n');
	t.is((await run('session', 'list')).stdout, 'There are no sessions.\n');

	const made = await json<VolumeView>('volume', 'create', 'data', '--size', '1G', '--block-size', '4096');
	t.like(made, { name: 'data', sizeBytes: 2 ** 30, blockSize: 4096, state: 'online' });
	t.is((await run('volume', 'resize', 'data', '--size', '2GiB')).stdout, 'volume data has 2 GiB now\n');
	t.regex(
		(await run('volume', 'set', 'data', '--sanitize', 'on')).stdout,
		/^initiators that write volume data may destroy all its data by SANITIZE/,
	);
	t.regex((await run('volume', 'show', 'data')).stdout, /^sanitize +on$/m);
	t.is((await run('volume', 'set', 'data', '--sanitize', 'off')).stdout, 'volume data knows no SANITIZE\n');
	t.regex((await run('target', 'create', target, '--alias', 'One')).stdout, /^target iqn\.2026-11\.dev\.blockport:one made\n$/);
	t.is((await run('target', 'map', target, 'data', '--lun', '3')).stdout, `volume data is LUN 3 of ${target}\n`);
	t.is((await run('target', 'allow', target, initiator)).code, 0);
	t.deepEqual((await json<{ targets: TargetView[] }>('target', 'list')).targets[0]?.initiators, [
		{ initiator, authentication: 'none', sources: [] },
	]);
	t.regex((await run('target', 'show', target)).stdout, /^alias +One\n(?:.*\n)*LUNs +3=data\ninitiators +iqn\.1993/m);
	t.regex((await run('volume', 'list')).stdout, /^data +2 GiB +4096 +online +iqn\.2026-11\.dev\.blockport:one LUN 3$/m);
	t.regex((await run('volume', 'show', 'data')).stdout, /^size +2 GiB \(2147483648 bytes\)$/m);
	t.deepEqual((await json<VolumeView>('volume', 'show', 'data')).reservations, {
		generation: 0,
		persistThroughPowerLoss: false,
		registrants: [],
	});
	t.regex((await run('status')).stdout, /^volumes +1 online, 0 opening, 0 faulted$/m);

	const refused = await run('volume', 'delete', 'data', '--yes');
	t.is(refused.code, 1);
	t.regex(refused.stderr, /is in use: unmap LUN 3 of \S+ first/);
	t.is((await run('target', 'disallow', target, initiator)).code, 0);
	t.is((await run('target', 'unmap', target, 'data')).stdout, `LUN 3 of ${target} unmapped\n`);
	t.is((await run('target', 'delete', target, '-y')).code, 0);
	t.is((await run('volume', 'delete', 'data', '--yes')).stdout, 'volume data deleted\n');
	t.deepEqual(await readdir(join(daemon.dataDirectory, 'volumes')), []);
});

test('the commands of the manual: how initiators prove themselves, discovery, redirection; no secret is ever shown', async (t) => {
	const folder = await temporaryDirectory(t);
	const daemon = await serve(t, folder, '--iscsi', '127.0.0.1:0,7', '--log-level', 'debug');
	const { run, json, dataDirectory } = daemon;
	t.regex(daemon.output.stdout, /^blockport ready: iSCSI 127\.0\.0\.1:\d+, iSCSI 127\.0\.0\.1:\d+, NVMe /m);
	t.regex((await run('status')).stdout, /^iSCSI +127\.0\.0\.1:\d+\niSCSI +127\.0\.0\.1:\d+, portal group 7$/m);
	t.is((await run('target', 'create', target)).code, 0);
	const secrets = ['secret number one', 'secret number two', 'secret number three'] as const;
	const file = join(folder, 'secret');
	await writeFile(file, `${secrets[0]}\n`);
	const words = ['target', 'allow', target, defaultInitiatorName, '--chap-user', 'abc', '--chap-secret', `@${file}`];
	t.is((await run(...words, '--from', '127.0.0.0/8', '--from', 'fd00::/8')).stdout, `${defaultInitiatorName} may log in to ${target}\n`);
	const [one] = (await json<TargetView>('target', 'show', target)).initiators;
	t.deepEqual(one, { initiator: defaultInitiatorName, authentication: 'initiator', chapUser: 'abc', sources: ['127.0.0.0/8', 'fd00::/8'] });

	const both = [
		'--chap-user',
		'x',
		'--chap-secret',
		'-',
		'--mutual-chap-user',
		'y',
		'--mutual-chap-secret',
		'-',
		'--data-dir',
		dataDirectory,
	];
	const allowed = await blockport(['target', 'allow', target, defaultInitiatorName, ...both], undefined, `${secrets[1]}\n${secrets[2]}\n`);
	t.is(allowed.code, 0);
	t.regex((await run('target', 'show', target)).stdout, /^initiators +\S+ \(CHAP as x, target as y; from 127\.0\.0\.0\/8 fd00::\/8\)$/m);
	const { iscsi } = await json<StatusView>('status');
	const chap = { user: 'x', secret: secrets[1], target: { user: 'y', secret: secrets[2] } };
	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: target, chap });
	t.regex((await run('session', 'list')).stdout, new RegExp(`^${defaultInitiatorName} +${target} +127\\.0\\.0\\.1:\\d+ +both ways `, 'm'));

	t.is((await run('target', 'redirect', target, '192.0.2.9')).stdout, `logins to ${target} go to 192.0.2.9:3260\n`);
	t.regex((await run('target', 'show', target)).stdout, /^redirected +to 192\.0\.2\.9:3260$/m);
	await t.throwsAsync(Session.open({ port: iscsi?.port ?? 0, targetName: target, chap }), {
		message: /0101h TargetAddress=192\.0\.2\.9:3260/,
	});
	session.destroy();
	t.is((await run('target', 'redirect', target, '--off')).stdout, `${target} takes logins here\n`);

	t.is((await run('discovery', 'show')).stdout, 'discovery asks for no authentication\n');
	t.is((await run('discovery', 'auth', '--chap-secret', `@${file}`)).stdout, 'discovery asks for CHAP as discovery\n');
	const discovery = await Session.open({ port: iscsi?.port ?? 0, targetName: undefined, chap: { user: 'discovery', secret: secrets[0] } });
	discovery.destroy();
	t.is((await run('discovery', 'auth', '--off')).stdout, 'discovery asks for no authentication\n');

	for (const [code, wrong] of [
		[2, ['target', 'allow', target, defaultInitiatorName, '--chap-secret', 'too short']],
		[2, ['target', 'allow', target, defaultInitiatorName, '--mutual-chap-secret', secrets[1]]],
		[2, ['target', 'allow', target, defaultInitiatorName, '--from', '10.0.0.0/99']],
		[1, ['target', 'allow', target, defaultInitiatorName, '--chap-secret', '@/does/not/exist']],
		[2, ['target', 'allow', target, defaultInitiatorName, '--chap-secret', '-']],
		[2, ['target', 'redirect', target, 'no,where']],
		[2, ['discovery', 'auth', '--mutual-chap-secret', 'alone, without another']],
	] as const) {
		const result = await run(...wrong);
		t.is(result.code, code, wrong.join(' '));
		t.regex(result.stderr, sentence);
	}
	t.is((await run('target', 'redirect', target)).code, 2);
	t.is((await run('discovery', 'auth')).code, 2);
	const shown: string[] = [];
	for (const words of [['target', 'list'], ['target', 'show', target], ['discovery', 'show'], ['session', 'list'], ['status']])
		shown.push((await run(...words)).stdout, (await run(...words, '--json')).stdout);
	t.notRegex([...shown, daemon.output.stdout, daemon.output.stderr].join('\n'), /secret number/);
	t.regex(daemon.output.stderr, /iSCSI login re(?:fused|directed)/, 'the log is not empty');
});

const subsystem = 'nqn.2026-11.dev.blockport:one';
const hostNQN = 'nqn.2014-08.org.nvmexpress:uuid:6f4a2c1e-9b3d-4e57-8a10-5d2c7e9f0b63';
/** 32 bytes of 1, and of 2. */
const secrets = [
	'DHHC-1:00:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQHMnzFi:',
	'DHHC-1:01:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgJvwX3v:',
] as const;

test('the commands of the manual: subsystems from making to deleting, on a running appliance', async (t) => {
	const folder = await temporaryDirectory(t);
	const { run, json } = await serve(t, folder, '--log-level', 'error');
	t.is((await run('subsystem', 'list')).stdout, 'There are no subsystems.\n');
	t.is((await run('controller', 'list')).stdout, 'There are no controllers.\n');
	t.is((await run('volume', 'create', 'data', '--size', '64M')).code, 0);
	t.is((await run('subsystem', 'create', subsystem)).stdout, `subsystem ${subsystem} made\n`);
	t.is((await run('subsystem', 'map', subsystem, 'data', '--nsid', '3')).stdout, `volume data is namespace 3 of ${subsystem}\n`);
	t.is((await run('subsystem', 'allow', subsystem, hostNQN)).stdout, `${hostNQN} may connect to ${subsystem}\n`);
	t.regex((await run('subsystem', 'list')).stdout, new RegExp(`^${subsystem} +3=data +${hostNQN} +0$`, 'm'));

	const { nvme } = await json<StatusView>('status');
	const association = await Association.open({ port: nvme?.port ?? 0, subnqn: subsystem, hostnqn: hostNQN, ioQueues: 2, katoMs: 5000 });
	t.like((await json<{ controllers: ControllerView[] }>('controller', 'list')).controllers[0], { host: hostNQN, subsystem, ioQueues: 2 });
	t.regex((await run('controller', 'list')).stdout, new RegExp(`^${hostNQN} +${subsystem} +\\d+ +127\\.0\\.0\\.1:\\d+ +2 +no$`, 'm'));
	association.destroy();

	const file = join(folder, 'secret');
	await writeFile(file, `${secrets[1]}\n`);
	const words = [
		'--dhchap-secret',
		secrets[0],
		'--dhchap-ctrl-secret',
		`@${file}`,
		'--dhchap-hash',
		'sha512',
		'--dhchap-dhgroup',
		'ffdhe3072',
	];
	t.is((await run('subsystem', 'allow', subsystem, hostNQN, ...words)).code, 0);
	t.like((await json<SubsystemView>('subsystem', 'show', subsystem)).hosts[0], {
		host: hostNQN,
		authentication: 'mutual',
		dhchapHash: 'sha512',
		dhchapDhgroup: 'ffdhe3072',
	});
	for (const words of [['list'], ['list', '--json'], ['show', subsystem], ['show', subsystem, '--json']]) {
		const { stdout } = await run('subsystem', ...words);
		t.regex(stdout, /authenticat/);
		t.notRegex(stdout, /DHHC|AQEB|AgIC/, 'a secret is never shown again');
	}
	t.regex((await run('volume', 'show', 'data')).stdout, new RegExp(`^mapped as +${subsystem} namespace 3$`, 'm'));
	t.is((await run('volume', 'delete', 'data', '-y')).code, 1);
	t.is((await run('subsystem', 'disallow', subsystem, hostNQN)).stdout, `${hostNQN} may no longer connect to ${subsystem}\n`);
	t.is((await run('subsystem', 'unmap', subsystem, 'data')).stdout, `namespace 3 of ${subsystem} unmapped\n`);
	t.is((await run('subsystem', 'delete', subsystem, '-y')).stdout, `subsystem ${subsystem} deleted\n`);
	t.is((await run('volume', 'delete', 'data', '-y')).code, 0);
});

test('volume create --export makes the target and the subsystem, and says what is left to do', async (t) => {
	const { run } = await serve(t, await temporaryDirectory(t), '--log-level', 'error');
	const { stdout, code } = await run('volume', 'create', 'data', '--size', '64M', '--export', 'iscsi,nvme');
	t.is(code, 0);
	t.regex(stdout, /^it is LUN 0 of (?<target>\S+): \S+bin\/blockport target allow \k<target> INITIATOR --data-dir \S+data$/m);
	t.regex(stdout, /^it is namespace 1 of (?<name>\S+): \S+bin\/blockport subsystem allow \k<name> HOSTNQN --data-dir \S+data$/m);
	t.regex((await run('volume', 'list')).stdout, /blockport:data LUN 0, nqn\.2026-11\.dev\.blockport:data namespace 1$/m);
});

test('what is asked wrongly is 2, what cannot be done is 1, each in one sentence', async (t) => {
	const { run } = await serve(t, await temporaryDirectory(t), '--log-level', 'silent');
	const cases: [number, string[]][] = [
		[2, ['volume', 'create', 'Bad Name', '--size', '1G']],
		[2, ['volume', 'create', 'a', '--size', '1000']],
		[2, ['target', 'create', 'nonsense']],
		[1, ['volume', 'show', 'absent']],
		[1, ['volume', 'resize', 'absent', '--size', '1G']],
		[1, ['volume', 'set', 'absent', '--sanitize', 'on']],
		[2, ['volume', 'set', 'a']],
		[1, ['volume', 'delete', 'absent', '--yes']],
		[1, ['target', 'show', target]],
		[1, ['target', 'map', target, 'absent']],
		[1, ['target', 'unmap', target, 'absent']],
		[1, ['target', 'allow', target, initiator]],
		[1, ['target', 'delete', target, '--yes']],
		[2, ['subsystem', 'create', 'nonsense']],
		[1, ['subsystem', 'show', subsystem]],
		[1, ['subsystem', 'map', subsystem, 'absent']],
		[1, ['subsystem', 'unmap', subsystem, 'absent']],
		[1, ['subsystem', 'allow', subsystem, hostNQN]],
		[1, ['subsystem', 'allow', subsystem, hostNQN, '--dhchap-secret', '@/nowhere']],
		[1, ['subsystem', 'disallow', subsystem, hostNQN]],
		[1, ['subsystem', 'delete', subsystem, '--yes']],
		[1, ['subsystem', 'delete', subsystem]],
		[1, ['volume', 'delete', 'absent']],
		[1, ['target', 'delete', target]],
		// There is no terminal to ask at.
		[2, ['archive', 'repository', 'remove', 'absent']],
	];
	const results = await Promise.all(cases.map(([, words]) => run(...words)));
	for (const [index, [code, words]] of cases.entries()) {
		t.is(results[index]?.code, code, words.join(' '));
		t.regex(results[index]?.stderr ?? '', sentence, words.join(' '));
		t.is(results[index]?.stdout, '');
	}
});

test('flags that are no flags, sizes that are no sizes: 2, before anything is asked or opened', async (t) => {
	const folder = await temporaryDirectory(t);
	for (const words of [
		['nonsense'],
		['volume'],
		['volume', 'create', 'a'],
		['volume', 'create', '--size', '1G'],
		['volume', 'create', 'a', '--size', '10X'],
		['volume', 'create', 'a', '--size', '65T'],
		['volume', 'create', 'a', '--size', '1G', '--block-size', '520'],
		['volume', 'list', '--nonsense'],
		['volume', 'list', 'extra'],
		['target', 'map', target, 'a', '--lun', '-1'],
		['target', 'unmap', target],
		['target', 'unmap', target, 'a', '--lun', '1'],
		['serve', '--log-level', 'loud'],
		['serve', '--busy-poll', '1001'],
		['serve', '--busy-poll', '-5'],
		['serve', '--congestion-control', 'reno'],
		['serve', '--iscsi', 'nonsense:x'],
		['serve', '--admin', '127.0.0.1:99999'],
		['serve', '--demo-size', '10G'],
		['serve', '--demo', '--demo-size', '1000'],
		['serve', '--admin', '0.0.0.0:0'],
		['serve', '--nvme', 'nonsense:x'],
		['serve', '--nvme-discovery', '1.2.3.4:65536'],
		['volume', 'create', 'a', '--size', '1G', '--export', 'nfs'],
		['volume', 'create', 'a', '--size', '1G', '--export', 'nvme,nvme'],
		['volume', 'create', 'a', '--size', '1G', '--export', ''],
		['subsystem', 'map', subsystem, 'data', '--nsid', 'x'],
		['subsystem', 'unmap', subsystem],
		['subsystem', 'unmap', subsystem, 'data', '--nsid', '1'],
		['subsystem', 'allow', subsystem, hostNQN, '--dhchap-hash', 'md5'],
		['subsystem', 'allow', subsystem, hostNQN, '--dhchap-dhgroup', 'modp2048'],
	]) {
		const { code, stderr, stdout } = await blockport(words, folder);
		t.is(code, 2, words.join(' '));
		t.not(stderr, '');
		t.notRegex(stderr, /^\s+at /m, words.join(' '));
		t.is(stdout, '');
	}
	t.deepEqual(await readdir(folder), []);
});

test('help and version end with 0', async (t) => {
	for (const words of [['--help'], ['help', 'volume'], ['volume', 'create', '--help'], ['serve', '--help']]) {
		const { code, stdout } = await blockport(words);
		t.is(code, 0);
		t.regex(stdout, /^Usage: blockport/);
	}
	t.regex((await blockport(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
});

test('nobody serves: 1 and a sentence that says how to begin', async (t) => {
	const { code, stderr } = await blockport(['status', '--data-dir', await temporaryDirectory(t)]);
	t.is(code, 1);
	t.regex(stderr, sentence);
	t.regex(stderr, /start it with "\S+bin\/blockport serve --data-dir \S+"/);
});

test('every way to find the appliance: data directory, socket, host', async (t) => {
	const folder = await temporaryDirectory(t);
	const socket = join(folder, 'other.sock');
	const daemon = await serve(t, folder, '--socket', socket, '--log-level', 'silent');
	const admin = /admin (?<admin>[\d.:]+)/.exec(daemon.output.stdout)?.groups?.['admin'] ?? '';
	for (const where of [
		['--socket', socket],
		['--host', `http://${admin}`],
		['--host', admin],
	]) {
		const { code, stdout } = await blockport(['status', '--json', ...where]);
		t.is(code, 0);
		t.is((JSON.parse(stdout) as StatusView).pid, daemon.child.pid ?? 0);
	}
	t.is((await stat(socket)).mode & 0o777, 0o600);
	t.is((await stat(join(daemon.dataDirectory, 'config.db'))).mode & 0o077, 0);
});

test('the demo prints commands to paste, then the ready line, and serves what they name', async (t) => {
	const folder = await temporaryDirectory(t);
	const daemon = await serve(t, folder, '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const { stdout } = daemon.output;
	const { iscsi, nvme, nvmeDiscovery } = await daemon.json<StatusView>('status');
	for (const command of ['iscsiadm -m discovery', 'iscsiadm -m node', 'qemu-img info iscsi://', 'iscsi-ls -s', 'iscsi-inq']) {
		t.regex(stdout, new RegExp(`${command}.*127\\.0\\.0\\.1:${iscsi?.port}`));
	}
	t.regex(stdout, new RegExp(`nvme discover -t tcp -a 127\\.0\\.0\\.1 -s ${nvmeDiscovery?.port}\\n`));
	t.regex(stdout, new RegExp(`nvme connect -t tcp -a 127\\.0\\.0\\.1 -s ${nvme?.port} -n nqn\\.2026-11\\.dev\\.blockport:demo\\n`));
	const discovery = await Association.open({ port: nvmeDiscovery?.port ?? 0, subnqn: discoveryNQN, ioQueues: 0 });
	const [entry] = (await discovery.discover()).entries;
	discovery.destroy();
	const association = await Association.open({ port: Number(entry?.trsvcid), subnqn: entry?.subnqn ?? '', katoMs: 5000 });
	t.is((await Namespace.attach(association, 1)).sizeBytes, 2 ** 26);
	association.destroy();
	t.regex(
		stdout,
		/\nblockport ready: iSCSI 127\.0\.0\.1:\d+, NVMe 127\.0\.0\.1:\d+, NVMe discovery 127\.0\.0\.1:\d+, admin 127\.0\.0\.1:\d+, socket .+\n$/,
	);
	t.like((await daemon.json<{ volumes: VolumeView[] }>('volume', 'list')).volumes[0], {
		name: 'demo',
		sizeBytes: 2 ** 26,
		state: 'online',
	});
	daemon.child.kill('SIGTERM');
	t.is((await daemon.ended).code, 0);
	const { code, stdout: checked } = await blockport(['volume', 'check', 'demo', '--data-dir', daemon.dataDirectory]);
	t.is(code, 0);
	t.is(checked, 'volume demo is sound\n');
	t.is((await blockport(['volume', 'check', 'absent', '--data-dir', daemon.dataDirectory])).code, 1);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
	test(`${signal}: everything is closed, the socket is gone, exit code 0`, async (t) => {
		const daemon = await serve(t, await temporaryDirectory(t));
		daemon.child.kill(signal);
		const { code, stderr } = await daemon.ended;
		t.is(code, 0);
		t.deepEqual((await readdir(daemon.dataDirectory)).toSorted(), ['config.db', 'lock', 'reserve', 'volumes']);
		const messages = stderr
			.trim()
			.split('\n')
			.map((line) => (JSON.parse(line) as { msg: string }).msg);
		t.is(messages.at(-1), 'stopped');
	});
}

async function loggedIn(daemon: Daemon): Promise<{ session: Session; asked: Promise<void> }> {
	const { iscsi } = await daemon.json<StatusView>('status');
	const session = await Session.open({ port: iscsi?.port ?? 0, targetName: 'iqn.2026-11.dev.blockport:demo' });
	const asked = new Promise<void>((resolve) => {
		session.onAsyncMessage = () => resolve();
	});
	return { session, asked };
}

test('SIGTERM asks sessions to log out, and ends when they have', async (t) => {
	const daemon = await serve(t, await temporaryDirectory(t), '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const { session, asked } = await loggedIn(daemon);
	t.like((await daemon.json<{ sessions: SessionView[] }>('session', 'list')).sessions[0], {
		kind: 'normal',
		initiator: session.options.initiatorName ?? defaultInitiatorName,
	});
	const begun = performance.now();
	daemon.child.kill('SIGTERM');
	await asked;
	await session.logout();
	t.is((await daemon.ended).code, 0);
	t.true(performance.now() - begun < 4500, 'the drain time was not waited for');
});

test('a second signal does not wait for a session that does not log out', async (t) => {
	const daemon = await serve(t, await temporaryDirectory(t), '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const { asked } = await loggedIn(daemon);
	const begun = performance.now();
	daemon.child.kill('SIGTERM');
	await asked;
	daemon.child.kill('SIGTERM');
	t.is((await daemon.ended).code, 143);
	t.true(performance.now() - begun < 4500, 'the drain time was not waited for');
});

test('a kill leaves a socket and a lock file behind, and the next start does not mind', async (t) => {
	const folder = await temporaryDirectory(t);
	const first = await serve(t, folder, '--log-level', 'silent');
	await first.run('volume', 'create', 'data', '--size', '64M');
	await first.run('snapshot', 'create', 'data', 'before');
	const { events } = await first.json<{ events: EventView[] }>('event', 'list');
	t.like(events[0], { sequence: 1, kind: 'snapshot-made', volume: 'data', snapshot: 'before' });
	first.child.kill('SIGKILL');
	await first.ended;
	t.true((await readdir(first.dataDirectory)).includes('blockport.sock'));
	const second = await serve(t, folder, '--log-level', 'silent');
	t.like((await second.json<{ volumes: VolumeView[] }>('volume', 'list')).volumes[0], { name: 'data', state: 'online' });
	await second.run('snapshot', 'create', 'data', 'after');
	const remembered = (await second.json<{ events: EventView[] }>('event', 'list')).events;
	t.deepEqual(remembered.slice(0, 1), events, 'what happened before is still told, with its time');
	t.like(remembered[1], { sequence: 2, snapshot: 'after' });
	t.regex((await second.run('event', 'list')).stdout, new RegExp(`^1 +${events[0]?.at} +info +Snapshot data@before was made\\.$`, 'm'));
});

test('a second daemon on the same directory: one sentence and 1, and the first goes on', async (t) => {
	const folder = await temporaryDirectory(t);
	const first = await serve(t, folder, '--log-level', 'silent');
	const second = await blockport(['serve', '--data-dir', first.dataDirectory, '--iscsi', '127.0.0.1:0', '--admin', '127.0.0.1:0']);
	t.is(second.code, 1);
	t.regex(second.stderr, sentence);
	t.regex(second.stderr, /Another blockport uses/);
	t.is((await first.run('status')).code, 0);
	const check = await blockport(['volume', 'check', 'any', '--data-dir', first.dataDirectory]);
	t.is(check.code, 1);
	t.regex(check.stderr, /Another blockport uses .*: end it first, .*volume scrub any --wait\.$/m);
});

test('a taken port, a missing parent, a file in the way, a damaged configuration: one sentence and 1', async (t) => {
	const folder = await temporaryDirectory(t);
	const holder = createServer().listen(0, '127.0.0.1');
	t.teardown(() => holder.close());
	await once(holder, 'listening');
	const address = holder.address();
	const taken = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
	const free = ['--iscsi', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
	await writeFile(join(folder, 'file'), '');
	await mkdir(join(folder, 'damaged'));
	await writeFile(join(folder, 'damaged', 'config.db'), 'garbage '.repeat(1000));
	const cases: [RegExp, string[]][] = [
		[/is taken by another program.*--iscsi/, ['--data-dir', join(folder, 'a'), '--iscsi', taken, '--admin', '127.0.0.1:0']],
		[/is taken by another program.*--admin/, ['--data-dir', join(folder, 'a'), '--iscsi', '127.0.0.1:0', '--admin', taken]],
		[/is no address of this machine/, ['--data-dir', join(folder, 'a'), '--iscsi', '192.0.2.1:3260', '--admin', '127.0.0.1:0']],
		[/does not exist: make it/, ['--data-dir', join(folder, 'absent', 'b'), ...free]],
		[/The directory \/proc takes no new directory/, ['--data-dir', '/proc/absent', ...free]],
		[/is no directory/, ['--data-dir', join(folder, 'file'), ...free]],
		[/is damaged/, ['--data-dir', join(folder, 'damaged'), ...free]],
		[/is no socket/, ['--data-dir', join(folder, 'a'), '--socket', join(folder, 'file'), ...free]],
	];
	for (const [pattern, words] of cases) {
		const { code, stderr, stdout } = await blockport(['serve', '--log-level', 'silent', ...words]);
		t.is(code, 1, words.join(' '));
		t.regex(stderr, sentence, words.join(' '));
		t.regex(stderr, pattern);
		t.is(stdout, '');
	}
	const long = await blockport([
		'serve',
		'--log-level',
		'silent',
		'--data-dir',
		join(folder, 'a'),
		'--socket',
		join(folder, 'x'.repeat(120)),
		...free,
	]);
	t.is(long.code, 2, 'wrong whatever the machine is like');
	t.regex(long.stderr, /longer than 107 bytes/);
});

test('a directory that cannot be written: one sentence and 1', async (t) => {
	const folder = await temporaryDirectory(t);
	const path = process.getuid?.() === 0 ? '/proc' : join(folder, 'readonly');
	if (path !== '/proc') {
		await mkdir(path);
		await chmod(path, 0o500);
	}
	const { code, stderr } = await blockport(['serve', '--data-dir', path, '--iscsi', '127.0.0.1:0', '--admin', '127.0.0.1:0']);
	t.is(code, 1);
	t.regex(stderr, sentence);
});

test('a volume whose superblock is damaged is faulted and told in a note; the rest is served', async (t) => {
	const folder = await temporaryDirectory(t);
	const first = await serve(t, folder, '--demo', '--demo-size', '64M', '--log-level', 'silent');
	const bad = await first.json<VolumeView>('volume', 'create', 'bad', '--size', '64M');
	first.child.kill('SIGTERM');
	await first.ended;
	const superblock = await open(join(first.dataDirectory, 'volumes', bad.uuid, 'superblock'), 'r+');
	await superblock.write(Buffer.alloc((await superblock.stat()).size, 0x5a), 0, undefined, 0);
	await superblock.close();
	const second = await serve(t, folder, '--demo', '--log-level', 'silent');
	t.regex(second.output.stdout, /^note: volume bad is faulted: .*superblock.*$/m);
	t.regex(second.output.stdout, /^blockport ready/m);
	t.like(await second.json<StatusView>('status'), { state: 'ready', volumes: { online: 1, opening: 0, faulted: 1 } });
	t.regex((await second.run('volume', 'show', 'bad')).stdout, /^state +faulted\nfault +\S/m);
	second.child.kill('SIGTERM');
	await second.ended;
	const check = await blockport(['volume', 'check', 'bad', '--data-dir', first.dataDirectory]);
	t.is(check.code, 1);
	t.not(check.stdout, '');
});

test('the launcher follows symbolic links, from any directory', async (t) => {
	const folder = await temporaryDirectory(t);
	await symlink(launcher, join(folder, 'one'));
	await symlink('one', join(folder, 'two'));
	t.regex(execFileSync(join(folder, 'two'), ['--version'], { cwd: '/', encoding: 'utf8' }), /^\d+\.\d+\.\d+\n$/);
});

test('whoever reads the output may stop reading', async (t) => {
	const script = `"${launcher}" --help | head -c 1; "${launcher}" help serve | true`;
	t.is(execFileSync('sh', ['-c', `${script}; echo done`], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }), 'Udone\n');
});
