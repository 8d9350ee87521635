import { z } from 'zod';

/** The bodies of the admin API, and by inference their types. Bytes are JSON numbers: 64 TiB is far below 2^53. What a name may be is checked in src/config. */

const bytes = z.int().nonnegative();
const name = z.string().max(512);

export const errorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export const health = z.object({ status: z.enum(['ok', 'starting', 'stopping']) });

export const endpoint = z.object({ host: z.string(), port: z.int() });

export const status = z.object({
	version: z.string(),
	state: z.enum(['starting', 'ready', 'stopping']),
	pid: z.int(),
	startedAt: z.string(),
	uptimeSeconds: z.number(),
	demo: z.boolean(),
	dataDirectory: z.string(),
	freeBytes: bytes.describe('Free on the file system of the data directory.'),
	iscsi: endpoint.optional().describe('The first portal.'),
	iscsiPortals: z.array(
		endpoint.extend({ portalGroupTag: z.int().optional().describe('It leads to targets of that tag alone; absent: to all.') }),
	),
	nvme: endpoint.optional(),
	nvmeDiscovery: endpoint.optional(),
	admin: endpoint.optional(),
	volumes: z.object({ opening: z.int(), online: z.int(), faulted: z.int() }),
	faults: z.array(z.object({ volume: name, fault: z.string() })),
	opening: z
		.array(z.object({ volume: name, replayed: z.number().optional().describe('Of its log, 0 to 1.') }))
		.optional()
		.describe('Volumes whose commands wait until they are open.'),
	targets: z.int(),
	sessions: z.int(),
	subsystems: z.int(),
	controllers: z.int(),
	memory: z.object({ rssBytes: bytes, budgetLimitBytes: bytes, budgetUsedBytes: bytes, budgetPeakBytes: bytes, budgetWaiting: z.int() }),
	unknownDirectories: z
		.array(z.string())
		.describe('Directories under volumes/ that no volume of the configuration owns. They are never touched.'),
});

export const lunMapping = z.object({ target: name, lun: z.int(), volume: name });

export const namespaceMapping = z.object({ subsystem: name, nsid: z.int(), volume: name });

/** One table for both protocols, so a type has one name: WRITE EXCLUSIVE of SCSI is Write Exclusive of NVMe. */
export const reservations = z.object({
	type: z
		.enum([
			'writeExclusive',
			'exclusiveAccess',
			'writeExclusiveRegistrantsOnly',
			'exclusiveAccessRegistrantsOnly',
			'writeExclusiveAllRegistrants',
			'exclusiveAccessAllRegistrants',
		])
		.optional()
		.describe('Absent: nobody holds a persistent reservation.'),
	unitHolder: z.string().optional().describe('Who has the whole unit by RESERVE of SPC-2.'),
	generation: z.int(),
	persistThroughPowerLoss: z.boolean(),
	registrants: z
		.array(
			z.object({
				protocol: z.enum(['iscsi', 'nvme']),
				id: z.string().describe('The initiator port (NAME,i,0xISID), or HOSTID in 32 hexadecimal digits.'),
				port: z.string().optional().describe('The target port (NAME,t,0xTPGT); NVMe has none.'),
				key: z.string().describe('0x and 16 hexadecimal digits.'),
				holder: z.boolean(),
			}),
		)
		.describe('In the order in which they registered.'),
});

export const volume = z.object({
	name,
	uuid: z.string(),
	sizeBytes: bytes,
	blockSize: z.union([z.literal(512), z.literal(4096)]),
	createdAt: z.string(),
	state: z.enum(['opening', 'online', 'faulted', 'sanitizing']),
	sanitizable: z.boolean().optional().describe('Initiators may destroy everything in it by SANITIZE.'),
	fault: z.string().optional().describe('Why the volume refuses writes, or could not be opened.'),
	replayed: z.number().optional().describe('Of its log, 0 to 1, while it is opened.'),
	clone: z
		.boolean()
		.optional()
		.describe('It stands on what it was made of, the snapshot of a clone or the archived one of a lazy restore, until it is flattened.'),
	mappings: z.array(lunMapping),
	namespaces: z.array(namespaceMapping),
	restoring: z
		.object({
			repository: name,
			manifest: z.string(),
			done: z.number().describe('0 to 1.'),
			failedReads: z.int().describe('That ended with a medium error, since what they asked for could not be fetched.'),
			failure: z.string().optional().describe('What the last attempt to fetch something failed with.'),
		})
		.optional()
		.describe('While some of it is still in a repository only.'),
	statistics: z.record(z.string(), z.number()).optional().describe('Counters and gauges of the engine; absent unless the volume is open.'),
	reservations: reservations.optional().describe('Of one volume that is asked for; lists leave it out.'),
});

export const volumes = z.object({ volumes: z.array(volume) });

export const newVolume = z.strictObject({
	name,
	sizeBytes: bytes,
	blockSize: z.union([z.literal(512), z.literal(4096)]).default(512),
	exports: z
		.array(z.enum(['iscsi', 'nvme']))
		.max(2)
		.optional()
		.describe('Also makes a target, a subsystem or both of that name, and maps the volume there. Whom they admit is said apart.'),
});

export const volumeChange = z
	.strictObject({ sizeBytes: bytes.optional(), sanitizable: z.boolean().optional() })
	.refine(({ sizeBytes, sanitizable }) => (sizeBytes === undefined) !== (sanitizable === undefined), 'One of sizeBytes and sanitizable.');

/** Who proves itself by CHAP. Secrets are never shown. */
const chapView = {
	authentication: z
		.enum(['none', 'initiator', 'mutual'])
		.describe('Who proves itself by CHAP: nobody, the initiator, or also the target if the initiator asks. Secrets are never shown.'),
	chapUser: z.string().optional(),
	mutualChapUser: z.string().optional(),
};

export const chap = z.object(chapView);

const chapWish = {
	chapUser: z.string().max(512).optional().describe("CHAP_N of the initiator; by default the initiator's own name."),
	chapSecret: z.string().max(512).optional().describe('12 to 255 bytes; Windows takes 12 to 16.'),
	mutualChapUser: z.string().max(512).optional().describe("CHAP_N of the target; by default the target's own name."),
	mutualChapSecret: z.string().max(512).optional(),
};

export const newChap = z.strictObject(chapWish).describe('What is left out stays as it is.');

export const initiatorAccess = z
	.strictObject({
		...chapWish,
		sources: z.array(z.string().max(64)).max(64).optional().describe('Networks and addresses that it may come from; none means any.'),
	})
	.nullish()
	.describe('What is left out stays as it is.');

const redirection = {
	address: z.string().max(512).describe('host:port of the portal to log in at instead, IPv6 in brackets.'),
	permanent: z.boolean(),
};

export const newRedirection = z.strictObject({ ...redirection, permanent: redirection.permanent.default(false) });

export const target = z.object({
	name,
	alias: z.string(),
	tpgt: z.int(),
	openToAll: z.boolean().describe('Admits every initiator; honoured under --demo only.'),
	createdAt: z.string(),
	luns: z.array(lunMapping),
	snapshots: z.array(z.object({ lun: z.int(), volume: name, snapshot: name })).describe('Mounted here, read-only.'),
	initiators: z.array(z.object({ initiator: name, ...chapView, sources: z.array(z.string()) })),
	redirection: z.object(redirection).optional().describe('Where its logins are sent instead.'),
	sessions: z.int(),
});

export const targets = z.object({ targets: z.array(target) });

export const newTarget = z.strictObject({ name, alias: z.string().max(512).default(''), tpgt: z.int().default(1) });

export const newMapping = z.strictObject({ volume: name, lun: z.int().optional().describe('The lowest free one if absent.') });

export const mappedVolume = z.strictObject({ volume: name });

export const session = z.object({
	kind: z.enum(['normal', 'discovery']),
	initiator: name,
	target: name.optional(),
	isid: z.string(),
	tsih: z.int(),
	remote: z.string().describe('host:port of the initiator.'),
	authentication: z.enum(['none', 'chap', 'mutual']),
	since: z.string(),
	commands: z.number(),
	bytesRead: z.number(),
	bytesWritten: z.number(),
});

export const sessions = z.object({ sessions: z.array(session) });

const dhchapHash = z.enum(['sha256', 'sha384', 'sha512']);
const dhchapDhgroup = z.enum(['null', 'ffdhe2048', 'ffdhe3072', 'ffdhe4096', 'ffdhe6144', 'ffdhe8192']);

export const subsystem = z.object({
	name,
	uuid: z.string(),
	openToAll: z.boolean().describe('Admits every host; honoured under --demo only.'),
	createdAt: z.string(),
	namespaces: z.array(namespaceMapping),
	snapshots: z.array(z.object({ nsid: z.int(), volume: name, snapshot: name })).describe('Mounted here, read-only.'),
	hosts: z.array(
		z.object({
			host: name,
			authentication: z
				.enum(['none', 'host', 'mutual'])
				.describe('Who proves itself by DH-HMAC-CHAP: nobody, the host, or also the controller if the host asks. Secrets are never shown.'),
			dhchapHash: dhchapHash.describe('The least that is accepted.'),
			dhchapDhgroup,
		}),
	),
	controllers: z.int(),
});

export const subsystems = z.object({ subsystems: z.array(subsystem) });

export const newSubsystem = z.strictObject({ name });

export const newNamespace = z.strictObject({ volume: name, nsid: z.int().optional().describe('The lowest free one if absent.') });

export const hostAccess = z
	.strictObject({
		dhchapSecret: z.string().max(128).optional().describe('DHHC-1:…: of the host.'),
		dhchapCtrlSecret: z.string().max(128).optional().describe('DHHC-1:…: of the controller.'),
		dhchapHash: dhchapHash.optional(),
		dhchapDhgroup: dhchapDhgroup.optional(),
	})
	.nullish()
	.describe('What is left out stays as it is.');

export const controller = z.object({
	subsystem: name,
	cntlid: z.int(),
	host: name,
	hostID: z.string().describe('32 hexadecimal digits.'),
	ioQueues: z.int(),
	remote: z.string().describe('host:port of the admin queue.'),
	authenticated: z.boolean().describe('The host has proved itself by DH-HMAC-CHAP.'),
});

export const controllers = z.object({ controllers: z.array(controller) });

export const volumeParameters = z.object({ volume: name });
export const targetParameters = z.object({ target: name });
export const lunParameters = z.object({ target: name, lun: z.coerce.number<string>().int() });
export const initiatorParameters = z.object({ target: name, initiator: name });

export const subsystemParameters = z.object({ subsystem: name });
export const namespaceParameters = z.object({ subsystem: name, nsid: z.coerce.number<string>().int() });
export const hostParameters = z.object({ subsystem: name, host: name });

export type StatusView = z.infer<typeof status>;
export type VolumeView = z.infer<typeof volume>;
export type ReservationsView = z.infer<typeof reservations>;
export type TargetView = z.infer<typeof target>;
export type SessionView = z.infer<typeof session>;
export type LunMappingView = z.infer<typeof lunMapping>;
export type SubsystemView = z.infer<typeof subsystem>;
export type NamespaceMappingView = z.infer<typeof namespaceMapping>;
export type ControllerView = z.infer<typeof controller>;
export type NewVolume = z.infer<typeof newVolume>;
export type NewSubsystem = z.infer<typeof newSubsystem>;
export type NewNamespace = z.infer<typeof newNamespace>;
export type NewHostAccess = NonNullable<z.infer<typeof hostAccess>>;
export type NewTarget = z.infer<typeof newTarget>;
export type NewMapping = z.infer<typeof newMapping>;
export type ChapView = z.infer<typeof chap>;
export type NewChap = z.infer<typeof newChap>;
export type NewInitiatorAccess = NonNullable<z.infer<typeof initiatorAccess>>;
export type NewRedirection = z.infer<typeof newRedirection>;
