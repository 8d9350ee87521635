import type { FastifyPluginCallback } from 'fastify';
import { UsageError } from '../config/usage-error.ts';
import { type EventView, eventQuery, events } from './event-schemas.ts';
import { failed, typed } from './routes.ts';

/** Where events come from. */
export interface EventSource {
	after(sequence: number, limit: number): EventView[];
	/** Undefined when so many listen already. */
	listen(listener: (event: EventView) => void): (() => void) | undefined;
}

/** What a client that does not read may have waiting before its stream ends. */
const unreadBytesMax = 256 * 1024;

export function eventRoutes(source: EventSource): FastifyPluginCallback {
	return (instance, _options, done) => {
		const app = typed(instance);
		app.get(
			'/v1/events',
			{ schema: { summary: 'The last events, the oldest first', querystring: eventQuery, response: { 200: events, ...failed } } },
			(request) => ({ events: source.after(request.query.after, request.query.limit) }),
		);
		// Server-sent events (WHATWG HTML §9.2). Last-Event-ID goes on where a stream broke off, as far as events are remembered.
		app.get('/v1/events/stream', { schema: { hide: true } }, (request, reply) => {
			const response = reply.raw;
			const send = ({ sequence, kind, ...rest }: EventView): void => {
				response.write(`id: ${sequence}\nevent: ${kind}\ndata: ${JSON.stringify({ sequence, kind, ...rest })}\n\n`);
				if (response.writableLength > unreadBytesMax) response.destroy();
			};
			const end = source.listen(send);
			if (end === undefined) throw new UsageError('As many as may do so follow the events already: end one of them first.', 'unavailable');
			response.on('close', end);
			reply.hijack();
			response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
			response.flushHeaders();
			const last = Number(request.headers['last-event-id'] ?? Number.NaN);
			if (Number.isSafeInteger(last)) for (const event of source.after(last, Infinity)) send(event);
		});
		done();
	};
}
