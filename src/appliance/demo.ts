import type { Configuration } from '../config/configuration.ts';
import type { Volumes } from './volumes.ts';

export const demoVolume = 'demo';
export const demoTarget = 'iqn.2026-11.dev.blockport:demo';
export const demoSubsystem = 'nqn.2026-11.dev.blockport:demo';
export const demoBytesDefault = 10 * 2 ** 30;

/** What the demo exports, as it is mapped now; undefined where somebody unmapped it. */
export interface Demo {
	readonly iscsi: { readonly target: string; readonly lun: number } | undefined;
	readonly nvme: { readonly subsystem: string; readonly nsid: number } | undefined;
}

/**
 * What `--demo` makes of a directory without configuration. A crash in between leaves a part, which the next start completes: so does the start of a release that has learned NVMe, with a
 * demo that was made before.
 */
export async function ensureDemo(configuration: Configuration, volumes: Volumes, sizeBytes: number): Promise<void> {
	const { subsystems } = configuration;
	const targets = configuration.targets();
	const onlyDemo =
		configuration.volumes().every((volume) => volume.name === demoVolume) &&
		targets.every((target) => target.name === demoTarget && target.openToAll) &&
		subsystems.all().every((subsystem) => subsystem.name === demoSubsystem && subsystem.openToAll);
	const wantsTarget = targets.length === 0 || targets.some((target) => target.name === demoTarget && target.luns.length === 0);
	const wantsSubsystem = subsystems.count === 0 || subsystems.find(demoSubsystem)?.namespaces.length === 0;
	if (!onlyDemo || !(wantsTarget || wantsSubsystem)) return;
	if (configuration.findVolume(demoVolume) === undefined) {
		await volumes.create({ name: demoVolume, sizeBytes, blockSize: 512 });
	}
	if (wantsTarget) {
		if (configuration.findTarget(demoTarget) === undefined) {
			configuration.addTarget({ name: demoTarget, alias: 'Blockport demo', openToAll: true });
		}
		configuration.map(demoTarget, demoVolume, 0);
	}
	if (wantsSubsystem) {
		if (subsystems.find(demoSubsystem) === undefined) subsystems.add({ name: demoSubsystem, openToAll: true });
		subsystems.map(demoSubsystem, demoVolume, 1);
	}
}

/** What of the demo is there; undefined if nothing. */
export function findDemo(configuration: Configuration): Demo | undefined {
	const lun = configuration.findTarget(demoTarget)?.luns.find(({ volume }) => volume === demoVolume);
	const namespace = configuration.subsystems.find(demoSubsystem)?.namespaces.find(({ volume }) => volume === demoVolume);
	if (lun === undefined && namespace === undefined) return undefined;
	return {
		iscsi: lun === undefined ? undefined : { target: lun.target, lun: lun.lun },
		nvme: namespace === undefined ? undefined : { subsystem: namespace.subsystem, nsid: namespace.nsid },
	};
}
