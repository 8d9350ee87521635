import type { FastifyPluginCallback } from 'fastify';
import * as schemas from './history-schemas.ts';
import { failed, typed } from './routes.ts';
import { volumeParameters } from './schemas.ts';
import { type RestoredView, type SnapshotView, restored, snapshot } from './snapshot-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. */
export interface HistoryOperations {
	view(volume: string): schemas.HistoryView;
	/** Begins a history, or changes how long it is. */
	keep(volume: string, wish: schemas.HistoryWish): Promise<schemas.HistoryView>;
	end(volume: string): Promise<schemas.HistoryView>;
	/** Makes a snapshot of what the volume held at a moment. */
	show(volume: string, name: string, moment: schemas.MomentWish): Promise<SnapshotView>;
	restore(volume: string, wish: schemas.MomentWish & { readonly keepLiveAs?: string | undefined }): Promise<RestoredView>;
}

export function historyRoutes(operations: HistoryOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = volumeParameters;
		const path = '/v1/volumes/:volume/history';
		const answer = { 200: schemas.history, ...failed };
		app.get(path, { schema: { summary: 'How far back a volume can be put', params, response: answer } }, ({ params }) =>
			operations.view(params.volume),
		);
		app.put(
			path,
			{ schema: { summary: 'Keep a history of a volume', params, body: schemas.newHistory, response: answer } },
			({ params, body }) => operations.keep(params.volume, body),
		);
		app.delete(path, { schema: { summary: 'Keep no history of a volume any more', params, response: answer } }, ({ params }) =>
			operations.end(params.volume),
		);
		app.post(
			'/v1/volumes/:volume/rewind',
			{
				schema: {
					summary: 'Make a snapshot of what a volume held at a moment of its history',
					params,
					body: schemas.rewind,
					response: { 201: snapshot, ...failed },
				},
			},
			async ({ params, body: { name, ...moment } }, reply) => reply.code(201).send(await operations.show(params.volume, name, moment)),
		);
		app.post(
			'/v1/volumes/:volume/rewind/restore',
			{
				schema: {
					summary: 'Make a volume what it was at a moment of its history',
					params,
					body: schemas.rewindRestore,
					response: { 200: restored, ...failed },
				},
			},
			({ params, body }) => operations.restore(params.volume, body),
		);
		done();
	};
}
