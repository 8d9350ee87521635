import type { Command } from 'commander';
import type { DirectorySpaceView, VolumeLimitsView } from '../admin/space-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient } from './api-client.ts';
import { type CommonFlags, argument, remoteCommand, whole } from './flags.ts';
import { parseSize, printSize } from './size.ts';
import { lines, show } from './terminal.ts';

type Limit = number | 'none';

const sizeOrNone = argument((text: string): Limit => (text === 'none' ? 'none' : parseSize(text)));
const percentOrNone = argument((text: string): Limit => {
	if (text === 'none') return 'none';
	const percent = whole(text.replace(/%$/, ''));
	if (percent < 1 || percent > 100) throw new UsageError('It takes 1 to 100, or none.');
	return percent;
});

/** `volume limit`. */
export function limitCommand(): Command {
	return remoteCommand('limit', 'say how much of the disk a volume may take, and from where on to tell; without options show it')
		.argument('<name>')
		.option('--quota <size>', 'disk space of its data and its snapshots, or none', sizeOrNone)
		.option('--threshold <percent>', 'of the quota, or of the size where there is none, or none', percentOrNone)
		.action(async (name: string, flags: CommonFlags & { quota?: Limit; threshold?: Limit }) => {
			const client = new ApiClient(flags);
			const path = `/v1/volumes/${encodeURIComponent(name)}/limits`;
			const { quota, threshold } = flags;
			const wish = {
				...(quota === undefined ? {} : { quotaBytes: quota === 'none' ? null : quota }),
				...(threshold === undefined ? {} : { thresholdPercent: threshold === 'none' ? null : threshold }),
			};
			const asks = Object.keys(wish).length > 0;
			const view = asks ? await client.patch<VolumeLimitsView>(path, wish) : await client.get<VolumeLimitsView>(path);
			await show(flags.json, view, ({ volume, usedBytes, quotaBytes, thresholdPercent, isLow, isRefusing }) =>
				lines([
					['volume', volume],
					['takes', usedBytes === undefined ? undefined : printSize(usedBytes)],
					['quota', quotaBytes === undefined ? 'none' : printSize(quotaBytes)],
					['threshold', thresholdPercent === undefined ? 'none' : `${thresholdPercent} %${isLow ? ', reached' : ''}`],
					['writes', isRefusing ? 'are refused for want of space' : undefined],
				]),
			);
		});
}

export function spaceCommand(): Command {
	return remoteCommand('space', 'show the space of the data directory, or say from where on it is too little')
		.option('--threshold <percent>', 'of the file system, or none', percentOrNone)
		.action(async (flags: CommonFlags & { threshold?: Limit }) => {
			const client = new ApiClient(flags);
			const { threshold } = flags;
			const view =
				threshold === undefined
					? await client.get<DirectorySpaceView>('/v1/space')
					: await client.put<DirectorySpaceView>('/v1/space', { thresholdPercent: threshold === 'none' ? null : threshold });
			await show(flags.json, view, ({ totalBytes, freeBytes, usedPercent, thresholdPercent, isLow }) =>
				lines([
					['file system', `${printSize(totalBytes)}, ${usedPercent} % full`],
					['free', printSize(freeBytes)],
					['threshold', thresholdPercent === undefined ? 'none' : `${thresholdPercent} %${isLow ? ', reached' : ''}`],
				]),
			);
		});
}
