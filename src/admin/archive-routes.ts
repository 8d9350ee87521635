import type { FastifyPluginCallback } from 'fastify';
import * as schemas from './archive-schemas.ts';
import { failed, nothing, typed } from './routes.ts';
import { snapshotParameters } from './snapshot-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. What takes long is a job: it goes on when whoever asked is gone, and after a restart. */
export interface ArchiveOperations {
	repositories(): schemas.RepositoryView[];
	/** Asks the repository itself. */
	repository(name: string): Promise<schemas.RepositoryDetailView>;
	addRepository(wish: schemas.NewRepositoryWish): Promise<schemas.RepositoryView>;
	changeRepository(name: string, change: schemas.RepositoryChangeWish): Promise<schemas.RepositoryView>;
	/** What is in it stays. */
	removeRepository(name: string): Promise<void>;
	manifests(repository: string, volume?: string): Promise<schemas.ManifestsView>;
	manifest(repository: string, manifest: string): Promise<schemas.ManifestView>;
	export(repository: string, wish: schemas.ExportWish): Promise<schemas.ArchiveJobView>;
	restore(repository: string, manifest: string, wish: schemas.RestoreWish): Promise<schemas.ArchiveJobView>;
	verify(repository: string, wish: schemas.VerifyWish): Promise<schemas.ArchiveJobView>;
	gc(repository: string, wish: schemas.GcWish): Promise<schemas.ArchiveJobView>;
	/** What no rule keeps now; UsageError for a repository without rules. */
	prunable(repository: string): Promise<schemas.PruneView>;
	prune(repository: string): Promise<schemas.ArchiveJobView>;
	deleteManifest(repository: string, manifest: string, where: 'remote' | 'both'): Promise<schemas.DeletionView>;
	/** From the repositories that this appliance put it into, and then here. */
	deleteSnapshot(volume: string, snapshot: string): Promise<schemas.SnapshotDeletionView>;
	/** Where this appliance has put a snapshot, as far as the repositories say so now. */
	archived(volume: string, snapshot: string): Promise<schemas.ArchivedPlaceView[]>;
	jobs(): schemas.ArchiveJobView[];
	job(id: number): schemas.ArchiveJobView;
	cancel(id: number): Promise<schemas.ArchiveJobView>;
}

export function archiveRoutes(operations: ArchiveOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = schemas.repositoryParameters;
		const one = '/v1/repositories/:repository';
		app.get('/v1/repositories', { schema: { summary: 'All repositories', response: { 200: schemas.repositories, ...failed } } }, () => ({
			repositories: operations.repositories(),
		}));
		app.post(
			'/v1/repositories',
			{
				schema: {
					summary: 'Add a repository that is there, or make one',
					body: schemas.newRepository,
					response: { 201: schemas.repository, ...failed },
				},
			},
			async ({ body }, reply) => reply.code(201).send(await operations.addRepository(body)),
		);
		app.get(
			one,
			{ schema: { summary: 'One repository, as it answers now', params, response: { 200: schemas.repositoryDetail, ...failed } } },
			({ params }) => operations.repository(params.repository),
		);
		app.patch(
			one,
			{
				schema: {
					summary: 'Change secrets and rules',
					params,
					body: schemas.repositoryChange,
					response: { 200: schemas.repository, ...failed },
				},
			},
			({ params, body }) => operations.changeRepository(params.repository, body),
		);
		app.delete(
			one,
			{ schema: { summary: 'Forget a repository; what is in it stays', params, response: { 204: nothing, ...failed } } },
			async ({ params }, reply) => {
				await operations.removeRepository(params.repository);
				return reply.code(204).send(null);
			},
		);
		app.get(
			`${one}/manifests`,
			{
				schema: {
					summary: 'Archived snapshots, whoever archived them',
					params,
					querystring: schemas.manifestsQuery,
					response: { 200: schemas.manifests, ...failed },
				},
			},
			({ params, query }) => operations.manifests(params.repository, query.volume),
		);
		app.post(
			`${one}/exports`,
			{ schema: { summary: 'Archive a snapshot', params, body: schemas.newExport, response: { 202: schemas.job, ...failed } } },
			async ({ params, body }, reply) => reply.code(202).send(await operations.export(params.repository, body)),
		);
		app.post(
			`${one}/verify`,
			{ schema: { summary: 'Verify what is there', params, body: schemas.newVerify, response: { 202: schemas.job, ...failed } } },
			async ({ params, body }, reply) =>
				reply.code(202).send(await operations.verify(params.repository, body ?? { full: false, repair: false })),
		);
		app.post(
			`${one}/gc`,
			{
				schema: { summary: 'Remove chunks that no manifest needs', params, body: schemas.newGc, response: { 202: schemas.job, ...failed } },
			},
			async ({ params, body }, reply) => reply.code(202).send(await operations.gc(params.repository, body ?? {})),
		);
		app.get(
			`${one}/prune`,
			{ schema: { summary: 'Archived snapshots that no rule keeps', params, response: { 200: schemas.pruned, ...failed } } },
			({ params }) => operations.prunable(params.repository),
		);
		app.post(
			`${one}/prune`,
			{ schema: { summary: 'Delete archived snapshots that no rule keeps', params, response: { 202: schemas.job, ...failed } } },
			async ({ params }, reply) => reply.code(202).send(await operations.prune(params.repository)),
		);
		manifestRoutes(app, operations);
		jobRoutes(app, operations);
		done();
	};
}

function manifestRoutes(app: ReturnType<typeof typed>, operations: ArchiveOperations): void {
	const params = schemas.manifestParameters;
	const one = '/v1/repositories/:repository/manifests/:manifest';
	app.get(one, { schema: { summary: 'One archived snapshot', params, response: { 200: schemas.manifest, ...failed } } }, ({ params }) =>
		operations.manifest(params.repository, params.manifest),
	);
	app.post(
		`${one}/restore`,
		{ schema: { summary: 'Make a volume of it', params, body: schemas.newRestore, response: { 202: schemas.job, ...failed } } },
		async ({ params, body }, reply) => reply.code(202).send(await operations.restore(params.repository, params.manifest, body)),
	);
	app.delete(
		one,
		{
			schema: {
				summary: 'Delete an archived snapshot; its chunks go with the next collection',
				params,
				querystring: schemas.deletionQuery,
				response: { 200: schemas.deletion, ...failed },
			},
		},
		({ params, query }) => operations.deleteManifest(params.repository, params.manifest, query.where),
	);
	app.delete(
		'/v1/volumes/:volume/snapshots/:snapshot/everywhere',
		{
			schema: {
				summary: 'Delete a snapshot from the repositories that this appliance put it into, and then here',
				params: snapshotParameters,
				response: { 200: schemas.snapshotDeletion, ...failed },
			},
		},
		({ params }) => operations.deleteSnapshot(params.volume, params.snapshot),
	);
	app.get(
		'/v1/volumes/:volume/snapshots/:snapshot/archived',
		{
			schema: {
				summary: 'Where this appliance has archived a snapshot',
				params: snapshotParameters,
				response: { 200: schemas.archivedPlaces, ...failed },
			},
		},
		async ({ params }) => ({ archived: await operations.archived(params.volume, params.snapshot) }),
	);
}

function jobRoutes(app: ReturnType<typeof typed>, operations: ArchiveOperations): void {
	const params = schemas.jobParameters;
	app.get('/v1/archive/jobs', { schema: { summary: 'Archive jobs', response: { 200: schemas.jobs, ...failed } } }, () => ({
		jobs: operations.jobs(),
	}));
	app.get(
		'/v1/archive/jobs/:job',
		{ schema: { summary: 'One archive job', params, response: { 200: schemas.job, ...failed } } },
		({ params }) => operations.job(params.job),
	);
	app.delete(
		'/v1/archive/jobs/:job',
		{ schema: { summary: 'Cancel a job that has not ended', params, response: { 200: schemas.job, ...failed } } },
		({ params }) => operations.cancel(params.job),
	);
}
