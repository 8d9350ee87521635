import type { Configuration } from '../config/configuration.ts';
import type { Volumes } from './volumes.ts';

export const demoVolume = 'demo';
export const demoTarget = 'iqn.2026-11.dev.blockport:demo';
export const demoBytesDefault = 10 * 2 ** 30;

/** What `--demo` makes of a directory without configuration. A crash in between leaves a part, which the next start completes. */
export async function ensureDemo(configuration: Configuration, volumes: Volumes, sizeBytes: number): Promise<void> {
	const begun = configuration.targets().length === 0 && configuration.volumes().every((volume) => volume.name === demoVolume);
	const unmapped = configuration.findTarget(demoTarget)?.luns.length === 0 && configuration.findVolume(demoVolume) !== undefined;
	if (!begun && !unmapped) return;
	if (configuration.findVolume(demoVolume) === undefined) {
		await volumes.create({ name: demoVolume, sizeBytes, blockSize: 512 });
	}
	if (configuration.findTarget(demoTarget) === undefined) {
		configuration.addTarget({ name: demoTarget, alias: 'Blockport demo', openToAll: true });
	}
	configuration.map(demoTarget, demoVolume, 0);
}
