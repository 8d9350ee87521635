import type { FastifyPluginCallback } from 'fastify';
import type { EventLog } from './event-log.ts';
import type { ShadowVolumes } from './shadow-volumes.ts';
import type { ApplianceSnapshots } from './snapshots.ts';
import { StreamExports } from './streams-exports.ts';
import { StreamImports } from './streams-imports.ts';
import type { Volumes } from './volumes.ts';

export interface StreamsParts {
	readonly volumes: Volumes;
	readonly snapshots: Pick<ApplianceSnapshots, 'readers'>;
	readonly shadows: ShadowVolumes;
	readonly events: EventLog;
	readonly importIdleMs?: number;
}

/** Images that go out and come in. */
export class ApplianceStreams {
	readonly exports: StreamExports;
	readonly imports: StreamImports;

	constructor({ volumes, snapshots, shadows, events, importIdleMs }: StreamsParts) {
		this.exports = new StreamExports({ volumes, events });
		this.imports = new StreamImports({ shadows, events, ...(importIdleMs === undefined ? {} : { idleMs: importIdleMs }) });
		volumes.readers.push(this.exports);
		snapshots.readers.push((volumeUuid, snapshot) => this.exports.isExporting(volumeUuid, snapshot));
	}

	/** Before the volumes are closed. */
	async closeAll(): Promise<void> {
		await Promise.all([this.exports.closeAll(), this.imports.closeAll()]);
	}

	/** Not at the top: the listeners answer while these are loaded. */
	async routes(): Promise<FastifyPluginCallback> {
		const { streamRoutes } = await import('../admin/stream-routes.ts');
		const { exports, imports } = this;
		return streamRoutes({
			open: (volume, snapshot, format) => exports.open(volume, snapshot, format),
			extents: (volume, snapshot, fromBytes) => exports.extents(volume, snapshot, fromBytes),
			imports: () => imports.list(),
			import: (id) => imports.view(id),
			begin: (wish) => imports.begin(wish),
			put: (id, part) => imports.put(id, part),
			zero: (id, range) => imports.zero(id, range),
			finish: (id, lengthBytes) => imports.finish(id, lengthBytes),
			cancel: (id) => imports.cancel(id),
		});
	}
}
