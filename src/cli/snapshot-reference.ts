import { UsageError } from '../config/usage-error.ts';
import { argument } from './flags.ts';

/** A snapshot as people write it: `data@before-upgrade`. */
export interface SnapshotReference {
	readonly volume: string;
	readonly name: string;
}

export const snapshotReference = argument((text: string): SnapshotReference => {
	const parts = text.split('@');
	const [volume, name] = parts;
	if (parts.length !== 2 || volume === undefined || name === undefined || volume === '' || name === '')
		throw new UsageError('It takes VOLUME@NAME.');
	return { volume, name };
});
