import { flushCompileCache } from 'node:module';
import { Command, Option } from 'commander';
import type { DestinationStream, Logger } from 'pino';
import { type Endpoint, parseEndpoint, parsePortal, type PortalEndpoint, printEndpoint } from '../config/endpoint.ts';
import { checkVolumeSize } from '../config/names.ts';
import { UsageError } from '../config/usage-error.ts';
import type { CongestionChoice } from '../wire/congestion-control.ts';
import { type DemoExports, demoCommands } from './demo-commands.ts';
import { repeated, size } from './flags.ts';
import { loggedError } from './logged-error.ts';
import { usualDataDirectory } from './pasted-command.ts';
import { collectStartGarbage } from './start-garbage.ts';

export interface ServeSettings {
	readonly dataDirectory: string;
	readonly demo: boolean;
	readonly demoBytes: number | undefined;
	/** The first portal, and further ones. */
	readonly iscsi: PortalEndpoint | undefined;
	readonly iscsiMore: readonly PortalEndpoint[];
	readonly nvme: Endpoint | 'none' | undefined;
	readonly nvmeDiscovery: Endpoint | 'none' | undefined;
	readonly admin: Endpoint | undefined;
	readonly socket: string | undefined;
	readonly adminTokenFile: string | undefined;
	readonly adminTlsCertFile: string | undefined;
	readonly adminTlsKeyFile: string | undefined;
	readonly forceCheck: boolean;
	/** Microseconds; 0 is off. */
	readonly busyPoll: number | 'adaptive';
	readonly congestionControl: CongestionChoice;
	readonly log: Logger;
}

/** A process that serves: the appliance, behind an interface so that the CLI need not know it. */
export interface Server {
	/** Resolves when it serves; rejects with UsageError. */
	start(): Promise<void>;
	/** Resolves when everything is closed, to the names of volumes that could not be closed properly. */
	stop(): Promise<readonly string[]>;
	readonly iscsiPortals: readonly Endpoint[];
	readonly iscsi: Endpoint | undefined;
	readonly nvme: Endpoint | undefined;
	readonly nvmeDiscovery: Endpoint | undefined;
	readonly admin: Endpoint | undefined;
	readonly socket: string;
	readonly notices: readonly string[];
	/** What the demo exports, if it does. */
	readonly demo: DemoExports | undefined;
}

export type MakeServer = (settings: ServeSettings) => Promise<Server>;

interface ServeFlags {
	dataDir: string;
	demo?: boolean;
	demoSize?: number;
	iscsi?: string[];
	nvme?: string;
	nvmeDiscovery?: string;
	admin?: string;
	socket?: string;
	adminTokenFile?: string;
	adminTlsCert?: string;
	adminTlsKey?: string;
	forceCheck?: boolean;
	busyPoll: string;
	congestionControl: CongestionChoice;
	logLevel: string;
}

/** As many as a listener opens. */
const portalsMax = 16;

/** Logs that nobody reads must not fill the memory. */
const logBufferBytesMax = 1024 * 1024;

export function serveCommand(makeServer: MakeServer): Command {
	return new Command('serve')
		.description('run the appliance until SIGTERM or SIGINT; a second signal does not wait')
		.option('--data-dir <dir>', 'where everything is kept; made if it is not there', usualDataDirectory)
		.option('--demo', 'without configuration, make a volume open to all on loopback over iSCSI and NVMe, and print how to use it')
		.option('--demo-size <size>', 'size of the demo volume (default: 10G)', size)
		.option(
			'--iscsi <host:port>',
			'iSCSI portal (default: port 3260 or the next free one; 0.0.0.0, under --demo 127.0.0.1); several times for several; HOST:PORT,TAG leads to targets of that portal group alone',
			repeated,
		)
		.option('--nvme <host:port>', 'NVMe/TCP listener (default: port 4420 or the next free one; 0.0.0.0, under --demo 127.0.0.1), or none')
		.option(
			'--nvme-discovery <host:port>',
			'NVMe discovery listener (default: port 8009 or the next free one, at the address of --nvme), or none',
		)
		.option('--admin <host:port>', 'admin API (default: 127.0.0.1, port 9260 or the next free one)')
		.option('--socket <path>', 'Unix socket of the admin API (default: blockport.sock in the data directory)')
		.option('--admin-token-file <path>', 'token that --admin asks for')
		.option('--admin-tls-cert <path>', 'certificate of --admin, PEM')
		.option('--admin-tls-key <path>', 'key of --admin, PEM')
		.option(
			'--busy-poll <us|adaptive>',
			`stay awake so many microseconds after each request, 0 (never) to ${busyPollUsMax}; adaptive: 50 while requests come that fast`,
			'adaptive',
		)
		.addOption(
			new Option(
				'--congestion-control <choice>',
				'algorithm of TCP: what the system gives; auto: the same, but cubic in the place of BBR towards private addresses',
			)
				.choices(['auto', 'system'] satisfies CongestionChoice[])
				.default('auto'),
		)
		.option('--force-check', 'verify every volume on disk before it is served')
		.addOption(
			new Option('--log-level <level>', 'least severe messages logged to stderr')
				.choices(['debug', 'info', 'warn', 'error', 'silent'])
				.default('info'),
		)
		.action((flags: ServeFlags) => serve(flags, makeServer));
}

async function serve(flags: ServeFlags, makeServer: MakeServer): Promise<void> {
	if (flags.demoSize !== undefined) {
		if (flags.demo !== true) throw new UsageError('--demo-size goes with --demo.');
		checkVolumeSize(flags.demoSize);
	}
	// Everything that is made below belongs to this user alone.
	process.umask(0o077);
	// Here and not at the top: client commands log nothing.
	const { destination, pino } = await import('pino');
	const stream = destination({ dest: 2, sync: false, maxLength: logBufferBytesMax });
	const log = pino({ level: flags.logLevel, base: null, serializers: { err: loggedError } }, stream);
	process.once('exit', () => flushLog(stream));
	const host = flags.demo === true ? '127.0.0.1' : '0.0.0.0';
	const [iscsi, ...iscsiMore] = (flags.iscsi ?? []).map((text) => parsePortal(text, { host, port: 3260 }, '--iscsi'));
	if (iscsiMore.length >= portalsMax) throw new UsageError(`--iscsi is given more than ${portalsMax} times, which is the most.`);
	const server = await makeServer({
		dataDirectory: flags.dataDir,
		demo: flags.demo === true,
		demoBytes: flags.demoSize,
		iscsi,
		iscsiMore,
		nvme: flags.nvme === 'none' ? 'none' : endpoint(flags.nvme, '--nvme', { host, port: 4420 }),
		nvmeDiscovery: flags.nvmeDiscovery === 'none' ? 'none' : endpoint(flags.nvmeDiscovery, '--nvme-discovery', { host, port: 8009 }),
		admin: endpoint(flags.admin, '--admin', { host: '127.0.0.1', port: 9260 }),
		socket: flags.socket,
		adminTokenFile: flags.adminTokenFile,
		adminTlsCertFile: flags.adminTlsCert,
		adminTlsKeyFile: flags.adminTlsKey,
		forceCheck: flags.forceCheck === true,
		busyPoll: busyPollWindow(flags.busyPoll),
		congestionControl: flags.congestionControl,
		log,
	});
	const asked = stopAsked(log);
	await server.start();
	collectStartGarbage();
	announce(server);
	// The compiled modules are kept for the next start, which then needs less time and memory.
	flushCompileCache();
	await asked;
	const unclosed = await server.stop();
	log.info({}, 'stopped');
	if (unclosed.length > 0)
		throw new UsageError(`Not closed properly: ${unclosed.join(', ')}; the next start recovers them.`, 'unavailable');
}

/** The longest that --busy-poll takes: above it the process would hardly ever sleep. */
const busyPollUsMax = 1000;

function busyPollWindow(text: string): number | 'adaptive' {
	if (text === 'adaptive') return text;
	const us = /^\d{1,4}$/.test(text) ? Number(text) : NaN;
	if (us >= 0 && us <= busyPollUsMax) return us;
	throw new UsageError(`--busy-poll takes adaptive, or microseconds from 0 to ${busyPollUsMax}, not ${text}.`);
}

/** Resolves at the first SIGTERM or SIGINT. The second ends the process at once, as the signal itself would. */
function stopAsked(log: Logger): Promise<void> {
	return new Promise((resolve) => {
		let asked = false;
		for (const [signal, number] of [
			['SIGTERM', 15],
			['SIGINT', 2],
		] as const) {
			process.on(signal, () => {
				if (asked) process.exit(128 + number);
				asked = true;
				log.info({ signal }, 'stopping: sessions are asked to log out, then volumes are flushed');
				resolve();
			});
		}
	});
}

function announce(server: Server): void {
	const { iscsi, iscsiPortals, nvme, nvmeDiscovery, admin, demo } = server;
	const text = server.notices.map((notice) => `note: ${notice}`);
	if (demo !== undefined) text.push('', ...demoCommands({ iscsi, nvme, nvmeDiscovery }, demo), '');
	const named = [
		...iscsiPortals.map((portal) => ['iSCSI', portal] as const),
		['NVMe', nvme],
		['NVMe discovery', nvmeDiscovery],
		['admin', admin],
	] as const;
	const places = [
		...named.flatMap(([name, place]) => (place === undefined ? [] : [`${name} ${printEndpoint(place)}`])),
		`socket ${server.socket}`,
	];
	text.push(`blockport ready: ${places.join(', ')}`);
	process.stdout.write(`${text.join('\n')}\n`);
}

function endpoint(text: string | undefined, flag: string, usual: Endpoint): Endpoint | undefined {
	return text === undefined ? undefined : parseEndpoint(text, usual, flag);
}

function flushLog(stream: DestinationStream & { flushSync(): void }): void {
	try {
		stream.flushSync();
	} catch {
		// The other end of stderr is gone, or the stream is not open yet: there is nobody to tell.
	}
}
