import { checkVolume } from '../../src/blockvol/check.ts';
import { Volume } from '../../src/blockvol/volume.ts';
import { IscsiListener } from '../../src/iscsi/listener.ts';
import { NvmeFabric } from '../../src/nvmeof/fabric.ts';
import { NvmeListener } from '../../src/nvmeof/listener.ts';
import { Subsystem } from '../../src/nvmeof/subsystem.ts';
import { silent } from '../../src/os/logger.ts';
import { MemoryBudget } from '../../src/os/memory-budget.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { ScsiTarget } from '../../src/scsi/target-device.ts';
import { InitiatorDisk } from '../initiator/disk.ts';
import { Session } from '../initiator/session.ts';
import { Association } from '../nvme-host/association.ts';
import { Namespace } from '../nvme-host/namespace.ts';
import { fillBlocks, writeNumbersOf } from './block-content.ts';
import { messageOf, SimulationFailure, withinTime } from './failure.ts';
import { createVolume, Life } from './life.ts';
import type { Moment, VolumeModel } from './model.ts';
import { Random, seedOf } from './random.ts';
import { isChanging, SimulatedDisk } from './simulated-disk.ts';
import { sectorBytes } from './sparse-content.ts';
import { drawSetting, drawSteps, type Setting, type Step } from './workload.ts';

const directory = '/data/volume';
const targetName = 'iqn.2026-11.dev.blockport.test:both';
const subnqn = 'nqn.2026-11.dev.blockport.test:both';
const lanesPerProtocol = 4;

/** One way to the volume. Resolve when the answer says GOOD, else reject. */
interface Way {
	write(offsetBytes: number, data: Buffer, fua: boolean): Promise<unknown>;
	zero(offsetBytes: number, lengthBytes: number): Promise<unknown>;
	read(offsetBytes: number, lengthBytes: number): Promise<Buffer>;
	flush(): Promise<unknown>;
}

interface Served {
	ways: Way[];
	close: () => Promise<void>;
}

interface Crash {
	readonly disk: SimulatedDisk;
	readonly moment: Moment;
	readonly at: string;
}

/**
 * One volume behind both protocols over TCP, written through both at once by initiators of our own, while crashes are taken from its simulated disk. What the clients were
 * answered is what must be there afterwards. The order in which sockets deliver is the machine's, so a seed draws the commands and the crashes, and not the run.
 */
export async function crashUnderBothProtocols(
	seed: number,
	steps: number,
	crashesMax: number,
): Promise<{ crashes: number; commands: number }> {
	const random = new Random(seedOf(seed, 31));
	const drawn = drawSetting(random.branch());
	const windows = { count: 1, windowBytes: drawn.sizeBytes, gapBytes: 0 };
	const setting: Setting = { ...drawn, windows, isTight: false };
	const disk = new SimulatedDisk({ seed });
	await disk.makeDirectory('/data');
	await disk.syncDirectory('/');
	const model = await createVolume(disk, directory, setting);
	const volume = await Volume.open(disk, directory, { log: silent, tuning: setting.tuning });
	const served = await serve(volume);
	const crashes: Crash[] = [];
	const crashRandom = random.branch();
	disk.onOperation = (operation) => {
		if (!isChanging(operation) || crashes.length === crashesMax || !crashRandom.chance(0.2)) return;
		const state = crashRandom.next();
		const ending = state % 4 === 0 ? 'killed' : 'powerLost';
		const left = ending === 'killed' ? disk.killed(state) : disk.surviving(state);
		crashes.push({ disk: left, moment: model.moment(ending), at: `before ${operation.kind} ${operation.path} (${operation.number})` });
	};
	const numbers = { last: 0 };
	let commandsDone = 0;
	const queue = drawSteps(random.branch(), setting, steps, { restarts: false });
	await withinTime(
		Promise.all(
			served.ways.map(async (way) => {
				for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
					await carryOut(step, way, volume, model, numbers, setting);
					commandsDone++;
				}
			}),
		),
		`both protocols, seed ${seed}`,
	);
	await served.close();
	await volume.close();
	disk.onOperation = undefined;
	for (const { disk: left, moment, at } of crashes) {
		const life = new Life(left, moment.model, { directory, setting, random: random.branch(), numbers });
		try {
			await life.open();
			await life.judge(moment.at, moment.ending);
			await life.close();
			const findings = await checkVolume(left, directory);
			if (findings.length > 0) throw new SimulationFailure(findings.map(({ message }) => message).join('; '));
		} catch (error) {
			throw new SimulationFailure(`${messageOf(error)}\n  seed ${seed}, ${moment.ending} ${at}`, { cause: error });
		}
	}
	return { crashes: crashes.length, commands: commandsDone };
}

async function carryOut(
	step: Step,
	way: Way,
	volume: Volume,
	model: VolumeModel,
	numbers: { last: number },
	setting: Setting,
): Promise<void> {
	switch (step.kind) {
		case 'write': {
			const number = ++numbers.last;
			const data = Buffer.alloc(step.lengthBytes);
			fillBlocks(data, number, step.offsetBytes / sectorBytes);
			const command = model.submit(number, number, step.offsetBytes, step.lengthBytes, step.fua);
			await way.write(step.offsetBytes, data, step.fua);
			model.complete(command, 'good');
			return;
		}
		case 'zero': {
			const command = model.submit(numbers.last, 0, step.offsetBytes, step.lengthBytes, false);
			await way.zero(step.offsetBytes, step.lengthBytes);
			model.complete(command, 'good');
			return;
		}
		case 'read': {
			const since = model.clock + 1;
			const first = step.offsetBytes / sectorBytes;
			const length = Math.min(step.lengthBytes, setting.sizeBytes - step.offsetBytes);
			const finding = model.judgeRead(writeNumbersOf(await way.read(step.offsetBytes, length), first), first, since);
			if (finding !== undefined)
				throw new SimulationFailure(`a read of a running volume: ${finding.text}, 512-byte LBA ${finding.block ?? '?'}`);
			return;
		}
		case 'flush': {
			const flush = model.submitFlush();
			await way.flush();
			model.completeFlush(flush, 'good');
			return;
		}
		case 'flushToLayers':
			return volume.flushToLayers();
		default:
			// Restarts, growth and a full disk are the engine's own simulations'.
			return;
	}
}

async function serve(volume: Volume): Promise<Served> {
	const budget = new MemoryBudget(16 * 1024 * 1024);
	const target = new ScsiTarget(targetName);
	target.map(0, new LogicalUnit(volume));
	const registry = {
		find: (name: string) => (name === targetName ? target : undefined),
		visibleTo: () => [target],
		admits: () => true,
		chapOf: () => undefined,
		discoveryChap: () => undefined,
		redirection: () => undefined,
	};
	const iscsi = new IscsiListener({ registry, budget, log: silent });
	const subsystem = new Subsystem({
		nqn: subnqn,
		uuid: '5d1f7a34-91a6-4f0e-8a55-0c9be1a7f311',
		admits: () => true,
		secretFor: () => undefined,
	});
	subsystem.addNamespace(1, volume);
	const subsystems = { find: () => subsystem, all: () => [subsystem], onChange: () => () => undefined };
	const fabric = new NvmeFabric({ registry: subsystems, log: silent, now: () => performance.now(), portals: () => [] });
	const nvme = new NvmeListener({ fabric, budget, log: silent });
	const here = { host: '127.0.0.1', port: 0 };
	await Promise.all([iscsi.listen(here), nvme.listen(here)]);
	const session = await Session.open({ port: iscsi.address.port, targetName });
	const unit = new InitiatorDisk(session, 0);
	await unit.becomeReady();
	const association = await Association.open({ port: nvme.address.port, subnqn, ioQueues: 2, katoMs: 60_000 });
	const namespace = await Namespace.attach(association, 1);
	const lanes = Array.from({ length: lanesPerProtocol });
	return {
		ways: [...lanes.map(() => iscsiWay(unit, volume.blockSize)), ...lanes.map(() => nvmeWay(namespace, volume.blockSize))],
		close: async () => {
			session.destroy();
			association.destroy();
			await Promise.all([iscsi.close(), nvme.close()]);
		},
	};
}

function iscsiWay(unit: InitiatorDisk, blockSize: number): Way {
	return {
		write: (offsetBytes, data, fua) => unit.write(offsetBytes / blockSize, data, blockSize, fua),
		zero: (offsetBytes, lengthBytes) => unit.unmap([{ lba: offsetBytes / blockSize, blocks: lengthBytes / blockSize }]),
		read: (offsetBytes, lengthBytes) => unit.read(offsetBytes / blockSize, lengthBytes / blockSize, blockSize),
		flush: () => unit.flush(),
	};
}

function nvmeWay(namespace: Namespace, blockSize: number): Way {
	return {
		write: (offsetBytes, data, fua) => namespace.write(offsetBytes / blockSize, data, { fua }),
		zero: (offsetBytes, lengthBytes) => namespace.zero(offsetBytes / blockSize, lengthBytes / blockSize),
		read: (offsetBytes, lengthBytes) => namespace.read(offsetBytes / blockSize, lengthBytes / blockSize),
		flush: () => namespace.flush(),
	};
}
