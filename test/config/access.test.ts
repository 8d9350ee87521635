import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { openDatabase } from '../../src/config/database.ts';
import { limits } from '../../src/config/limits.ts';
import { migrations } from '../../src/config/migrations.ts';
import { Sources } from '../../src/config/sources.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const target = 'iqn.2026-11.dev.blockport:one';
const initiator = 'iqn.1993-08.org.debian:01:abc';
const secret = 'a secret of 18 b..';
const other = 'another secret!';

async function fresh(t: ExecutionContext): Promise<{ path: string; configuration: Configuration }> {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	configuration.addTarget({ name: target });
	return { path, configuration };
}

function refuses(t: ExecutionContext, code: UsageErrorCode, action: () => unknown): string {
	const error = t.throws(action, { instanceOf: UsageError });
	t.is(error?.code, code);
	t.regex(error?.message ?? '', /^[^\n]+\.$/, 'one sentence');
	return error?.message ?? '';
}

test('how an initiator is admitted survives closing and opening', async (t) => {
	const { path, configuration } = await fresh(t);
	const access = {
		chapUser: 'abc',
		chapSecret: secret,
		mutualChapUser: 'one',
		mutualChapSecret: other,
		sources: ['10.0.0.0/24', 'fd00::/8', '192.0.2.7'],
	};
	configuration.allow(target, initiator, access);
	configuration.redirect(target, { address: '[fd00::2]', permanent: true });
	configuration.discoveryAuthentication.set({ chapSecret: 'discovery secret' });
	configuration.close();

	const again = new Configuration(path);
	t.teardown(() => again.close());
	t.deepEqual(again.target(target).initiators, [
		{ initiator, chap: { user: 'abc', secret }, mutualChap: { user: 'one', secret: other }, sources: access.sources },
	]);
	t.deepEqual(again.target(target).redirection, { address: '[fd00::2]:3260', permanent: true });
	t.deepEqual(again.discoveryAuthentication.get(), { chap: { user: 'discovery', secret: 'discovery secret' }, mutualChap: undefined });
	t.is(again.redirect(target, undefined).redirection, undefined);
	again.discoveryAuthentication.clear();
	t.deepEqual(again.discoveryAuthentication.get(), { chap: undefined, mutualChap: undefined });
});

test('allow: what it does not say stays, names have defaults, and disallow takes everything away', async (t) => {
	const { configuration } = await fresh(t);
	const only = () => configuration.target(target).initiators[0];
	configuration.allow(target, initiator, { chapSecret: secret });
	t.deepEqual(only()?.chap, { user: initiator, secret }, 'initiators call themselves by their iSCSI name');
	configuration.allow(target, initiator, { mutualChapSecret: other, sources: ['10.0.0.1'] });
	t.deepEqual(only(), { initiator, chap: { user: initiator, secret }, mutualChap: { user: target, secret: other }, sources: ['10.0.0.1'] });
	configuration.allow(target, initiator.toUpperCase());
	t.deepEqual(only()?.chap, { user: initiator, secret });
	configuration.allow(target, initiator, { chapUser: 'x', sources: [] });
	t.deepEqual(only(), { initiator, chap: { user: 'x', secret }, mutualChap: { user: target, secret: other }, sources: [] });
	configuration.allow(target, initiator, { sources: ['10.0.0.1'] });
	configuration.disallow(target, initiator);
	configuration.allow(target, initiator);
	t.deepEqual(only(), { initiator, chap: undefined, mutualChap: undefined, sources: [] });
});

test('secrets: 12 to 255 bytes of text, and never without a name; a refusal changes nothing and shows no secret', async (t) => {
	const { configuration } = await fresh(t);
	configuration.allow(target, initiator, { chapSecret: '12 bytes....' });
	const before = configuration.target(target);
	for (const access of [
		{ chapSecret: 'eleven byte' },
		{ chapSecret: 'x'.repeat(256) },
		{ chapSecret: 'with a \n in it' },
		{ chapUser: '' },
		{ chapUser: 'x'.repeat(256) },
		{ mutualChapUser: 'no secret' },
		{ mutualChapSecret: 'short' },
		{ sources: ['10.0.0.0/33'] },
	]) {
		const message = refuses(t, 'invalid', () => configuration.allow(target, initiator, access));
		t.notRegex(message, /eleven byte|x{20}|with a/);
		t.deepEqual(configuration.target(target), before);
	}
	configuration.allow(target, initiator, { chapSecret: 'x'.repeat(255) });
	const second = `${initiator}2`;
	refuses(t, 'invalid', () => configuration.allow(target, second, { chapUser: 'without a secret' }));
	refuses(t, 'invalid', () => configuration.allow(target, second, { mutualChapSecret: other }));
	t.is(configuration.target(target).initiators.length, 1);
	refuses(t, 'invalid', () => configuration.discoveryAuthentication.set({ mutualChapSecret: other }));
});

test('RFC 7143 §9.2.1: a secret of an initiator is no secret of a target, whichever rows they stand in', async (t) => {
	const { configuration } = await fresh(t);
	const second = `${initiator}2`;
	refuses(t, 'invalid', () => configuration.allow(target, initiator, { chapSecret: secret, mutualChapSecret: secret }));
	t.deepEqual(configuration.target(target).initiators, []);
	configuration.allow(target, initiator, { chapSecret: secret, mutualChapSecret: other });
	refuses(t, 'invalid', () => configuration.allow(target, second, { chapSecret: other }));
	refuses(t, 'invalid', () => configuration.allow(target, second, { chapSecret: 'a third secret', mutualChapSecret: secret }));
	refuses(t, 'invalid', () => configuration.discoveryAuthentication.set({ chapSecret: other }));
	refuses(t, 'invalid', () => configuration.allow(target, initiator, { mutualChapSecret: secret }));
	// Two initiators may know the same: a cluster often does. And both may change sides at once.
	configuration.allow(target, second, { chapSecret: secret, mutualChapSecret: other });
	configuration.disallow(target, second);
	configuration.allow(target, initiator, { chapSecret: other, mutualChapSecret: secret });
	t.deepEqual(configuration.target(target).initiators[0]?.chap?.secret, other);
});

test('limits: initiators of a target, networks of an initiator', async (t) => {
	const { configuration } = await fresh(t);
	const networks = Array.from({ length: limits.sourcesPerInitiator }, (_, index) => `10.0.${index}.0/24`);
	configuration.allow(target, initiator, { sources: [...networks, '10.0.0.0/24'] });
	t.deepEqual(configuration.target(target).initiators[0]?.sources, networks);
	refuses(t, 'invalid', () => configuration.allow(target, initiator, { sources: [...networks, '10.1.0.0/16'] }));
});

test('networks: what is none is refused; an address is in what holds it and in nothing else', (t) => {
	for (const source of ['', '10.0.0', '10.0.0.0/', '10.0.0.0/33', 'fd00::/129', 'example.com', '10.0.0.0/24/8', '10.0.0.0 /8', '::g/8'])
		t.throws(() => new Sources([source]), { instanceOf: UsageError }, source);
	const sources = new Sources(['10.0.0.0/24', '192.0.2.7', 'fd00:1::/32']);
	for (const inside of ['10.0.0.0', '10.0.0.255', '192.0.2.7', 'fd00:1::', 'fd00:1:ffff::1']) t.true(sources.includes(inside), inside);
	for (const outside of ['10.0.1.0', '9.255.255.255', '192.0.2.8', 'fd00:2::1', '::1', '', 'nonsense'])
		t.false(sources.includes(outside), outside);
	t.true(new Sources(['0.0.0.0/0']).includes('203.0.113.1'));
	t.false(new Sources(['0.0.0.0/0']).includes('::1'));
	for (const anywhere of ['10.0.0.1', '::1', '']) t.true(new Sources([]).includes(anywhere));
});

test('redirections: host and port, by name or address; what is none is refused', async (t) => {
	const { configuration } = await fresh(t);
	for (const [asked, kept] of [
		['10.0.0.2', '10.0.0.2:3260'],
		['other.example.com:3261', 'other.example.com:3261'],
		['[2001:db8::2]:860', '[2001:db8::2]:860'],
	] as const)
		t.deepEqual(configuration.redirect(target, { address: asked, permanent: false }).redirection, { address: kept, permanent: false });
	for (const address of ['', ':3260', '10.0.0.2:0', '10.0.0.2:99999', 'a,1', 'fd00::2', 'a b', '-x', 'a'.repeat(254)])
		refuses(t, 'invalid', () => configuration.redirect(target, { address, permanent: false }));
	t.deepEqual(configuration.target(target).redirection, { address: '[2001:db8::2]:860', permanent: false });
	refuses(t, 'notFound', () => configuration.redirect(`${target}2`, undefined));
});

test('a configuration of before: its initiators are admitted as they were, without a secret and from anywhere', async (t) => {
	const path = join(await temporaryDirectory(t), 'config.db');
	const old = openDatabase(path, migrations.slice(0, 2));
	old.prepare("INSERT INTO targets VALUES (?, '', 1, 0, 'now')").run(target);
	old.prepare('INSERT INTO target_access VALUES (?, ?)').run(target, initiator);
	old.close();
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	t.deepEqual(configuration.target(target).initiators, [{ initiator, chap: undefined, mutualChap: undefined, sources: [] }]);
	t.is(configuration.target(target).redirection, undefined);
	configuration.allow(target, initiator, { chapSecret: secret });
	t.is(configuration.target(target).initiators[0]?.chap?.secret, secret);
});
