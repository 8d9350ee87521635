/**
 * Who is let in, as libiscsi and QEMU see it: CHAP one way and both ways, a secret that is asked for while somebody works, networks, discovery, redirection, IPv6.
 *
 *     node test/conformance/iscsi-access.ts
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { check, expect, finish } from './checks.ts';
import { Blockport } from './servers/blockport.ts';
import { inFolder } from './servers/choose.ts';
import { freePort, run } from './servers/server-process.ts';
import { foreignInitiatorName } from './servers/target-server.ts';

const target = 'iqn.2026-11.dev.blockport.test:access';
const secrets = { initiator: 'initiator-secret-1', target: 'target-secret-22', wrong: 'what-it-is-not-1' } as const;
/** What libiscsi's tools end with when a login fails. */
const loginFailed = 10;

await inFolder('access', async (folder, started) => {
	const make = async (name: string, ...serveArguments: string[]): Promise<Blockport> => {
		const data = join(folder, name);
		await mkdir(data);
		const units = [{ target, lun: 0, sizeBytes: 64 * 1024 ** 2 }];
		const server = new Blockport({ folder: data, units, initiators: [foreignInitiatorName], serveArguments });
		started.push(server);
		server.port = await freePort();
		await server.start();
		return server;
	};
	const portSix = await freePort();
	const [server, other] = [await make('one', '--iscsi', `[::1]:${portSix}`), await make('other')];
	const allow = async (at: Blockport, ...words: string[]) => await at.cli('target', 'allow', target, foreignInitiatorName, ...words);

	const url = (who = '', host = `127.0.0.1:${server.port}`, more = '') => `iscsi://${who}${host}/${target}/0${more}`;
	const inquiry = async (place: string) => {
		const output = await run('iscsi-inq', ['-i', foreignInitiatorName, place]);
		expect(output.includes('Peripheral Device Type:DIRECT_ACCESS'), output);
	};
	const refused = async (place: string, words: string) => {
		const output = await run('iscsi-inq', ['-i', foreignInitiatorName, place], { okCodes: [loginFailed] });
		expect(output.includes(words), output);
	};
	const guest = `guest%${secrets.initiator}@`;

	await check('without a secret asked for: by IPv4 and IPv6, and discovery names both portals', async () => {
		await inquiry(url());
		await inquiry(url('', `[::1]:${portSix}`));
		const output = await run('iscsi-ls', ['-i', foreignInitiatorName, `iscsi://[::1]:${portSix}`]);
		for (const portal of [`127.0.0.1:${server.port},1`, `[::1]:${portSix},1`]) expect(output.includes(`Portal:${portal}`), output);
	});
	await allow(server, '--chap-user', 'guest', '--chap-secret', secrets.initiator);
	await check('CHAP: in with the secret, out without it, with another, and under another name', async () => {
		await inquiry(url(guest));
		await refused(url(), 'Authentication failure');
		await refused(url(`guest%${secrets.wrong}@`), 'Authentication failure');
		await refused(url(`somebody%${secrets.initiator}@`), 'Authentication failure');
	});
	await check('qemu-io writes and reads with the secret', async () => {
		const place = `driver=iscsi,transport=tcp,portal=127.0.0.1:${server.port},target=${target},lun=0`;
		const who = `initiator-name=${foreignInitiatorName},user=guest,password-secret=s`;
		const commands = ['write -P 0x5a 0 1M', 'read -P 0x5a 0 1M'].flatMap((command) => ['-c', command]);
		const output = await run('qemu-io', [
			'--object',
			`secret,id=s,data=${secrets.initiator}`,
			'--image-opts',
			`${place},${who}`,
			...commands,
		]);
		expect(!/failed|error/i.test(output), output);
	});
	await allow(server, '--mutual-chap-user', 'blockport', '--mutual-chap-secret', secrets.target);
	await check('mutual CHAP: in when the target proves itself, and the initiator leaves when it does not', async () => {
		await inquiry(url(guest, undefined, `?target_user=blockport&target_password=${secrets.target}`));
		await refused(url(guest, undefined, `?target_user=blockport&target_password=${secrets.wrong}`), 'Invalid CHAP_R');
	});
	await check('redirection: libiscsi follows it to the other server, and the first takes logins again afterwards', async () => {
		await allow(other, '--chap-user', 'guest', '--chap-secret', secrets.initiator);
		await server.cli('target', 'redirect', target, `127.0.0.1:${other.port}`);
		await inquiry(url(guest));
		expect(other.process.output.includes('iSCSI session'), 'nobody came to the other server');
		await server.cli('target', 'redirect', target, '--off');
		await inquiry(url(guest));
	});
	await check('another network: refused, and nothing to be discovered', async () => {
		await allow(server, '--from', '192.0.2.0/24');
		await refused(url(guest), 'Authorization failure');
		const output = await run('iscsi-ls', ['-i', foreignInitiatorName, `iscsi://127.0.0.1:${server.port}`], {
			okCodes: [0, 1, loginFailed],
		});
		expect(!output.includes(target), output);
	});
	await check('all of it holds after kill -9', async () => {
		await server.kill();
		await server.start();
		await refused(url(guest), 'Authorization failure');
		await allow(server, '--from', '127.0.0.0/8');
		await inquiry(url(guest));
		await refused(url(), 'Authentication failure');
	});
	await check('a clean stop ends with exit code 0', async () => {
		const how = await server.stop();
		expect(how === 'exit code 0', `it ended with ${how}:\n${server.process.output}`);
	});
});
finish();
