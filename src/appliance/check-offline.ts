import { checkVolume } from '../blockvol/check.ts';
import { VolumeFault } from '../blockvol/volume-fault.ts';
import { Configuration } from '../config/configuration.ts';
import { UsageError } from '../config/usage-error.ts';
import type { Disk } from '../os/disk.ts';
import { FileDisk } from '../os/file-disk.ts';
import { DataDirectory } from './data-directory.ts';

/** Verifies a volume of an appliance that does not run: it takes the directory's lock. Findings in words; none means that the volume is sound. */
export async function checkOffline(dataDirectory: string, volume: string, disk: Disk = new FileDisk()): Promise<{ message: string }[]> {
	const directory = await unserved(disk, dataDirectory, volume);
	try {
		const configuration = new Configuration(directory.configuration);
		try {
			// All directories, whether the configuration knows them or not: each may have a name for a file that a clone shares.
			const others = (await disk.list(directory.volumes)).map((uuid) => directory.volume(uuid));
			const findings = await checkVolume(disk, directory.volume(configuration.volume(volume).uuid), others);
			return findings.map((finding) => ({ ...finding }));
		} catch (error) {
			if (!(error instanceof VolumeFault)) throw error;
			return [{ message: error.message }];
		} finally {
			configuration.close();
		}
	} finally {
		await directory.close();
	}
}

async function unserved(disk: Disk, path: string, volume: string): Promise<DataDirectory> {
	try {
		return await DataDirectory.open(disk, path, false);
	} catch (error) {
		if (!(error instanceof UsageError && error.code === 'inUse')) throw error;
		const mend = `end it first, or have it look at the volume while it serves: volume scrub ${volume} --wait`;
		throw new UsageError(`Another blockport uses ${path}: ${mend}.`, 'inUse', { cause: error });
	}
}
