import type { ChapView, TargetView } from '../admin/schemas.ts';
import type { ChapRow } from '../config/chap.ts';
import type { Configuration, TargetRow } from '../config/configuration.ts';
import { Sources } from '../config/sources.ts';
import { UsageError } from '../config/usage-error.ts';
import type { ChapAccess } from '../iscsi/chap.ts';
import type { SessionSummary } from '../iscsi/listener.ts';
import type { Redirection, TargetRegistry, Visitor } from '../iscsi/registry.ts';
import type { Logger } from '../os/logger.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import { ScsiTarget } from '../scsi/target-device.ts';
import type { Volumes } from './volumes.ts';

interface Exported {
	readonly device: ScsiTarget;
	readonly openToAll: boolean;
	initiators: ReadonlyMap<string, Admission>;
	redirection: Redirection | undefined;
}

/** How an initiator is admitted. */
interface Admission {
	readonly sources: Sources;
	readonly chap: ChapAccess | undefined;
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
	readonly #log: Logger;
	readonly #targets = new Map<string, Exported>();
	#discoveryChap: ChapAccess | undefined;
	readonly #units = new Map<string, LogicalUnit>();

	constructor(configuration: Configuration, volumes: Volumes, options: { demo: boolean; log: Logger }) {
		this.#configuration = configuration;
		this.#volumes = volumes;
		this.#demo = options.demo;
		this.#log = options.log;
		for (const row of configuration.targets()) this.add(row);
		this.setDiscoveryAccess(configuration.discoveryAuthentication.get());
	}

	find(name: string): ScsiTarget | undefined {
		return this.#targets.get(name.toLowerCase())?.device;
	}

	visibleTo(visitor: Visitor): readonly ScsiTarget[] {
		return [...this.#targets.values()].filter((target) => this.#admits(visitor, target)).map((target) => target.device);
	}

	admits(visitor: Visitor, target: ScsiTarget): boolean {
		const exported = this.#targets.get(target.name);
		return exported !== undefined && this.#admits(visitor, exported);
	}

	chapOf(initiatorName: string, target: ScsiTarget): ChapAccess | undefined {
		return this.#targets.get(target.name)?.initiators.get(initiatorName)?.chap;
	}

	discoveryChap(): ChapAccess | undefined {
		return this.#discoveryChap;
	}

	redirection(target: ScsiTarget): Redirection | undefined {
		return this.#targets.get(target.name)?.redirection;
	}

	/** Whether a session may go on with what its initiator has proved. */
	welcomes({ initiator, target, address, authentication }: SessionSummary): boolean {
		if (target === undefined) return this.#discoveryChap === undefined || authentication !== 'none';
		const exported = this.#targets.get(target);
		if (exported === undefined || !this.#admits({ initiatorName: initiator, address }, exported)) return false;
		return exported.initiators.get(initiator)?.chap === undefined || authentication !== 'none';
	}

	list(sessionsOf: (target: string) => number): TargetView[] {
		return this.#configuration.targets().map((row) => this.#view(row, sessionsOf(row.name)));
	}

	view(name: string, sessionsOf: (target: string) => number): TargetView {
		const row = this.#configuration.target(name);
		return this.#view(row, sessionsOf(row.name));
	}

	add(row: TargetRow): void {
		const device = new ScsiTarget(row.name, { ...(row.alias === '' ? {} : { alias: row.alias }), targetPortalGroupTag: row.tpgt });
		this.#targets.set(row.name, { device, openToAll: row.openToAll, initiators: this.#admissions(row), redirection: row.redirection });
		for (const { lun, volume } of row.luns) this.map(row.name, lun, volume);
	}

	remove(name: string): void {
		this.#targets.delete(name);
	}

	/** False if it was mapped there already. */
	map(target: string, lun: number, volume: string): boolean {
		return this.mapUnit(target, lun, this.#unit(volume));
	}

	/** Something else than a volume; whoever made it closes it. */
	mapUnit(target: string, lun: number, unit: LogicalUnit): boolean {
		const { device } = this.#exported(target);
		if (device.units.has(lun)) return false;
		device.map(lun, unit);
		return true;
	}

	unmap(target: string, lun: number): void {
		this.#exported(target).device.unmap(lun);
	}

	/** Takes over whom the row admits, and where it sends them. */
	setAccess(row: TargetRow): void {
		const exported = this.#exported(row.name);
		exported.initiators = this.#admissions(row);
		exported.redirection = row.redirection;
	}

	setDiscoveryAccess(row: ChapRow): void {
		this.#discoveryChap = chapAccess(row);
	}

	/** The volume is gone; no target maps it. */
	forgetVolume(volume: string): void {
		this.#units.get(volume)?.close();
		this.#units.delete(volume);
	}

	#admits({ initiatorName, address }: Visitor, target: Exported): boolean {
		return (this.#demo && target.openToAll) || target.initiators.get(initiatorName)?.sources.includes(address) === true;
	}

	#admissions(row: TargetRow): Map<string, Admission> {
		const admitted = new Map<string, Admission>();
		for (const one of row.initiators) {
			try {
				admitted.set(one.initiator, { sources: new Sources(one.sources), chap: chapAccess(one) });
			} catch (error) {
				if (!(error instanceof UsageError)) throw error;
				// Whoever edited the file by hand: better nobody gets in than somebody from anywhere.
				this.#log.error(
					{ target: row.name, initiator: one.initiator, err: error },
					'an initiator is not admitted, because a network that it may come from is none: allow it again with --from',
				);
			}
		}
		return admitted;
	}

	#exported(name: string): Exported {
		const target = this.#targets.get(name);
		if (target === undefined) throw new RangeError(`no target ${name}`);
		return target;
	}

	#view({ initiators, redirection, ...row }: TargetRow, sessions: number): TargetView {
		const mounts = this.#configuration.mounts.at(row.name);
		return {
			...row,
			luns: [...row.luns],
			snapshots: mounts.flatMap(({ volume, snapshot, place }) => ('lun' in place ? [{ lun: place.lun, volume, snapshot }] : [])),
			initiators: initiators.map((one) => ({ initiator: one.initiator, ...chapView(one), sources: [...one.sources] })),
			...(redirection === undefined ? {} : { redirection }),
			sessions,
		};
	}

	#unit(volume: string): LogicalUnit {
		let unit = this.#units.get(volume);
		if (unit === undefined) {
			unit = new LogicalUnit(this.#volumes.slot(volume), {
				reservations: this.#volumes.reservations(volume),
				space: () => this.#volumes.space(volume),
			});
			this.#units.set(volume, unit);
		}
		return unit;
	}
}

function chapAccess({ chap, mutualChap }: ChapRow): ChapAccess | undefined {
	return chap === undefined ? undefined : { initiator: chap, target: mutualChap };
}

/** Without the secrets. */
export function chapView({ chap, mutualChap }: ChapRow): ChapView {
	return {
		authentication: chap === undefined ? 'none' : mutualChap === undefined ? 'initiator' : 'mutual',
		...(chap === undefined ? {} : { chapUser: chap.user }),
		...(mutualChap === undefined ? {} : { mutualChapUser: mutualChap.user }),
	};
}
