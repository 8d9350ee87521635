import type { FastifyInstance, FastifyPluginCallback } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { UsageError } from '../config/usage-error.ts';
import type { Operations } from './operations.ts';
import * as schemas from './schemas.ts';

export const failed = { '4xx': schemas.errorBody, '5xx': schemas.errorBody };
export const nothing = z.null().describe('Done.');

/** Health: no API version, for load balancers and service managers. */
export function healthRoutes(operations: Operations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		app.get('/healthz', { schema: { summary: 'The process answers', response: { 200: schemas.health } } }, () => ({
			status: 'ok' as const,
		}));
		app.get(
			'/readyz',
			{ schema: { summary: 'Every volume was opened or is faulted', response: { 200: schemas.health, 503: schemas.health } } },
			async (_request, reply) => {
				const { state } = operations;
				return reply.code(state === 'ready' ? 200 : 503).send({ status: state === 'ready' ? 'ok' : state });
			},
		);
		done();
	};
}

export function volumeRoutes(operations: Operations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		app.get('/v1/status', { schema: { summary: 'State of the appliance', response: { 200: schemas.status, ...failed } } }, () =>
			operations.status(),
		);
		app.get('/v1/volumes', { schema: { summary: 'All volumes', response: { 200: schemas.volumes, ...failed } } }, async () => ({
			volumes: await operations.volumes(),
		}));
		app.post(
			'/v1/volumes',
			{ schema: { summary: 'Make a thin volume', body: schemas.newVolume, response: { 201: schemas.volume, ...failed } } },
			async (request, reply) => reply.code(201).send(await operations.createVolume(request.body)),
		);
		app.get(
			'/v1/volumes/:volume',
			{ schema: { summary: 'One volume', params: schemas.volumeParameters, response: { 200: schemas.volume, ...failed } } },
			(request) => operations.volume(request.params.volume),
		);
		app.patch(
			'/v1/volumes/:volume',
			{
				schema: {
					summary: 'Grow a volume, or let initiators sanitize it',
					params: schemas.volumeParameters,
					body: schemas.volumeChange,
					response: { 200: schemas.volume, ...failed },
				},
			},
			({ params, body: { sizeBytes, sanitizable } }) =>
				sizeBytes === undefined
					? operations.setSanitizable(params.volume, sanitizable === true)
					: operations.resizeVolume(params.volume, sizeBytes),
		);
		app.delete(
			'/v1/volumes/:volume',
			{ schema: { summary: 'Delete a volume and its data', params: schemas.volumeParameters, response: { 204: nothing, ...failed } } },
			async (request, reply) => {
				await operations.deleteVolume(request.params.volume);
				return reply.code(204).send(null);
			},
		);
		done();
	};
}

export function targetRoutes(operations: Operations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		app.get('/v1/targets', { schema: { summary: 'All targets', response: { 200: schemas.targets, ...failed } } }, () => ({
			targets: operations.targets(),
		}));
		app.post(
			'/v1/targets',
			{ schema: { summary: 'Make a target', body: schemas.newTarget, response: { 201: schemas.target, ...failed } } },
			async (request, reply) => reply.code(201).send(await operations.createTarget(request.body)),
		);
		app.get(
			'/v1/targets/:target',
			{ schema: { summary: 'One target', params: schemas.targetParameters, response: { 200: schemas.target, ...failed } } },
			(request) => operations.target(request.params.target),
		);
		app.delete(
			'/v1/targets/:target',
			{ schema: { summary: 'Delete a target; its volumes stay', params: schemas.targetParameters, response: { 204: nothing, ...failed } } },
			async (request, reply) => {
				await operations.deleteTarget(request.params.target);
				return reply.code(204).send(null);
			},
		);
		app.post(
			'/v1/targets/:target/luns',
			{
				schema: {
					summary: 'Map a volume',
					params: schemas.targetParameters,
					body: schemas.newMapping,
					response: { 201: schemas.lunMapping, ...failed },
				},
			},
			async (request, reply) => reply.code(201).send(await operations.map(request.params.target, request.body)),
		);
		app.put(
			'/v1/targets/:target/luns/:lun',
			{
				schema: {
					summary: 'Map a volume at a LUN',
					params: schemas.lunParameters,
					body: schemas.mappedVolume,
					response: { 200: schemas.lunMapping, ...failed },
				},
			},
			(request) => operations.map(request.params.target, { volume: request.body.volume, lun: request.params.lun }),
		);
		app.delete(
			'/v1/targets/:target/luns/:lun',
			{ schema: { summary: 'Unmap a LUN', params: schemas.lunParameters, response: { 204: nothing, ...failed } } },
			async (request, reply) => {
				await operations.unmap(request.params.target, request.params.lun);
				return reply.code(204).send(null);
			},
		);
		app.put(
			'/v1/targets/:target/initiators/:initiator',
			{
				schema: {
					summary: 'Admit an initiator, or change how',
					params: schemas.initiatorParameters,
					body: schemas.initiatorAccess,
					response: { 200: schemas.target, ...failed },
				},
			},
			(request) => operations.allow(request.params.target, request.params.initiator, request.body ?? {}),
		);
		app.delete(
			'/v1/targets/:target/initiators/:initiator',
			{
				schema: {
					summary: 'Admit an initiator no longer',
					params: schemas.initiatorParameters,
					response: { 200: schemas.target, ...failed },
				},
			},
			(request) => operations.disallow(request.params.target, request.params.initiator),
		);
		app.put(
			'/v1/targets/:target/redirection',
			{
				schema: {
					summary: 'Send logins elsewhere, and ask initiators that are logged in to move',
					params: schemas.targetParameters,
					body: schemas.newRedirection,
					response: { 200: schemas.target, ...failed },
				},
			},
			(request) => operations.redirectTarget(request.params.target, request.body),
		);
		app.delete(
			'/v1/targets/:target/redirection',
			{ schema: { summary: 'Take logins again', params: schemas.targetParameters, response: { 200: schemas.target, ...failed } } },
			(request) => operations.redirectTarget(request.params.target, undefined),
		);
		app.get(
			'/v1/discovery/authentication',
			{ schema: { summary: 'Who proves itself in iSCSI discovery', response: { 200: schemas.chap, ...failed } } },
			() => operations.discoveryAuthentication(),
		);
		app.put(
			'/v1/discovery/authentication',
			{ schema: { summary: 'Ask for CHAP in iSCSI discovery', body: schemas.newChap, response: { 200: schemas.chap, ...failed } } },
			(request) => operations.setDiscoveryAuthentication(request.body),
		);
		app.delete(
			'/v1/discovery/authentication',
			{ schema: { summary: 'Ask for nothing in iSCSI discovery', response: { 204: nothing, ...failed } } },
			async (_request, reply) => {
				await operations.clearDiscoveryAuthentication();
				return reply.code(204).send(null);
			},
		);
		app.get('/v1/sessions', { schema: { summary: 'iSCSI sessions', response: { 200: schemas.sessions, ...failed } } }, () => ({
			sessions: operations.sessions(),
		}));
		done();
	};
}

export function unknownRoute(method: string, url: string): never {
	throw new UsageError(`There is no ${method} ${url.slice(0, 200)} in this API; GET /v1/openapi.json lists what there is.`, 'notFound');
}

export function typed(instance: FastifyInstance) {
	return instance.withTypeProvider<ZodTypeProvider>();
}
