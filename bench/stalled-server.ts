/**
 * Blockport with one volume on a disk that takes 100 ms for each read, whatever the page cache holds: the environment's BLOCKPORT_STALLED_VOLUME is its UUID.
 * A read waits on a thread of the pool, as it would for a real disk. Otherwise it is bin/blockport.
 */
import koffi from 'koffi';
import { checkOffline } from '../src/appliance/check-offline.ts';
import { Appliance, realParts } from '../src/appliance.ts';
import { Volume } from '../src/blockvol/volume.ts';
import { main } from '../src/cli/main.ts';
import { wouldBlock, type DiskFile } from '../src/os/disk.ts';
import { FairDisk } from '../src/os/fair-disk.ts';
import { FileDisk } from '../src/os/file-disk.ts';

const stallUs = 100_000;
const usleep = koffi.load(null).func('int usleep(uint32_t us)');

class StallingDisk extends FileDisk {
	readonly #uuid: string;

	constructor(uuid: string) {
		super();
		this.#uuid = uuid;
	}

	override async open(path: string, mode: 'existing' | 'create' | 'readOnly'): Promise<DiskFile> {
		const file = await super.open(path, mode);
		return path.includes(`/${this.#uuid}/layers/`) && path.endsWith('.data') ? stalling(file) : file;
	}
}

/** On a thread of the pool, which has nothing else to do meanwhile. */
async function stall(): Promise<void> {
	await new Promise<void>((resolve) => {
		usleep.async(stallUs, () => resolve());
	});
}

/** The file with its reads slowed down; whatever else a file can do goes to it as it is. */
function stalling(file: DiskFile): DiskFile {
	const slow: Pick<DiskFile, 'tryRead' | 'read'> = {
		tryRead: () => wouldBlock,
		read: async (target, positionBytes) => {
			await stall();
			return await file.read(target, positionBytes);
		},
	};
	return new Proxy(file, {
		get: (_file, name): unknown => {
			if (name === 'tryRead' || name === 'read') return slow[name];
			const member: unknown = Reflect.get(file, name, file);
			return typeof member === 'function' ? member.bind(file) : member;
		},
	});
}

const disk = new StallingDisk(process.env.BLOCKPORT_STALLED_VOLUME ?? '');
const version = 'stalled';
const parts = realParts();
const engine = {
	...parts.engine,
	disk,
	open: (directory: string, options: Parameters<typeof parts.engine.open>[1]) => Volume.open(new FairDisk(disk), directory, options),
};
const code = await main(process.argv.slice(2), {
	version,
	makeServer: async (settings) => new Appliance({ ...settings, version }, { ...parts, engine }),
	checkVolume: checkOffline,
});
process.stdout.write('', () => process.exit(code));
