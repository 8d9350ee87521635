/**
 * OpenStack Swift with its S3 interface, as a real server for lanes and by hand. Debian's packages swift-proxy, swift-account, swift-container, swift-object and memcached; nothing is installed or
 * configured outside a temporary folder, everything listens on ports of 127.0.0.1 that were free, and the processes die with the one that started them.
 *
 *     node test/conformance/swift.ts         starts one, prints how to reach it, and runs until SIGINT
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBucket } from './s3-bucket.ts';
import { type ServerCommand, ServerProcess, freePort, run } from './servers/server-process.ts';
import { SwiftNursery } from './swift-nursery.ts';

export interface S3ServerUnderTest {
	readonly name: string;
	readonly endpoint: string;
	readonly region: string;
	readonly accessKeyId: string;
	readonly secretAccessKey: string;
	/** Made, and empty. */
	readonly bucket: string;
	/** SIGKILL to every process of it, or of a part of it if it has parts, in the middle of whatever it does. */
	kill(part?: ServerPart): Promise<void>;
	/** Starts it again where it was, after kill or as it is; resolves when it answers. */
	restart(): Promise<void>;
	/** Ends it and removes what it stored. */
	stop(): Promise<void>;
}

/** What answers to S3, or what stores. */
export type ServerPart = 'all' | 'front' | 'storage';

const storageServers = ['account', 'container', 'object'] as const;
const servers = [...storageServers, 'proxy'] as const;
const listeners = ['memcached', ...servers] as const;
type Listener = (typeof listeners)[number];
const startMs = 180_000;

/** What is missing here to start one; '' if nothing is. */
export function swiftIsMissing(): string {
	const needed = [
		'/usr/bin/swift-proxy-server',
		'/usr/bin/memcached',
		'/usr/bin/swift-ring-builder',
		...storageServers.map((name) => `/usr/bin/swift-${name}-server`),
	];
	return needed.filter((path) => !existsSync(path)).join(', ');
}

/** The user that Debian's package made, where we may become it: the storage servers do not like to be root. */
function serverUser(): { name: string; uid: number; gid: number } | undefined {
	if (process.getuid?.() !== 0) return undefined;
	const number = (flag: string): number => Number(execFileSync('id', [flag, 'swift'], { encoding: 'utf8' }));
	return { name: 'swift', uid: number('-u'), gid: number('-g') };
}

export async function startSwift(): Promise<S3ServerUnderTest> {
	const missing = swiftIsMissing();
	if (missing !== '') throw new Error(`not installed: ${missing}`);
	const swift = new Swift(await mkdtemp(join(tmpdir(), 'blockport-swift-')), serverUser());
	try {
		await swift.prepare();
		await swift.start();
		await createBucket(swift);
		return swift;
	} catch (error) {
		await swift.stop();
		throw error;
	}
}

class Swift implements S3ServerUnderTest {
	readonly name = 'OpenStack Swift';
	readonly region = 'us-east-1';
	readonly accessKeyId = 'test:tester';
	readonly secretAccessKey = 'testing';
	readonly bucket = 'backups';
	readonly #folder: string;
	readonly #user: ReturnType<typeof serverUser>;
	readonly #ports: Record<Listener, number> = { proxy: 0, memcached: 0, account: 0, container: 0, object: 0 };
	#nursery: SwiftNursery | undefined;
	#memcached: ServerProcess | undefined;

	constructor(folder: string, user: ReturnType<typeof serverUser>) {
		this.#folder = folder;
		this.#user = user;
	}

	get endpoint(): string {
		return `http://127.0.0.1:${this.#ports.proxy}`;
	}

	async prepare(): Promise<void> {
		for (const name of listeners) this.#ports[name] = await freePort();
		await mkdir(join(this.#folder, 'devices', 'd1'), { recursive: true });
		await mkdir(join(this.#folder, 'cache'));
		await this.#write(
			'swift.conf',
			'[swift-hash]\nswift_hash_path_prefix = blockport\nswift_hash_path_suffix = test\n[storage-policy:0]\nname = one\ndefault = yes\n',
		);
		await this.#write('proxy-server.conf', this.#proxyConfiguration());
		for (const name of storageServers) await this.#write(`${name}-server.conf`, this.#storageConfiguration(name));
		await Promise.all(storageServers.map((name) => this.#ring(name)));
		if (this.#user !== undefined) await run('chown', ['-R', `${this.#user.uid}:${this.#user.gid}`, this.#folder]);
	}

	/** Whatever of it does not run. */
	async start(): Promise<void> {
		this.#nursery ??= await SwiftNursery.start((command, args) => this.#process(command, args), startMs);
		if (this.#memcached?.isGone !== false) {
			const user = this.#user === undefined ? [] : ['-u', this.#user.name];
			const { memcached } = this.#ports;
			const memory = ['-l', '127.0.0.1', '-p', String(memcached), '-U', '0', '-m', '64', ...user];
			this.#memcached = new ServerProcess(this.#process('/usr/bin/memcached', memory));
		}
		for (const name of servers) await this.#nursery.serve(name, join(this.#folder, `${name}-server.conf`));
		await this.#answers();
	}

	async kill(part: ServerPart = 'all'): Promise<void> {
		const killed = { all: servers, front: ['proxy'], storage: storageServers }[part];
		const memcached = part === 'storage' ? undefined : this.#memcached?.end('SIGKILL');
		await Promise.all([memcached, ...killed.map((name) => this.#nursery?.kill(name))]);
	}

	async restart(): Promise<void> {
		await this.start();
	}

	async stop(): Promise<void> {
		await Promise.all([this.#memcached?.end('SIGTERM', 3000), this.#nursery?.end()]);
		await rm(this.#folder, { recursive: true, force: true });
	}

	/** As the user, and dead as soon as this process is, however it ends. */
	#process(command: string, args: readonly string[]): ServerCommand {
		const identity =
			this.#user === undefined ? [] : ['--reuid', String(this.#user.uid), '--regid', String(this.#user.gid), '--clear-groups'];
		return {
			command: 'setpriv',
			args: [...identity, '--pdeathsig', 'KILL', '--', command, ...args],
			env: { HOME: this.#folder, SWIFT_DIR: this.#folder },
		};
	}

	/** A request to each of the servers by way of the proxy: the listing of an account. */
	async #answers(): Promise<void> {
		const untilMs = performance.now() + startMs;
		for (;;) {
			const gone = servers.find((name) => this.#nursery?.isAlive(name) !== true);
			if (gone !== undefined) throw new Error(`Swift's ${gone} server ended:\n${this.#nursery?.output}`);
			if (await this.#isReady()) return;
			if (performance.now() > untilMs) throw new Error(`Swift does not answer:\n${this.#nursery?.output}`);
			await new Promise((resolve) => {
				setTimeout(resolve, 20);
			});
		}
	}

	async #isReady(): Promise<boolean> {
		try {
			const auth = await fetch(`${this.endpoint}/auth/v1.0`, {
				headers: { 'x-auth-user': this.accessKeyId, 'x-auth-key': this.secretAccessKey },
			});
			const [url, token] = [auth.headers.get('x-storage-url'), auth.headers.get('x-auth-token')];
			await auth.text();
			if (url === null || token === null) return false;
			// One of each of the storage servers: a container that is made, an object in it.
			const headers = { 'x-auth-token': token };
			for (const [method, path] of [
				['PUT', '/ready'],
				['PUT', '/ready/object'],
				['DELETE', '/ready/object'],
				['DELETE', '/ready'],
			] as const) {
				const answer = await fetch(url + path, { method, headers });
				await answer.text();
				if (!answer.ok) return false;
			}
			return true;
		} catch (error) {
			if (!(error instanceof TypeError)) throw error;
			return false;
		}
	}

	async #ring(name: (typeof storageServers)[number]): Promise<void> {
		const builder = join(this.#folder, `${name}.builder`);
		await run('/usr/bin/swift-ring-builder', [builder, 'create', '4', '1', '1']);
		await run('/usr/bin/swift-ring-builder', [builder, 'add', `r1z1-127.0.0.1:${this.#ports[name]}/d1`, '1']);
		await run('/usr/bin/swift-ring-builder', [builder, 'rebalance'], { okCodes: [0, 1] });
	}

	#write(name: string, text: string): Promise<void> {
		return writeFile(join(this.#folder, name), text);
	}

	#common(port: number): string {
		const user = this.#user?.name ?? execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();
		return `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nworkers = 0\nuser = ${user}\nswift_dir = ${this.#folder}\nlog_level = WARNING\n`;
	}

	#storageConfiguration(name: (typeof storageServers)[number]): string {
		return `${this.#common(this.#ports[name])}devices = ${join(this.#folder, 'devices')}
mount_check = false
fallocate_reserve = 0
[pipeline:main]
pipeline = ${name}-server
[app:${name}-server]
use = egg:swift#${name}
recon_cache_path = ${join(this.#folder, 'cache')}
`;
	}

	#proxyConfiguration(): string {
		const plain = ['catch_errors', 'proxy-logging', 'listing_formats', 'bulk', 'slo', 'dlo', 'versioned_writes', 'symlink'];
		return `${this.#common(this.#ports.proxy)}[pipeline:main]
pipeline = catch_errors proxy-logging cache listing_formats bulk s3api tempauth slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# A storage server that was not there yet is not left alone for a minute.
error_suppression_limit = 1000000
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${this.#ports.memcached}
[filter:s3api]
use = egg:swift#s3api
s3_acl = no
# A list comes in pages with few objects, too.
max_bucket_listing = 100
location = ${this.region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = ${this.secretAccessKey} .admin
${plain.map((name) => `[filter:${name}]\nuse = egg:swift#${name.replace('-', '_')}\n`).join('')}`;
	}
}

if (process.argv[1] === import.meta.filename) {
	const swift = await startSwift();
	console.log(
		JSON.stringify({
			endpoint: swift.endpoint,
			region: swift.region,
			bucket: swift.bucket,
			accessKeyId: swift.accessKeyId,
			secretAccessKey: swift.secretAccessKey,
		}),
	);
	process.once('SIGINT', () => void swift.stop());
	process.once('SIGTERM', () => void swift.stop());
}
