import { z } from 'zod';

const name = z.string().max(512);
const count = z.int().nonnegative();
const bytes = z.int().nonnegative();

const keep = z
	.strictObject({ last: count, hourly: count, daily: count, weekly: count, monthly: count, yearly: count })
	.describe('How many archived snapshots each rule keeps of a volume; all 0: everything, until somebody deletes it.');

const folder = z.object({ kind: z.literal('folder'), path: z.string().max(4096) });

const s3 = z.object({
	kind: z.literal('s3'),
	endpoint: z.string().max(512).optional().describe("http(s)://HOST[:PORT]; without it Amazon's of the region."),
	region: z.string().max(64).default('us-east-1'),
	bucket: z.string().max(255),
	prefix: z.string().max(512).default(''),
	pathStyle: z.boolean().default(false),
	accessKeyId: z.string().max(255).optional().describe("Without it the environment of the appliance's process."),
	caFile: z.string().max(4096).optional().describe("PEM, on the appliance's machine."),
});

const location = z.discriminatedUnion('kind', [folder, s3]);

export const repository = z.object({
	name,
	place: z.string().describe('For people.'),
	location,
	hasSecret: z.boolean().describe('A secret access key is stored. Secrets are never shown.'),
	isEncrypted: z.boolean().describe('A passphrase is stored.'),
	keep,
	zone: z.string(),
	createdAt: z.string(),
});

export const repositories = z.object({ repositories: z.array(repository) });

export const repositoryDetail = repository.extend({
	state: z.enum(['reachable', 'unusable']),
	fault: z.string().optional().describe('Why it cannot be used now.'),
	id: z.string().optional().describe('Of the repository itself: the same for every appliance.'),
	chunkBytes: z.int().optional(),
	manifests: count.optional(),
	volumes: count.optional().describe('Volumes of which it has something.'),
	damaged: z.array(z.string()).optional().describe('Manifests that cannot be read, in words.'),
});

export const newRepository = z.strictObject({
	name,
	location: z.discriminatedUnion('kind', [z.strictObject(folder.shape), z.strictObject(s3.shape)]),
	secretAccessKey: z.string().max(1024).optional(),
	passphrase: z.string().max(4096).optional().describe('Of one that is encrypted. Without it nobody ever reads what is in there.'),
	create: z.boolean().default(false).describe('Makes the repository, which must not be there; else it must be.'),
	keep: keep.partial().optional(),
	zone: z.string().max(512).optional(),
});

export const repositoryChange = z
	.strictObject({
		accessKeyId: z.string().max(255).optional(),
		secretAccessKey: z.string().max(1024).optional(),
		passphrase: z.string().max(4096).optional(),
		keep: keep.partial().optional(),
		zone: z.string().max(512).optional(),
	})
	.describe('What is left out stays as it is. What is said has to open the repository.');

export const manifest = z.object({
	id: z.string().max(128),
	volume: z.object({ uuid: z.string(), name: z.string(), sizeBytes: bytes, blockSize: z.union([z.literal(512), z.literal(4096)]) }),
	snapshot: z.object({ id: z.int(), name: z.string(), at: z.string() }),
	archivedAt: z.string(),
	parent: z.string().optional().describe('The manifest that it was made from; it does not need it.'),
	tool: z.string().optional().describe('What wrote it.'),
	merkleRoot: z.string().optional(),
	chunkBytes: z.int().optional(),
	chunks: count.optional(),
	dataBytes: bytes.optional().describe('Of chunks that hold anything but zeros: what a restore writes.'),
	uploadedBytes: bytes.optional().describe('What this one added to the repository.'),
	local: z.string().optional().describe('VOLUME@SNAPSHOT, if the snapshot is on this appliance too.'),
	keptFor: z
		.array(z.enum(['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']))
		.optional()
		.describe('Rules that want it, if the repository has any; none: the next to go.'),
});

export const manifests = z.object({
	repository: name,
	manifests: z.array(manifest).describe('The oldest first.'),
	damaged: z.array(z.string()).describe('What is listed in the repository and cannot be read, in words.'),
});

export const manifestsQuery = z.strictObject({
	volume: z.string().max(512).optional().describe('Name or UUID of the volume that was archived.'),
});

export const newExport = z.strictObject({
	volume: name,
	snapshot: name,
	bytesPerSecond: z.int().positive().optional().describe('What is sent, at most.'),
	full: z.boolean().default(false).describe('Reads everything, whatever was archived before.'),
});

export const newRestore = z.strictObject({
	volume: name.describe('Of the volume that appears when everything is there and verified.'),
	overwrite: z.boolean().default(false).describe('A volume of that name, which nothing may map, is replaced; it stays under another name.'),
	keepAs: name.optional().describe('The other name, with overwrite.'),
	lazy: z.boolean().default(false).describe('It appears at once; what is asked for is fetched, and all else in the background.'),
});

export const newVerify = z
	.strictObject({
		full: z.boolean().default(false).describe('Reads every byte; else manifests, and that every chunk exists.'),
		repair: z.boolean().default(false).describe('Puts back what this appliance still has in its snapshots.'),
	})
	.nullish();

export const newGc = z
	.strictObject({ graceSeconds: z.number().nonnegative().max(31_536_000).optional().describe('What is younger is left alone.') })
	.nullish();

export const pruned = z.object({ repository: name, manifests: z.array(manifest).describe('That no rule keeps.'), kept: count });

export const deletionQuery = z.strictObject({
	where: z
		.enum(['remote', 'both'])
		.default('remote')
		.describe('both: the repository first, then the snapshot of this appliance. A failure leaves both.'),
});

export const deletion = z.object({
	repository: name,
	manifest: z.string(),
	remote: z.enum(['deleted', 'notFound']),
	local: z.enum(['deleted', 'notFound', 'kept']),
	stillArchived: z
		.array(z.object({ repository: name, manifest: z.string() }))
		.describe('Other places of the snapshot that was deleted here.'),
});

const archivedPlace = z.object({
	repository: name,
	manifest: z.string(),
	state: z.enum(['there', 'unknown']).describe('unknown: it was put there, and the repository does not answer now.'),
});

export const archivedPlaces = z.object({ archived: z.array(archivedPlace) });

export const snapshotDeletion = z.object({
	deleted: z.string(),
	archived: z.array(archivedPlace).describe('Where it still lives.'),
	deletedFrom: z.array(z.object({ repository: name, manifest: z.string() })),
});

export const job = z.object({
	id: z.int(),
	kind: z.enum(['export', 'restore', 'verify', 'gc', 'prune']),
	repository: name,
	state: z.enum(['waiting', 'running', 'done', 'failed', 'cancelled']),
	volume: name.optional(),
	snapshot: name.optional(),
	manifest: z.string().optional(),
	done: z.number().optional().describe('0 to 1.'),
	numbers: z.record(z.string(), z.number()).optional().describe('How far it is, or what it came to.'),
	result: z.record(z.string(), z.unknown()).optional(),
	fault: z.string().optional().describe('Why it failed, or what it waits for.'),
	retryAt: z.string().optional(),
	attempts: count,
	createdAt: z.string(),
	finishedAt: z.string().optional(),
});

export const jobs = z.object({ jobs: z.array(job).describe('The newest first.') });

export const repositoryParameters = z.object({ repository: name });
export const manifestParameters = z.object({ repository: name, manifest: name });
export const jobParameters = z.object({ job: z.coerce.number<string>().int().nonnegative() });

export type RepositoryView = z.infer<typeof repository>;
export type RepositoryDetailView = z.infer<typeof repositoryDetail>;
export type NewRepositoryWish = z.infer<typeof newRepository>;
export type RepositoryChangeWish = z.infer<typeof repositoryChange>;
export type ManifestView = z.infer<typeof manifest>;
export type ManifestsView = z.infer<typeof manifests>;
export type ExportWish = z.infer<typeof newExport>;
export type RestoreWish = z.infer<typeof newRestore>;
export type VerifyWish = NonNullable<z.infer<typeof newVerify>>;
export type GcWish = NonNullable<z.infer<typeof newGc>>;
export type PruneView = z.infer<typeof pruned>;
export type DeletionView = z.infer<typeof deletion>;
export type ArchivedPlaceView = z.infer<typeof archivedPlace>;
export type SnapshotDeletionView = z.infer<typeof snapshotDeletion>;
export type ArchiveJobView = z.infer<typeof job>;
