import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Appliance, type ApplianceOptions } from '../../src/appliance.ts';
import { openDatabase } from '../../src/config/database.ts';
import { silent } from '../../src/os/logger.ts';
import { InitiatorDisk, senseCodes } from '../initiator/disk.ts';
import { defaultInitiatorName } from '../initiator/login.ts';
import { type InitiatorError, Session, type SessionOptions } from '../initiator/session.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const anywhere = { host: '127.0.0.1', port: 0 };
const chap = { user: 'abc', secret: 'a secret of 18 b..' };
const mutual = { ...chap, target: { user: 'one', secret: 'another secret!' } };

async function start(t: ExecutionContext, dataDirectory: string, options: Partial<ApplianceOptions> = {}) {
	const one = new Appliance({
		dataDirectory,
		version: '1',
		log: silent,
		iscsi: anywhere,
		nvme: 'none',
		nvmeDiscovery: 'none',
		admin: anywhere,
		drainMs: 200,
		...options,
	});
	t.teardown(() => one.stop());
	await one.start();
	const login = async (more: Partial<SessionOptions> = {}): Promise<Session> => {
		const session = await Session.open({ port: one.iscsi?.port ?? 0, targetName: target, ...more });
		t.teardown(() => session.destroy());
		return session;
	};
	return { one, operations: one.operations, login };
}

/** A target with a volume, which admits the initiator of the tests. */
async function exported(t: ExecutionContext, options: Partial<ApplianceOptions> = {}) {
	const path = await temporaryDirectory(t);
	const running = await start(t, path, options);
	const { operations } = running;
	await operations.createVolume({ name: 'data', sizeBytes: 2 ** 26, blockSize: 512 });
	await operations.createTarget({ name: target, alias: '', tpgt: 1 });
	await operations.map(target, { volume: 'data' });
	await operations.allow(target, defaultInitiatorName);
	return { ...running, path };
}

/** Resolves when the session is over. */
function over(session: Session): Promise<InitiatorError> {
	return session.ended === undefined
		? new Promise((resolve) => {
				session.onEnd = resolve;
			})
		: Promise.resolve(session.ended);
}

const refused = (status: string) => ({ message: new RegExp(`status ${status}h`) });

test('CHAP with each algorithm, and mutual CHAP: who knows the secret reads and writes, who does not is refused', async (t) => {
	const { operations, login } = await exported(t);
	await operations.allow(target, defaultInitiatorName, { chapUser: 'abc', chapSecret: chap.secret });
	for (const algorithms of ['5', '6', '7', '8']) await (await login({ chap: { ...chap, algorithms } })).logout();
	await t.throwsAsync(login(), refused('0201'));
	await t.throwsAsync(login({ chap: { ...chap, secret: `${chap.secret}x` } }), refused('0201'));
	await t.throwsAsync(login({ chap: mutual }), refused('0201'));
	await operations.allow(target, defaultInitiatorName, { mutualChapUser: 'one', mutualChapSecret: mutual.target.secret });
	const session = await login({ chap: mutual });
	t.like(operations.sessions()[0], { authentication: 'mutual', initiator: defaultInitiatorName });
	const disk = new InitiatorDisk(session, 0);
	await disk.becomeReady();
	await t.throwsAsync(login({ chap: { ...mutual, target: { user: 'one', secret: 'what it is not' } } }), {
		message: /does not know its secret/,
	});
	t.is(session.ended, undefined);
	t.is(operations.iscsiStatistics()['authenticationFailures'], 3);
});

test('what is decided holds after a restart', async (t) => {
	const { one, operations, path } = await exported(t);
	await operations.allow(target, defaultInitiatorName, { chapUser: 'abc', chapSecret: chap.secret, sources: ['127.0.0.0/8'] });
	await operations.setDiscoveryAuthentication({ chapSecret: 'discovery secret' });
	await operations.redirectTarget(target, { address: '192.0.2.1', permanent: false });
	await one.stop();
	const again = await start(t, path);
	await t.throwsAsync(again.login({ chap }), refused('0101'));
	await again.operations.redirectTarget(target, undefined);
	await t.throwsAsync(again.login(), refused('0201'));
	await again.login({ chap });
	await t.throwsAsync(again.login({ targetName: undefined }), refused('0201'));
	await again.login({ targetName: undefined, chap: { user: 'discovery', secret: 'discovery secret' } });
});

test('an initiator that has to prove itself from now on loses the session it has, and gets a new one by its secret', async (t) => {
	const { operations, login } = await exported(t);
	const other = `${defaultInitiatorName}2`;
	await operations.allow(target, other);
	const [session, bystander] = [await login(), await login({ initiatorName: other })];
	const messages: number[] = [];
	session.onAsyncMessage = (event) => messages.push(event);
	await operations.allow(target, defaultInitiatorName, { chapUser: 'abc', chapSecret: chap.secret });
	await over(session);
	t.deepEqual(messages, [3], 'it was told');
	const proved = await login({ chap });
	// Another secret for who has proved itself takes nothing away; the next login needs it.
	await operations.allow(target, defaultInitiatorName, { chapSecret: 'another secret of it' });
	await proved.ping();
	await t.throwsAsync(login({ chap }), refused('0201'));
	await bystander.ping();
	await operations.disallow(target, defaultInitiatorName);
	await over(proved);
	await t.throwsAsync(login({ chap }), refused('0202'));
	await bystander.ping();
});

test('--from: who comes from elsewhere is refused, sees nothing, and loses what it had', async (t) => {
	const { operations, login } = await exported(t, { iscsi: { host: '::', port: 0 } });
	const session = await login();
	await operations.allow(target, defaultInitiatorName, { sources: ['192.0.2.0/24', '::1'] });
	await over(session);
	await t.throwsAsync(login(), refused('0202'));
	const discovery = await login({ targetName: undefined });
	t.deepEqual(await discovery.sendTargets(), []);
	const six = await login({ host: '::1' });
	await operations.allow(target, defaultInitiatorName, { sources: ['127.0.0.1/32'] });
	await over(six);
	// IPv4 on a socket for both is IPv4.
	await login();
	t.is((await discovery.sendTargets()).length, 2);
	t.regex(operations.sessions()[1]?.remote ?? '', /^127\.0\.0\.1:\d+$/);
});

test('discovery: whoever proves nothing is out, those that see a target are those that it admits', async (t) => {
	const { operations, login } = await exported(t);
	const stranger = { targetName: undefined, initiatorName: 'iqn.2026-11.test:stranger' };
	const [open, normal] = [await login(stranger), await login()];
	t.deepEqual(await open.sendTargets(), []);
	await operations.setDiscoveryAuthentication({ chapUser: 'look', chapSecret: 'discovery secret' });
	await over(open);
	await normal.ping();
	await t.throwsAsync(login(stranger), refused('0201'));
	const proof = { user: 'look', secret: 'discovery secret' };
	t.deepEqual(await (await login({ ...stranger, chap: proof })).sendTargets(), []);
	const seen = await (await login({ targetName: undefined, chap: proof })).sendTargets();
	t.deepEqual(seen[0], ['TargetName', target]);
	t.deepEqual(operations.discoveryAuthentication(), { authentication: 'initiator', chapUser: 'look' });
	await operations.clearDiscoveryAuthentication();
	await login({ targetName: undefined });
});

test('maintenance: logins are sent elsewhere, who is here is asked to go, and afterwards all is as before', async (t) => {
	const { operations, login } = await exported(t);
	const session = await login();
	const asked = new Promise<number>((resolve) => {
		session.onAsyncMessage = resolve;
	});
	await operations.redirectTarget(target, { address: '[2001:db8::7]:3261', permanent: true });
	t.is(await asked, 1);
	t.is(session.ended, undefined, 'it may finish what it does');
	await session.logout();
	await t.throwsAsync(login(), { message: /status 0102h TargetAddress=\[2001:db8::7\]:3261/ });
	t.deepEqual(operations.target(target).redirection, { address: '[2001:db8::7]:3261', permanent: true });
	await operations.redirectTarget(target, undefined);
	await login();
	t.is(operations.iscsiStatistics()['loginsRedirected'], 1);
});

test('several portals: one set of sessions, SendTargets names those of the target’s group, another group’s does not lead to it', async (t) => {
	const { one, operations, login } = await exported(t, {
		iscsi: { host: '0.0.0.0', port: 0 },
		iscsiMore: [
			{ host: '::1', port: 0 },
			{ host: '127.0.0.1', port: 0, portalGroupTag: 1 },
			{ host: '127.0.0.1', port: 0, portalGroupTag: 2 },
		],
	});
	const [first = 0, six = 0, grouped = 0, apart = 0] = one.iscsiPortals.map(({ port }) => port);
	t.deepEqual((await operations.status()).iscsiPortals, [...one.iscsiPortals]);
	const discovery = await login({ targetName: undefined });
	t.deepEqual(await discovery.sendTargets(), [
		['TargetName', target],
		['TargetAddress', `127.0.0.1:${first},1`],
		['TargetAddress', `[::1]:${six},1`],
		['TargetAddress', `127.0.0.1:${grouped},1`],
	]);
	await login({ port: grouped });
	const session = await login({ host: '::1', port: six });
	// Every address of IPv4 has no name that leads there from IPv6.
	t.deepEqual(await session.sendTargets(''), [
		['TargetName', target],
		['TargetAddress', `[::1]:${six},1`],
		['TargetAddress', `127.0.0.1:${grouped},1`],
	]);
	t.is(operations.sessions().filter(({ kind }) => kind === 'normal').length, 2);
	await t.throwsAsync(login({ port: apart }), refused('0203'));
	await operations.createTarget({ name: `${target}2`, alias: '', tpgt: 2 });
	await operations.allow(`${target}2`, defaultInitiatorName);
	await login({ port: apart, targetName: `${target}2` });
	await t.throwsAsync(login({ port: grouped, targetName: `${target}2` }), refused('0203'));
});

test('a network in config.db that somebody edited by hand: that initiator is not admitted, the log says why, and all else is served', async (t) => {
	const { one, operations, path } = await exported(t);
	const other = `${defaultInitiatorName}2`;
	await operations.allow(target, other, { sources: ['127.0.0.0/8'] });
	await one.stop();
	const database = openDatabase(join(path, 'config.db'));
	database.prepare("INSERT INTO target_access_sources VALUES (?, ?, 0, 'anywhere')").run(target, defaultInitiatorName);
	database.close();
	const errors: object[] = [];
	const again = await start(t, path, { log: { ...silent, error: (about: object) => errors.push(about) } });
	await t.throwsAsync(again.login(), refused('0202'));
	await again.login({ initiatorName: other });
	t.like(errors[0], { target, initiator: defaultInitiatorName });
	await again.operations.allow(target, defaultInitiatorName, { sources: ['127.0.0.1'] });
	await again.login();
});

test('no answer, no view and no counter shows a secret; the file that holds them is its owner’s alone', async (t) => {
	const { operations, path } = await exported(t);
	await operations.allow(target, defaultInitiatorName, {
		chapUser: 'abc',
		chapSecret: chap.secret,
		mutualChapSecret: mutual.target.secret,
	});
	await operations.setDiscoveryAuthentication({ chapSecret: 'discovery secret' });
	const shown = JSON.stringify([
		operations.targets(),
		operations.target(target),
		operations.sessions(),
		operations.discoveryAuthentication(),
		await operations.status(),
	]);
	t.regex(shown, /"authentication":"mutual","chapUser":"abc"/);
	t.notRegex(shown, /a secret of 18|another secret|discovery secret/);
	t.is((await stat(join(path, 'config.db'))).mode & 0o777, 0o600);
});

test('LUNs that come, go and grow: every session is told once on each LUN, and by an asynchronous message of LUNs', async (t) => {
	const { operations, login } = await exported(t);
	const messages: number[][] = [];
	const sessions = await Promise.all(
		[0, 1].map(async (index) => {
			const session = await login();
			messages.push([]);
			session.onAsyncMessage = (event) => messages[index]!.push(event);
			const disk = new InitiatorDisk(session, 0);
			await disk.becomeReady();
			return disk;
		}),
	);
	/** Key, code and qualifier of TEST UNIT READY, or good. */
	const ready = async (disk: InitiatorDisk): Promise<string> => {
		const { status, sense } = await disk.execute((cdb) => cdb.fill(0));
		const { key, code, qualifier } = senseCodes(sense);
		return status === 0 ? 'good' : [key, code, qualifier].map((number) => number.toString(16)).join('/');
	};
	const everyone = async (expected: string): Promise<void> => {
		for (const disk of sessions) {
			t.is(await ready(disk), expected);
			t.is(await ready(disk), 'good');
		}
	};
	await operations.createVolume({ name: 'more', sizeBytes: 2 ** 26, blockSize: 512 });
	await operations.map(target, { volume: 'more', lun: 4 });
	await everyone('6/3f/e');
	await operations.map(target, { volume: 'more', lun: 4 });
	await operations.resizeVolume('data', 2 ** 27);
	await everyone('6/2a/9');
	await operations.unmap(target, 4);
	await everyone('6/3f/e');
	t.deepEqual(messages, [
		[0, 0],
		[0, 0],
	]);
});
