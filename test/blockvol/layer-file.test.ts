import test from 'ava';
import { FilePool, LayerFile } from '../../src/blockvol/layer-file.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';

async function made(disk: SimulatedDisk, name: string): Promise<LayerFile> {
	await (await disk.open(`/${name}`, 'create')).close();
	return new LayerFile(`/${name}`);
}

test.serial(
	'so many files of a pool stay open, those used last; of all pools of the process each has an equal part, and all of it again when it is alone',
	async (t) => {
		const disk = new SimulatedDisk({ seed: 1 });
		const limits = { files: 6, filesOfAll: 8 };
		const [one, other] = [new FilePool(disk, limits, 'existing'), new FilePool(disk, limits, 'existing')];
		const files = await Promise.all(Array.from({ length: 8 }, (_, index) => made(disk, `one${index}`)));
		const useAll = async (): Promise<void> => {
			for (const file of files) await one.use(file, async (open) => void (await open.sizeBytes()));
		};
		await useAll();
		t.is(one.openFiles, 6);
		t.deepEqual(
			files.map(({ file }) => file !== undefined),
			[false, false, true, true, true, true, true, true],
		);
		const foreign = await made(disk, 'other');
		await other.use(foreign, async () => undefined);
		t.is(other.openFiles, 1);
		await useAll();
		t.is(one.openFiles, 4);
		await other.close();
		await useAll();
		t.is(one.openFiles, 6);
		await one.close();
		t.is(one.openFiles, 0);
	},
);
