import type { FastifyPluginCallback } from 'fastify';
import { failed, typed } from './routes.ts';
import { volumeParameters } from './schemas.ts';
import * as schemas from './space-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. */
export interface SpaceOperations {
	limits(volume: string): schemas.VolumeLimitsView;
	setLimits(volume: string, wish: schemas.VolumeLimitsWish): Promise<schemas.VolumeLimitsView>;
	directory(): Promise<schemas.DirectorySpaceView>;
	setDirectory(wish: schemas.DirectorySpaceWish): Promise<schemas.DirectorySpaceView>;
}

export function spaceRoutes(operations: SpaceOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = volumeParameters;
		const path = '/v1/volumes/:volume/limits';
		const answer = { 200: schemas.volumeLimits, ...failed };
		app.get(path, { schema: { summary: 'Quota and threshold of a volume', params, response: answer } }, ({ params }) =>
			operations.limits(params.volume),
		);
		app.patch(
			path,
			{ schema: { summary: 'Set quota and threshold of a volume', params, body: schemas.volumeLimitsWish, response: answer } },
			({ params, body }) => operations.setLimits(params.volume, body),
		);
		app.get('/v1/space', { schema: { summary: 'Space of the data directory', response: { 200: schemas.directorySpace, ...failed } } }, () =>
			operations.directory(),
		);
		app.put(
			'/v1/space',
			{
				schema: {
					summary: 'Set from where on the space of the data directory is too little',
					body: schemas.directorySpaceWish,
					response: { 200: schemas.directorySpace, ...failed },
				},
			},
			({ body }) => operations.setDirectory(body),
		);
		done();
	};
}
