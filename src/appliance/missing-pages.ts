import type { RemoteProgress } from '../blockvol/remote-pages.ts';

/** Why a volume that is being restored lazily could not be read, and what to do, in sentences; undefined for a volume that lacks nothing: there it was something else. */
export function missingPages(volume: string, remote: RemoteProgress | undefined): string | undefined {
	if (remote === undefined) return undefined;
	const { repository } = remote.identity;
	const why = remote.failure === undefined ? 'in time' : `(${remote.failure.replace(/\.$/, '')})`;
	return `Volume ${volume} is still being restored from repository ${repository}, and what it lacks could not be fetched ${why}. See to it that repository ${repository} can be used, or wait until all of the volume is here, and try again.`;
}
