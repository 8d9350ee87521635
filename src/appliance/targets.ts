import type { TargetView } from '../admin/schemas.ts';
import type { Configuration, TargetRow } from '../config/configuration.ts';
import type { TargetRegistry } from '../iscsi/registry.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import { ScsiTarget } from '../scsi/target-device.ts';
import type { Volumes } from './volumes.ts';

interface Exported {
	readonly device: ScsiTarget;
	openToAll: boolean;
	initiators: ReadonlySet<string>;
}

/**
 * The targets of the configuration as the iSCSI listener sees them. A volume is one logical unit, however many targets map it: a reset or a new size on one
 * path is told on all.
 */
export class Targets implements TargetRegistry {
	readonly #configuration: Configuration;
	readonly #volumes: Volumes;
	/** A target that is open to all is so under --demo only: the same data directory served otherwise shows it to nobody who was not allowed. */
	readonly #demo: boolean;
	readonly #targets = new Map<string, Exported>();
	readonly #units = new Map<string, LogicalUnit>();

	constructor(configuration: Configuration, volumes: Volumes, demo: boolean) {
		this.#configuration = configuration;
		this.#volumes = volumes;
		this.#demo = demo;
		for (const row of configuration.targets()) this.add(row);
	}

	find(name: string): ScsiTarget | undefined {
		return this.#targets.get(name.toLowerCase())?.device;
	}

	visibleTo(initiatorName: string): readonly ScsiTarget[] {
		return [...this.#targets.values()].filter((target) => this.#admits(initiatorName, target)).map((target) => target.device);
	}

	admits(initiatorName: string, target: ScsiTarget): boolean {
		const exported = this.#targets.get(target.name);
		return exported !== undefined && this.#admits(initiatorName, exported);
	}

	list(sessionsOf: (target: string) => number): TargetView[] {
		return this.#configuration.targets().map((row) => view(row, sessionsOf(row.name)));
	}

	view(name: string, sessionsOf: (target: string) => number): TargetView {
		const row = this.#configuration.target(name);
		return view(row, sessionsOf(row.name));
	}

	add(row: TargetRow): void {
		const device = new ScsiTarget(row.name, { ...(row.alias === '' ? {} : { alias: row.alias }), targetPortalGroupTag: row.tpgt });
		this.#targets.set(row.name, { device, openToAll: row.openToAll, initiators: new Set(row.initiators) });
		for (const { lun, volume } of row.luns) this.map(row.name, lun, volume);
	}

	remove(name: string): void {
		this.#targets.delete(name);
	}

	map(target: string, lun: number, volume: string): void {
		const { device } = this.#exported(target);
		if (device.units.has(lun)) return;
		device.map(lun, this.#unit(volume));
	}

	unmap(target: string, lun: number): void {
		this.#exported(target).device.unmap(lun);
	}

	setAccess(row: TargetRow): void {
		this.#exported(row.name).initiators = new Set(row.initiators);
	}

	/** The volume is gone; no target maps it. */
	forgetVolume(volume: string): void {
		this.#units.get(volume)?.close();
		this.#units.delete(volume);
	}

	#admits(initiatorName: string, target: Exported): boolean {
		return (this.#demo && target.openToAll) || target.initiators.has(initiatorName.toLowerCase());
	}

	#exported(name: string): Exported {
		const target = this.#targets.get(name);
		if (target === undefined) throw new RangeError(`no target ${name}`);
		return target;
	}

	#unit(volume: string): LogicalUnit {
		let unit = this.#units.get(volume);
		if (unit === undefined) {
			unit = new LogicalUnit(this.#volumes.slot(volume), { reservations: this.#volumes.reservations(volume) });
			this.#units.set(volume, unit);
		}
		return unit;
	}
}

function view(row: TargetRow, sessions: number): TargetView {
	return { ...row, luns: [...row.luns], initiators: [...row.initiators], sessions };
}
