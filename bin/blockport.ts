import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { main } from '../src/cli/main.ts';

for (const stream of [process.stdout, process.stderr]) {
	// `blockport volume list | head`: whoever reads has read enough.
	stream.on('error', (error: NodeJS.ErrnoException) => {
		if (error.code !== 'EPIPE') throw error;
	});
}

/** package.json is one folder up, and two when this runs from dist/. */
function packageVersion(): string {
	for (let folder = dirname(import.meta.dirname), depth = 0; depth < 2; folder = dirname(folder), depth++) {
		const path = join(folder, 'package.json');
		if (!existsSync(path)) continue;
		const manifest = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
		return manifest.version;
	}
	return 'unknown';
}

const code = await main(process.argv.slice(2), {
	version: packageVersion(),
	// What serves is loaded by what serves: a client command starts without the engine.
	makeServer: async (settings) => (await import('../src/appliance.ts')).makeServer(settings, packageVersion()),
	checkVolume: async (dataDirectory, volume) => (await import('../src/appliance/check-offline.ts')).checkOffline(dataDirectory, volume),
});
// Nothing that is still open may keep the process: everything that has to be closed is.
process.stdout.write('', () => process.exit(code));
