import type { FastifyPluginCallback } from 'fastify';
import { failed, typed } from './routes.ts';
import { volumeParameters } from './schemas.ts';
import * as schemas from './scrub-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. */
export interface ScrubOperations {
	view(volume: string): schemas.ScrubView;
	/** Begins, or goes on; one that runs goes on as it is. */
	begin(volume: string, wish: schemas.NewScrub): Promise<schemas.ScrubView>;
	/** Gives up what runs or waits. */
	end(volume: string): Promise<schemas.ScrubView>;
	setTimes(volume: string, times: schemas.ScrubTimes | undefined): Promise<schemas.ScrubView>;
}

export function scrubRoutes(operations: ScrubOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = volumeParameters;
		const path = '/v1/volumes/:volume/scrub';
		const answer = { 200: schemas.scrub, ...failed };
		app.get(
			path,
			{ schema: { summary: 'The scrub of a volume: every page against its checksum', params, response: answer } },
			({ params }) => operations.view(params.volume),
		);
		app.post(
			path,
			{ schema: { summary: 'Scrub a volume', params, body: schemas.newScrub, response: { 202: schemas.scrub, ...failed } } },
			async ({ params, body }, reply) => reply.code(202).send(await operations.begin(params.volume, body ?? {})),
		);
		app.delete(path, { schema: { summary: 'Give the scrub up that runs', params, response: answer } }, ({ params }) =>
			operations.end(params.volume),
		);
		app.put(
			`${path}/times`,
			{ schema: { summary: 'Scrub a volume by the clock', params, body: schemas.scrubTimes, response: answer } },
			({ params, body }) => operations.setTimes(params.volume, body),
		);
		app.delete(`${path}/times`, { schema: { summary: 'Scrub a volume by the clock no longer', params, response: answer } }, ({ params }) =>
			operations.setTimes(params.volume, undefined),
		);
		done();
	};
}
