import type { FastifyPluginCallback } from 'fastify';
import { failed, nothing, typed } from './routes.ts';
import { type VolumeView, volume as volumeSchema, volumeParameters } from './schemas.ts';
import * as schemas from './snapshot-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. */
export interface SnapshotOperations {
	/** Of one volume, or of all that are open; oldest first. */
	views(volume?: string): schemas.SnapshotView[];
	view(volume: string, name: string): schemas.SnapshotView;
	make(snapshot: schemas.NewSnapshot): Promise<schemas.SnapshotView[]>;
	remove(volume: string, name: string): Promise<void>;
	restore(volume: string, name: string, wish: schemas.RestoreWish): Promise<schemas.RestoredView>;
	clone(volume: string, name: string, newVolume: string): Promise<VolumeView>;
	/** Has a clone stand on its own. */
	flatten(volume: string): Promise<schemas.MergeView>;
	merge(volume: string): Promise<schemas.MergeView>;
	mount(volume: string, name: string, wish: schemas.MountWish): Promise<schemas.SnapshotView>;
	unmount(volume: string, name: string): Promise<void>;
	/** What the volume and each snapshot hold: all page maps are read. */
	space(volume: string): Promise<schemas.SpaceView>;
	changes(volume: string, from: string, to: string | undefined, limit: number): Promise<schemas.ChangesView>;
}

export function snapshotRoutes(operations: SnapshotOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = schemas.snapshotParameters;
		const one = '/v1/volumes/:volume/snapshots/:snapshot';
		app.get('/v1/snapshots', { schema: { summary: 'All snapshots', response: { 200: schemas.snapshots, ...failed } } }, () => ({
			snapshots: operations.views(),
		}));
		app.post(
			'/v1/snapshots',
			{ schema: { summary: 'Make a snapshot', body: schemas.newSnapshot, response: { 201: schemas.snapshots, ...failed } } },
			async (request, reply) => reply.code(201).send({ snapshots: await operations.make(request.body) }),
		);
		app.get(
			'/v1/volumes/:volume/snapshots',
			{
				schema: {
					summary: 'Snapshots of a volume, the oldest first',
					params: volumeParameters,
					response: { 200: schemas.snapshots, ...failed },
				},
			},
			(request) => ({ snapshots: operations.views(request.params.volume) }),
		);
		app.get(one, { schema: { summary: 'One snapshot', params, response: { 200: schemas.snapshot, ...failed } } }, ({ params }) =>
			operations.view(params.volume, params.snapshot),
		);
		app.delete(
			one,
			{ schema: { summary: 'Delete a snapshot that is not mounted', params, response: { 204: nothing, ...failed } } },
			async ({ params }, reply) => {
				await operations.remove(params.volume, params.snapshot);
				return reply.code(204).send(null);
			},
		);
		app.post(
			`${one}/restore`,
			{ schema: { summary: 'Make the volume what it was', params, body: schemas.restore, response: { 200: schemas.restored, ...failed } } },
			({ params, body }) => operations.restore(params.volume, params.snapshot, body ?? {}),
		);
		app.post(
			`${one}/clone`,
			{ schema: { summary: 'Make a volume of a snapshot', params, body: schemas.newClone, response: { 201: volumeSchema, ...failed } } },
			async ({ params, body }, reply) => reply.code(201).send(await operations.clone(params.volume, params.snapshot, body.name)),
		);
		app.post(
			'/v1/volumes/:volume/flatten',
			{ schema: { summary: 'Have a clone stand on its own', params: volumeParameters, response: { 202: schemas.merge, ...failed } } },
			async ({ params }, reply) => reply.code(202).send(await operations.flatten(params.volume)),
		);
		app.get(
			'/v1/volumes/:volume/merge',
			{
				schema: {
					summary: 'How far layers are merged that nobody needs',
					params: volumeParameters,
					response: { 200: schemas.merge, ...failed },
				},
			},
			({ params }) => operations.merge(params.volume),
		);
		app.get(
			'/v1/volumes/:volume/space',
			{
				schema: { summary: 'What a volume and its snapshots hold', params: volumeParameters, response: { 200: schemas.space, ...failed } },
			},
			({ params }) => operations.space(params.volume),
		);
		app.put(
			`${one}/mount`,
			{ schema: { summary: 'Export a snapshot read-only', params, body: schemas.mount, response: { 200: schemas.snapshot, ...failed } } },
			({ params, body }) => operations.mount(params.volume, params.snapshot, body),
		);
		app.delete(
			`${one}/mount`,
			{ schema: { summary: 'Export a snapshot no longer', params, response: { 204: nothing, ...failed } } },
			async ({ params }, reply) => {
				await operations.unmount(params.volume, params.snapshot);
				return reply.code(204).send(null);
			},
		);
		app.get(
			`${one}/changes`,
			{
				schema: {
					summary: 'What was written between a snapshot and a later one, or now',
					params,
					querystring: schemas.changesQuery,
					response: { 200: schemas.changes, ...failed },
				},
			},
			({ params, query }) => operations.changes(params.volume, params.snapshot, query.to, query.limit),
		);
		done();
	};
}
