/**
 * Ceph's radosgw as a real S3 server with conditional puts, for a lane on demand: Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common; one monitor, one OSD in memory, one gateway, in a temporary
 * folder, on ports of 127.0.0.1 that were free.
 *
 *     node test/conformance/radosgw.ts       starts one, prints how to reach it, and runs until SIGINT
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createBucket } from './s3-bucket.ts';
import { ServerProcess, freePort, run } from './servers/server-process.ts';
import type { S3ServerUnderTest } from './swift.ts';

/** What is missing here to start one; '' if nothing is. */
export function radosgwIsMissing(): string {
	const needed = ['radosgw', 'radosgw-admin', 'ceph', 'ceph-mon', 'ceph-osd', 'ceph-authtool', 'monmaptool'].map(
		(name) => `/usr/bin/${name}`,
	);
	return needed.filter((path) => !existsSync(path)).join(', ');
}

/** Its `kill` ends the gateway: an OSD in memory would come back empty, which no server does. */
export async function startRadosgw(): Promise<S3ServerUnderTest> {
	const missing = radosgwIsMissing();
	if (missing !== '') throw new Error(`not installed: ${missing}`);
	const server = new Radosgw(await mkdtemp(join(tmpdir(), 'blockport-radosgw-')));
	try {
		await server.prepare();
		await server.startCluster();
		await server.makeUser();
		await server.restart();
		await createBucket(server);
		return server;
	} catch (error) {
		await server.stop();
		throw error;
	}
}

class Radosgw implements S3ServerUnderTest {
	readonly name = 'radosgw';
	readonly region = 'us-east-1';
	readonly accessKeyId = 'TESTER';
	readonly secretAccessKey = 'testing';
	readonly bucket = 'backups';
	readonly #folder: string;
	readonly #clusterId = randomUUID();
	readonly #cluster: ServerProcess[] = [];
	#gateway: ServerProcess | undefined;
	#monitorPort = 0;
	#port = 0;

	constructor(folder: string) {
		this.#folder = folder;
	}

	get endpoint(): string {
		return `http://127.0.0.1:${this.#port}`;
	}

	async prepare(): Promise<void> {
		this.#monitorPort = await freePort();
		this.#port = await freePort();
		await writeFile(this.#at('ceph.conf'), this.#configuration());
		await mkdir(this.#at('mon'));
		await mkdir(this.#at('osd'));
		// Every key has to be there before the monitor's store is made from them.
		await this.#key('mon.', ['mon', 'allow *']);
		await this.#key('client.admin', ['mon', 'allow *', 'osd', 'allow *', 'mgr', 'allow *']);
		await this.#key('osd.0', ['mon', 'allow profile osd', 'osd', 'allow *', 'mgr', 'allow profile osd']);
		await this.#key('client.rgw', ['mon', 'allow rw', 'osd', 'allow rwx']);
		await run('monmaptool', ['--create', '--fsid', this.#clusterId, '--addv', 'a', this.#monitor(), this.#at('monmap')]);
		await run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', this.#at('monmap'), '--keyring', this.#at('keyring'), ...this.#conf()]);
	}

	async startCluster(): Promise<void> {
		this.#cluster.push(this.#process('ceph-mon', ['-f', '-i', 'a']));
		const uuid = randomUUID();
		await this.#ceph('osd', 'create', uuid, '0');
		await run('ceph-osd', ['--mkfs', '-i', '0', '--osd-uuid', uuid, ...this.#conf()]);
		this.#cluster.push(this.#process('ceph-osd', ['-f', '-i', '0']));
		await this.#until('the OSD is up', async () => (await this.#ceph('osd', 'stat')).includes('1 up'));
	}

	async makeUser(): Promise<void> {
		const names = ['--uid', 'tester', '--display-name', 'tester', '--access-key', this.accessKeyId, '--secret-key', this.secretAccessKey];
		await run('radosgw-admin', ['user', 'create', ...names, '-n', 'client.rgw', ...this.#conf()]);
	}

	async kill(): Promise<void> {
		await this.#gateway?.end('SIGKILL');
	}

	async restart(): Promise<void> {
		await this.kill();
		this.#gateway = this.#process('radosgw', ['-f', '-n', 'client.rgw', `--rgw-frontends=beast endpoint=127.0.0.1:${this.#port}`]);
		await this.#until('the gateway answers', async () => {
			try {
				const answer = await fetch(this.endpoint);
				await answer.text();
				return answer.status === 200;
			} catch (error) {
				if (!(error instanceof TypeError)) throw error;
				return false;
			}
		});
	}

	async stop(): Promise<void> {
		const processes = [...this.#cluster, ...(this.#gateway === undefined ? [] : [this.#gateway])];
		await Promise.all(processes.map((one) => one.end('SIGKILL')));
		await rm(this.#folder, { recursive: true, force: true });
	}

	async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
		const untilMs = performance.now() + 120_000;
		while (!(await isSo())) {
			const gone = [this.#gateway, ...this.#cluster].find((one) => one?.isGone === true);
			if (gone !== undefined) throw new Error(`${what}: a process ended (${await gone.exited}):\n${gone.output}`);
			if (performance.now() > untilMs) throw new Error(`not in two minutes: ${what}`);
			await wait(200);
		}
	}

	async #key(name: string, capabilities: readonly string[]): Promise<void> {
		const caps = capabilities.flatMap((word, index) => (index % 2 === 0 ? ['--cap', word] : [word]));
		const create = existsSync(this.#at('keyring')) ? [] : ['--create-keyring'];
		await run('ceph-authtool', [this.#at('keyring'), ...create, '--gen-key', '-n', name, ...caps]);
	}

	#ceph(...words: readonly string[]): Promise<string> {
		return run('ceph', ['--connect-timeout', '60', ...this.#conf(), ...words]);
	}

	/** Dead as soon as this process is, however it ends. */
	#process(command: string, args: readonly string[]): ServerProcess {
		return new ServerProcess({ command: 'setpriv', args: ['--pdeathsig', 'KILL', '--', command, ...args, ...this.#conf()] });
	}

	#conf(): string[] {
		return ['-c', this.#at('ceph.conf')];
	}

	#monitor(): string {
		return `[v2:127.0.0.1:${this.#monitorPort}]`;
	}

	#at(name: string): string {
		return join(this.#folder, name);
	}

	#configuration(): string {
		return `[global]
fsid = ${this.#clusterId}
mon host = ${this.#monitor()}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = ${this.#at('keyring')}
run dir = ${this.#folder}
admin socket = ${this.#at('$name.asok')}
pid file = ${this.#at('$name.pid')}
log file = /dev/null
log to stderr = true
err to stderr = true
crash dir = ${this.#folder}
mon data = ${this.#at('mon')}
mon cluster log file = /dev/null
mon data avail crit = 1
mon data avail warn = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
osd data = ${this.#at('osd')}
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
rgw data = ${this.#at('rgw')}
`;
	}
}

if (process.argv[1] === import.meta.filename) {
	const server = await startRadosgw();
	const { endpoint, region, bucket, accessKeyId, secretAccessKey } = server;
	console.log(JSON.stringify({ endpoint, region, bucket, accessKeyId, secretAccessKey }));
	process.once('SIGINT', () => void server.stop());
	process.once('SIGTERM', () => void server.stop());
}
