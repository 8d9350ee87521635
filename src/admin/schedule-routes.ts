import type { FastifyPluginCallback } from 'fastify';
import { failed, nothing, typed } from './routes.ts';
import * as schemas from './schedule-schemas.ts';

/** What the routes ask of the appliance, with the manners of Operations. */
export interface ScheduleOperations {
	list(): schemas.ScheduleView[];
	show(name: string): schemas.ScheduleDetailView;
	create(schedule: schemas.NewSchedule): Promise<schemas.ScheduleView>;
	change(name: string, change: schemas.ScheduleChangeWish): Promise<schemas.ScheduleView>;
	delete(name: string): Promise<void>;
	run(name: string): Promise<schemas.ScheduleRunView>;
}

export function scheduleRoutes(operations: ScheduleOperations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		const params = schemas.scheduleParameters;
		app.get('/v1/schedules', { schema: { summary: 'All schedules', response: { 200: schemas.schedules, ...failed } } }, () => ({
			schedules: operations.list(),
		}));
		app.post(
			'/v1/schedules',
			{ schema: { summary: 'Make a schedule of snapshots', body: schemas.newSchedule, response: { 201: schemas.schedule, ...failed } } },
			async (request, reply) => reply.code(201).send(await operations.create(request.body)),
		);
		app.get(
			'/v1/schedules/:schedule',
			{ schema: { summary: 'One schedule, with what it made', params, response: { 200: schemas.scheduleDetail, ...failed } } },
			(request) => operations.show(request.params.schedule),
		);
		app.patch(
			'/v1/schedules/:schedule',
			{ schema: { summary: 'Change a schedule', params, body: schemas.scheduleChange, response: { 200: schemas.schedule, ...failed } } },
			(request) => operations.change(request.params.schedule, request.body),
		);
		app.delete(
			'/v1/schedules/:schedule',
			{ schema: { summary: 'Delete a schedule; the snapshots that it made stay', params, response: { 204: nothing, ...failed } } },
			async (request, reply) => {
				await operations.delete(request.params.schedule);
				return reply.code(204).send(null);
			},
		);
		app.post(
			'/v1/schedules/:schedule/run',
			{
				schema: {
					summary: 'Make a snapshot now, and delete what no rule keeps',
					params,
					response: { 200: schemas.scheduleRun, ...failed },
				},
			},
			(request) => operations.run(request.params.schedule),
		);
		done();
	};
}
