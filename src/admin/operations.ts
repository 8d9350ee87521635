import type {
	ChapView,
	ControllerView,
	LunMappingView,
	NamespaceMappingView,
	NewChap,
	NewHostAccess,
	NewInitiatorAccess,
	NewMapping,
	NewNamespace,
	NewRedirection,
	NewSubsystem,
	NewTarget,
	NewVolume,
	SessionView,
	StatusView,
	SubsystemView,
	TargetView,
	VolumeView,
} from './schemas.ts';

/** What the admin API asks of the appliance. A request that cannot be met throws UsageError; everything that changes something is durable when it returns. */
export interface Operations {
	readonly state: StatusView['state'];
	status(): Promise<StatusView>;

	volumes(): Promise<VolumeView[]>;
	volume(name: string): Promise<VolumeView>;
	createVolume(volume: NewVolume): Promise<VolumeView>;
	resizeVolume(name: string, sizeBytes: number): Promise<VolumeView>;
	/** Whether initiators may have it sanitized. */
	setSanitizable(name: string, isAllowed: boolean): Promise<VolumeView>;
	deleteVolume(name: string): Promise<void>;

	targets(): TargetView[];
	target(name: string): TargetView;
	createTarget(target: NewTarget): Promise<TargetView>;
	deleteTarget(name: string): Promise<void>;
	map(target: string, mapping: NewMapping): Promise<LunMappingView>;
	unmap(target: string, lun: number): Promise<void>;
	allow(target: string, initiator: string, access: NewInitiatorAccess): Promise<TargetView>;
	disallow(target: string, initiator: string): Promise<TargetView>;
	/** Undefined: no longer. */
	redirectTarget(target: string, to: NewRedirection | undefined): Promise<TargetView>;

	/** Of iSCSI discovery sessions. */
	discoveryAuthentication(): ChapView;
	setDiscoveryAuthentication(wish: NewChap): Promise<ChapView>;
	clearDiscoveryAuthentication(): Promise<void>;

	sessions(): SessionView[];

	subsystems(): SubsystemView[];
	subsystem(name: string): SubsystemView;
	createSubsystem(subsystem: NewSubsystem): Promise<SubsystemView>;
	deleteSubsystem(name: string): Promise<void>;
	mapNamespace(subsystem: string, namespace: NewNamespace): Promise<NamespaceMappingView>;
	unmapNamespace(subsystem: string, nsid: number): Promise<void>;
	allowHost(subsystem: string, host: string, access: NewHostAccess): Promise<SubsystemView>;
	disallowHost(subsystem: string, host: string): Promise<SubsystemView>;

	controllers(): ControllerView[];

	/** Sums since the start, for /metrics: name in snake_case → number. */
	iscsiStatistics(): Readonly<Record<string, number>>;
	nvmeStatistics(): Readonly<Record<string, number>>;
}
