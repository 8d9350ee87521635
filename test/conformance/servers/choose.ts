import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Blockport } from './blockport.ts';
import type { ServerSettings, TargetServer } from './target-server.ts';
import { Tgtd } from './tgtd.ts';

/** Blockport, or tgtd with CONFORMANCE_SERVER=tgtd (to try a lane out against a target that is known to work). */
export function makeServer(settings: ServerSettings): TargetServer {
	return process.env.CONFORMANCE_SERVER === 'tgtd' ? new Tgtd(settings) : new Blockport(settings);
}

/** A temporary folder for a lane, removed afterwards; a server that the body left running is killed. */
export async function inFolder(name: string, body: (folder: string, started: TargetServer[]) => Promise<void>): Promise<void> {
	const folder = await mkdtemp(join(tmpdir(), `blockport-${name}-`));
	const started: TargetServer[] = [];
	try {
		await body(folder, started);
	} finally {
		for (const server of started) await server.kill().catch(() => undefined);
		await rm(folder, { recursive: true, force: true });
	}
}
