import type { FastifyPluginCallback } from 'fastify';
import type { Operations } from './operations.ts';
import { failed, nothing, typed } from './routes.ts';
import * as schemas from './schemas.ts';

export function subsystemRoutes(operations: Operations): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		app.get('/v1/subsystems', { schema: { summary: 'All NVM subsystems', response: { 200: schemas.subsystems, ...failed } } }, () => ({
			subsystems: operations.subsystems(),
		}));
		app.post(
			'/v1/subsystems',
			{ schema: { summary: 'Make a subsystem', body: schemas.newSubsystem, response: { 201: schemas.subsystem, ...failed } } },
			async (request, reply) => reply.code(201).send(await operations.createSubsystem(request.body)),
		);
		app.get(
			'/v1/subsystems/:subsystem',
			{ schema: { summary: 'One subsystem', params: schemas.subsystemParameters, response: { 200: schemas.subsystem, ...failed } } },
			(request) => operations.subsystem(request.params.subsystem),
		);
		app.delete(
			'/v1/subsystems/:subsystem',
			{
				schema: {
					summary: 'Delete a subsystem; its controllers end and its volumes stay',
					params: schemas.subsystemParameters,
					response: { 204: nothing, ...failed },
				},
			},
			async (request, reply) => {
				await operations.deleteSubsystem(request.params.subsystem);
				return reply.code(204).send(null);
			},
		);
		app.post(
			'/v1/subsystems/:subsystem/namespaces',
			{
				schema: {
					summary: 'Map a volume as a namespace',
					params: schemas.subsystemParameters,
					body: schemas.newNamespace,
					response: { 201: schemas.namespaceMapping, ...failed },
				},
			},
			async (request, reply) => reply.code(201).send(await operations.mapNamespace(request.params.subsystem, request.body)),
		);
		app.put(
			'/v1/subsystems/:subsystem/namespaces/:nsid',
			{
				schema: {
					summary: 'Map a volume as the namespace of that identifier',
					params: schemas.namespaceParameters,
					body: schemas.mappedVolume,
					response: { 200: schemas.namespaceMapping, ...failed },
				},
			},
			(request) => operations.mapNamespace(request.params.subsystem, { volume: request.body.volume, nsid: request.params.nsid }),
		);
		app.delete(
			'/v1/subsystems/:subsystem/namespaces/:nsid',
			{ schema: { summary: 'Unmap a namespace', params: schemas.namespaceParameters, response: { 204: nothing, ...failed } } },
			async (request, reply) => {
				await operations.unmapNamespace(request.params.subsystem, request.params.nsid);
				return reply.code(204).send(null);
			},
		);
		app.put(
			'/v1/subsystems/:subsystem/hosts/:host',
			{
				schema: {
					summary: 'Admit a host, or change how it proves itself',
					params: schemas.hostParameters,
					body: schemas.hostAccess,
					response: { 200: schemas.subsystem, ...failed },
				},
			},
			(request) => operations.allowHost(request.params.subsystem, request.params.host, request.body ?? {}),
		);
		app.delete(
			'/v1/subsystems/:subsystem/hosts/:host',
			{
				schema: {
					summary: 'Admit a host no longer; its controllers end',
					params: schemas.hostParameters,
					response: { 200: schemas.subsystem, ...failed },
				},
			},
			(request) => operations.disallowHost(request.params.subsystem, request.params.host),
		);
		app.get('/v1/controllers', { schema: { summary: 'NVMe controllers', response: { 200: schemas.controllers, ...failed } } }, () => ({
			controllers: operations.controllers(),
		}));
		done();
	};
}
