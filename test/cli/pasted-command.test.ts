import test from 'ava';
import { pastedCommand, usualDataDirectory } from '../../src/cli/pasted-command.ts';

const launched = (launcher: string | undefined, body: () => void): void => {
	const before = process.env['BLOCKPORT_LAUNCHER'];
	if (launcher === undefined) delete process.env['BLOCKPORT_LAUNCHER'];
	else process.env['BLOCKPORT_LAUNCHER'] = launcher;
	try {
		body();
	} finally {
		if (before === undefined) delete process.env['BLOCKPORT_LAUNCHER'];
		else process.env['BLOCKPORT_LAUNCHER'] = before;
	}
};

test.serial('the program as it was called, and the flags that lead to the same appliance', (t) => {
	const words = ['target', 'allow', 'iqn.2026-11.com.example:data', 'INITIATOR'];
	const plain = 'bin/blockport target allow iqn.2026-11.com.example:data INITIATOR';
	launched('bin/blockport', () => {
		t.is(pastedCommand(words, { dataDir: usualDataDirectory }), plain);
		t.is(pastedCommand(words, { dataDir: '/srv/b' }), `${plain} --data-dir /srv/b`);
		t.is(pastedCommand(words, { dataDir: '/srv/b', socket: '/run/b.sock', host: 'http://a:1' }), `${plain} --socket /run/b.sock`);
		t.is(pastedCommand(words, { dataDir: '/srv/b', host: 'http://[::1]:1' }), `${plain} --host 'http://[::1]:1'`);
		t.is(pastedCommand(words, { dataDir: '/srv/b', host: 'https://a:1', tokenFile: '/t' }), `${plain} --host https://a:1 --token-file /t`);
	});
	launched(undefined, () => t.is(pastedCommand(['serve'], { dataDir: usualDataDirectory }), 'blockport serve'));
});

test.serial('what a shell would change is quoted', (t) => {
	launched('/opt/my tools/blockport', () => {
		t.is(pastedCommand(['serve'], { dataDir: "/srv/it's; $(x)" }), `'/opt/my tools/blockport' serve --data-dir '/srv/it'\\''s; $(x)'`);
		t.is(pastedCommand(['serve'], { dataDir: '' }), `'/opt/my tools/blockport' serve --data-dir ''`);
	});
});
