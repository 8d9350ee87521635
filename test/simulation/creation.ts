import { checkVolume } from '../../src/blockvol/check.ts';
import { VolumeFault } from '../../src/blockvol/volume-fault.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { createVolume, Life } from './life.ts';
import { VolumeModel } from './model.ts';
import { Random, seedOf } from './random.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';
import { drawSetting, drawSteps } from './workload.ts';

const directory = '/data/volume';

/**
 * Crashes at every operation of a volume's creation, and after it: a directory that creation did not finish is refused in words or is a sound empty volume, and one
 * that it did finish is there. Returns how many survivors were refused and how many opened.
 */
export async function exploreCreation(seed: number, survivorsPerCrash: number): Promise<{ refused: number; opened: number }> {
	const random = new Random(seedOf(seed, 21));
	const setting = { ...drawSetting(random.branch()), isTight: false };
	const disk = new SimulatedDisk({ seed });
	await disk.makeDirectory('/data');
	await disk.syncDirectory('/');
	const crashes: { left: SimulatedDisk; isFinished: boolean; at: string }[] = [];
	let isFinished = false;
	const crash = (at: string): void => {
		for (let survivor = 0; survivor < survivorsPerCrash; survivor++) {
			const left = random.chance(0.2) ? disk.killed(random.next()) : disk.surviving(random.next());
			crashes.push({ left, isFinished, at });
		}
	};
	disk.onOperation = (operation) => {
		if (isChanging(operation)) crash(`before ${operation.kind} ${operation.path}`);
	};
	const model = await createVolume(disk, directory, setting);
	isFinished = true;
	crash('after it');
	const result = { refused: 0, opened: 0 };
	for (const { left, at, ...crashed } of crashes) {
		const life = new Life(left, new VolumeModel(setting.sizeBytes, model.atomicBytes), {
			directory,
			setting,
			random,
			numbers: { last: 0 },
		});
		try {
			await withinTime(life.open(), 'opening');
			await life.judge(0, 'powerLost');
			await life.run([...drawSteps(random, setting, 3, { restarts: false }), { kind: 'flush' }]);
			await life.judgeRunning();
			await life.close();
			const findings = await checkVolume(left, directory);
			if (findings.length > 0) throw new SimulationFailure(findings.map((finding) => finding.message).join('; '));
			result.opened++;
		} catch (error) {
			if (error instanceof VolumeFault && error.message.length > 10 && !crashed.isFinished) result.refused++;
			else throw new SimulationFailure(`${messageOf(error)}\n  seed ${seed}, crash during creation ${at}`, { cause: error });
		}
	}
	return result;
}
