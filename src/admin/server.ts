import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance, type FastifyPluginCallback, type FastifyReply } from 'fastify';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { Server } from 'node:http';
import type { Logger } from '../os/logger.ts';
import { errorAnswer } from './errors.ts';
import { type Guard, refuse } from './guard.ts';
import { type TlsFiles, closeServer, httpServer, listenTcp, listenUnix } from './listen.ts';
import { type Metric, type Metrics, openMetrics } from './metrics.ts';
import type { Operations } from './operations.ts';
import { healthRoutes, targetRoutes, unknownRoute, volumeRoutes } from './routes.ts';
import { subsystemRoutes } from './subsystem-routes.ts';

/** The largest body of any route is a name and two numbers. */
const bodyBytesMax = 64 * 1024;

export interface AdminServerOptions {
	readonly operations: Operations;
	readonly log: Logger;
	readonly version: string;
	/** Routes beside those of `operations`. */
	readonly more?: readonly FastifyPluginCallback[];
	/** Metrics beside those of `operations`. */
	readonly moreMetrics?: () => Iterable<Metric>;
}

/** The admin HTTP API, on a Unix socket and on TCP. The listeners share one set of routes; only the TCP side is guarded, as the socket's file mode guards the other. */
export class AdminServer {
	readonly #app: FastifyInstance;
	readonly #servers: Server[] = [];

	private constructor(app: FastifyInstance) {
		this.#app = app;
	}

	static async create(options: AdminServerOptions): Promise<AdminServer> {
		// Addresses that cannot be read are refused before the error handler below is reached.
		const answerError = (error: Error, _request: unknown, reply: FastifyReply): void => {
			const { status, body } = errorAnswer(error);
			reply.code(status).send(body);
		};
		const app = fastify({ logger: false, bodyLimit: bodyBytesMax, routerOptions: { maxParamLength: 1024 }, frameworkErrors: answerError });
		app.setValidatorCompiler(validatorCompiler);
		app.setSerializerCompiler(serializerCompiler);
		app.removeContentTypeParser('text/plain');
		app.setErrorHandler((error, request, reply) => {
			const { status, body } = errorAnswer(error);
			if (status === 500) options.log.error({ err: error, method: request.method, url: request.url }, 'an admin request failed');
			return reply.code(status).send(body);
		});
		app.setNotFoundHandler((request) => unknownRoute(request.method, request.url));
		await app.register(swagger, {
			openapi: { openapi: '3.1.0', info: { title: 'Blockport', description: 'Admin API of one appliance.', version: options.version } },
			transform: jsonSchemaTransform,
		});
		await app.register(healthRoutes(options.operations));
		await app.register(volumeRoutes(options.operations));
		await app.register(targetRoutes(options.operations));
		await app.register(subsystemRoutes(options.operations));
		for (const routes of options.more ?? []) await app.register(routes);
		let description: string | undefined;
		app.get('/v1/openapi.json', { schema: { hide: true } }, (_request, reply) =>
			reply.type('application/json').send((description ??= JSON.stringify(app.swagger()))),
		);
		let metrics: Promise<Metrics> | undefined;
		app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
			metrics ??= openMetrics(options.operations, options.moreMetrics);
			const opened = await metrics;
			return reply.type(opened.contentType).send(await opened.text());
		});
		await app.ready();
		return new AdminServer(app);
	}

	/** Rejects with UsageError when the path cannot be used. */
	async listenOnSocket(path: string): Promise<void> {
		const server = httpServer((request, response) => this.#app.routing(request, response));
		await listenUnix(server, path);
		this.#servers.push(server);
	}

	/** Rejects with the kernel's error (EADDRINUSE, EACCES, EADDRNOTAVAIL). Returns the port. */
	async listenOnTcp(host: string, port: number, guard: Guard, tls?: TlsFiles): Promise<number> {
		const server = httpServer((request, response) => {
			const refused = refuse(request, guard);
			if (refused === undefined) {
				this.#app.routing(request, response);
				return;
			}
			// The body is not read: the connection ends with the answer.
			response.writeHead(refused.status, { 'content-type': 'application/json', connection: 'close' });
			response.end(JSON.stringify(refused.body));
		}, tls);
		const chosen = await listenTcp(server, host, port);
		this.#servers.push(server);
		return chosen;
	}

	async close(): Promise<void> {
		await Promise.all(this.#servers.splice(0).map((server) => closeServer(server)));
		await this.#app.close();
	}
}
