import type { Counter as CounterType, Gauge as GaugeType, Registry as RegistryType } from 'prom-client';
import type { Operations } from './operations.ts';

/** Numbers of the engine that go up and down; the others only grow. */
const volumeGauges: ReadonlySet<string> = new Set(['allocatedBytes', 'dirtyPages', 'waitingCommands', 'walBytes', 'walFiles']);

/** Prometheus text of the whole appliance. Everything is read at the moment of the scrape, so that nothing is counted twice and nothing runs in between. */
export interface Metrics {
	readonly contentType: string;
	text(): Promise<string>;
}

/** A number of a part of the appliance that the operations do not know. A name that ends in _total only grows. */
export interface Metric {
	readonly name: string;
	readonly help: string;
	readonly value: number;
	readonly labels?: Record<string, string>;
}

/** prom-client is loaded by the first scrape: a process that nobody scrapes does not hold it. `more` is asked at each scrape. */
export async function openMetrics(operations: Operations, more: () => Iterable<Metric> = () => []): Promise<Metrics> {
	const { Counter, Gauge, Registry } = await import('prom-client');
	const registry: RegistryType = new Registry();
	const metrics = new Map<string, CounterType | GaugeType>();

	/** What ends in _total only grows, and Prometheus wants to know. It was reset at the start of the scrape, so adding sets it. */
	function set(name: string, help: string, value: number, labels: Record<string, string> = {}): void {
		let metric = metrics.get(name);
		if (metric === undefined) {
			const kind = name.endsWith('_total') ? Counter : Gauge;
			metric = new kind({ name, help, labelNames: Object.keys(labels), registers: [registry] });
			metrics.set(name, metric);
		}
		metric.inc(labels, value);
	}

	return {
		contentType: registry.contentType,
		async text() {
			// A volume that is gone must not go on being shown.
			registry.resetMetrics();
			const status = await operations.status();
			set('blockport_info', 'Always 1; the label tells the version.', 1, { version: status.version });
			set('blockport_ready', '1 when every volume was opened or is faulted.', status.state === 'ready' ? 1 : 0);
			set('blockport_uptime_seconds', 'Since the start.', status.uptimeSeconds);
			set('blockport_data_directory_free_bytes', 'Free on the file system of the data directory.', status.freeBytes);
			set('blockport_targets', 'Targets in the configuration.', status.targets);
			set('blockport_sessions', 'iSCSI sessions.', status.sessions);
			set('blockport_subsystems', 'NVM subsystems in the configuration.', status.subsystems);
			set('blockport_nvme_controllers', 'NVMe controllers that hosts are connected to.', status.controllers);
			for (const [state, count] of Object.entries(status.volumes)) set('blockport_volumes', 'Volumes by state.', count, { state });
			set('blockport_budget_limit_bytes', 'Payload that may be in flight.', status.memory.budgetLimitBytes);
			set('blockport_budget_used_bytes', 'Payload in flight.', status.memory.budgetUsedBytes);
			set('blockport_budget_peak_bytes', 'The most payload that was in flight.', status.memory.budgetPeakBytes);
			set('blockport_budget_waiting', 'Commands that wait for memory.', status.memory.budgetWaiting);
			set('blockport_unknown_directories', 'Directories under volumes/ that no volume owns.', status.unknownDirectories.length);
			processMetrics(set);
			for (const [name, value] of Object.entries(operations.iscsiStatistics())) {
				set(`blockport_iscsi_${snakeCase(name)}_total`, `iSCSI listener: ${words(name)}.`, value);
			}
			for (const [name, value] of Object.entries(operations.nvmeStatistics())) {
				set(`blockport_nvme_${snakeCase(name)}_total`, `NVMe/TCP listeners: ${words(name)}.`, value);
			}
			for (const volume of await operations.volumes()) {
				const labels = { volume: volume.name };
				set('blockport_volume_size_bytes', 'Size of the volume.', volume.sizeBytes, labels);
				set(
					'blockport_volume_faulted',
					'1 when the volume refuses writes or could not be opened.',
					volume.state === 'faulted' ? 1 : 0,
					labels,
				);
				for (const [name, value] of Object.entries(volume.statistics ?? {})) {
					if (snakeCase(name) === 'size_bytes') continue;
					set(
						`blockport_volume_${snakeCase(name)}${volumeGauges.has(name) ? '' : '_total'}`,
						`Volume engine: ${words(name)}.`,
						value,
						labels,
					);
				}
			}
			for (const { name, help, value, labels } of more()) set(name, help, value, labels);
			return await registry.metrics();
		},
	};
}

/** The names that Prometheus gives these in every language. */
function processMetrics(set: (name: string, help: string, value: number) => void): void {
	const { user, system } = process.cpuUsage();
	const { rss, heapUsed, external } = process.memoryUsage();
	set('process_cpu_seconds_total', 'User and system CPU time.', (user + system) / 1e6);
	set('process_resident_memory_bytes', 'Resident memory.', rss);
	set('process_start_time_seconds', 'Start of the process, seconds since 1970.', Math.round(Date.now() / 1000 - process.uptime()));
	set('nodejs_heap_used_bytes', 'JavaScript heap in use.', heapUsed);
	set('nodejs_external_memory_bytes', 'Memory of buffers outside the heap.', external);
}

function snakeCase(name: string): string {
	return name
		.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
		.replaceAll(/[^A-Za-z0-9_]/g, '_')
		.toLowerCase();
}

function words(name: string): string {
	return snakeCase(name).replaceAll('_', ' ');
}
