import { Command, Option } from 'commander';
import type { ControllerView, NamespaceMappingView, SubsystemView } from '../admin/schemas.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, remoteCommand, whole } from './flags.ts';
import { secret, secretForms } from './secret.ts';
import { confirm, lines, show, table } from './terminal.ts';
import { usersOfExport, whileUsed } from './volume-users.ts';

interface AllowFlags extends CommonFlags {
	dhchapSecret?: string;
	dhchapCtrlSecret?: string;
	dhchapHash?: string;
	dhchapDhgroup?: string;
}

export function subsystemCommand(): Command {
	const subsystem = new Command('subsystem').description('make, list and delete NVMe subsystems; map volumes; admit hosts');

	subsystem.addCommand(
		remoteCommand('create', 'make a subsystem, which shows itself to nobody until a host is allowed')
			.argument('<name>', 'NVMe qualified name, for example nqn.2026-11.com.example:name')
			.action(async (name: string, flags: CommonFlags) => {
				const made = await new ApiClient(flags).post<SubsystemView>('/v1/subsystems', { name });
				await show(flags.json, made, () => `subsystem ${made.name} made`);
			}),
	);

	subsystem.addCommand(
		remoteCommand('list', 'list subsystems').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ subsystems: SubsystemView[] }>('/v1/subsystems');
			await show(flags.json, found, ({ subsystems }) =>
				table(
					['NAME', 'NAMESPACES', 'HOSTS', 'CONTROLLERS'],
					subsystems.map((one) => [one.name, namespaces(one), hosts(one).join(' '), String(one.controllers)]),
					'There are no subsystems.',
				),
			);
		}),
	);

	subsystem.addCommand(
		remoteCommand('show', 'show one subsystem')
			.argument('<name>')
			.action(async (name: string, flags: CommonFlags) => {
				await show(flags.json, await new ApiClient(flags).get<SubsystemView>(path(name)), (one) =>
					lines([
						['name', one.name],
						['uuid', one.uuid],
						['created', one.createdAt],
						['namespaces', namespaces(one) || 'none'],
						['hosts', hosts(one).join(', ') || 'none'],
						['controllers', String(one.controllers)],
					]),
				);
			}),
	);

	subsystem.addCommand(
		remoteCommand('map', 'map a volume as a namespace')
			.argument('<name>')
			.argument('<volume>')
			.option('--nsid <number>', 'by default the lowest free one', whole)
			.action(async (name: string, volume: string, flags: CommonFlags & { nsid?: number }) => {
				const body = { volume, ...(flags.nsid === undefined ? {} : { nsid: flags.nsid }) };
				const made = await new ApiClient(flags).post<NamespaceMappingView>(`${path(name)}/namespaces`, body);
				await show(flags.json, made, () => `volume ${made.volume} is namespace ${made.nsid} of ${made.subsystem}`);
			}),
	);

	subsystem.addCommand(
		remoteCommand('unmap', 'unmap a volume, or a namespace by its identifier with --nsid; its data stay')
			.argument('<name>')
			.argument('[volume]')
			.option('--nsid <number>', 'the namespace, instead of the volume', whole)
			.action(async (name: string, volume: string | undefined, flags: CommonFlags & { nsid?: number }, command: Command) => {
				if ((volume === undefined) === (flags.nsid === undefined)) command.error('error: name either the volume or --nsid');
				const client = new ApiClient(flags);
				const nsid = flags.nsid ?? (await nsidOf(client, name, volume ?? ''));
				await client.delete(`${path(name)}/namespaces/${nsid}`);
				await show(flags.json, { unmapped: { subsystem: name, nsid } }, () => `namespace ${nsid} of ${name} unmapped`);
			}),
	);

	subsystem.addCommand(
		remoteCommand('allow', 'admit a host, or change how it proves itself; what is left out stays as it is')
			.argument('<name>')
			.argument('<hostnqn>', 'on Linux in /etc/nvme/hostnqn')
			.option('--dhchap-secret <secret>', `the host has to prove itself by DH-HMAC-CHAP: DHHC-1:…:; ${secretForms}`)
			.option('--dhchap-ctrl-secret <secret>', 'the controller proves itself by this one if the host asks: DHHC-1:…:')
			.addOption(new Option('--dhchap-hash <hash>', 'the least that is accepted').choices(['sha256', 'sha384', 'sha512']))
			.addOption(
				new Option('--dhchap-dhgroup <group>', 'the least that is accepted').choices([
					'null',
					'ffdhe2048',
					'ffdhe3072',
					'ffdhe4096',
					'ffdhe6144',
					'ffdhe8192',
				]),
			)
			.action(async (name: string, host: string, flags: AllowFlags) => {
				// One after the other: lines of standard input come in this order.
				const dhchapSecret = flags.dhchapSecret === undefined ? undefined : await secret(flags.dhchapSecret);
				const dhchapCtrlSecret = flags.dhchapCtrlSecret === undefined ? undefined : await secret(flags.dhchapCtrlSecret);
				const access = {
					...(dhchapSecret === undefined ? {} : { dhchapSecret }),
					...(dhchapCtrlSecret === undefined ? {} : { dhchapCtrlSecret }),
					...(flags.dhchapHash === undefined ? {} : { dhchapHash: flags.dhchapHash }),
					...(flags.dhchapDhgroup === undefined ? {} : { dhchapDhgroup: flags.dhchapDhgroup }),
				};
				const changed = await new ApiClient(flags).put<SubsystemView>(hostPath(name, host), access);
				await show(flags.json, changed, () => `${host} may connect to ${changed.name}`);
			}),
	);

	subsystem.addCommand(
		remoteCommand('disallow', 'admit a host no longer; its controllers end')
			.argument('<name>')
			.argument('<hostnqn>')
			.action(async (name: string, host: string, flags: CommonFlags) => {
				const changed = await new ApiClient(flags).delete<SubsystemView>(hostPath(name, host));
				await show(flags.json, changed, () => `${host} may no longer connect to ${changed.name}`);
			}),
	);

	subsystem.addCommand(
		remoteCommand('delete', 'delete a subsystem, ending its controllers; its volumes stay')
			.argument('<name>')
			.option('-y, --yes', 'do not ask')
			.action(async (name: string, flags: CommonFlags & { yes?: boolean }) => {
				const client = new ApiClient(flags);
				const used = whileUsed(await usersOfExport(client, (await client.get<SubsystemView>(path(name))).name));
				if (!(await confirm(`Deleting subsystem ${name} and ending its controllers${used}`, flags.yes, used !== '')))
					throw new ApiError('Nothing was deleted.', 0);
				await client.delete(path(name));
				await show(flags.json, { deleted: name }, () => `subsystem ${name} deleted`);
			}),
	);
	return subsystem;
}

export function controllerCommand(): Command {
	const controller = new Command('controller').description('look at NVMe controllers, one for each host that is connected to a subsystem');
	controller.addCommand(
		remoteCommand('list', 'list controllers').action(async (flags: CommonFlags) => {
			const found = await new ApiClient(flags).get<{ controllers: ControllerView[] }>('/v1/controllers');
			await show(flags.json, found, ({ controllers }) =>
				table(
					['HOST', 'SUBSYSTEM', 'CNTLID', 'FROM', 'I/O QUEUES', 'AUTHENTICATED'],
					controllers.map((one) => [
						one.host,
						one.subsystem,
						String(one.cntlid),
						one.remote,
						String(one.ioQueues),
						one.authenticated ? 'yes' : 'no',
					]),
					'There are no controllers.',
				),
			);
		}),
	);
	return controller;
}

function path(name: string): string {
	return `/v1/subsystems/${encodeURIComponent(name)}`;
}

function hostPath(name: string, host: string): string {
	return `${path(name)}/hosts/${encodeURIComponent(host)}`;
}

async function nsidOf(client: ApiClient, name: string, volume: string): Promise<number> {
	const subsystem = await client.get<SubsystemView>(path(name));
	const mapping = subsystem.namespaces.find((candidate) => candidate.volume === volume);
	if (mapping === undefined) throw new ApiError(`Subsystem ${name} does not map volume ${volume}.`, 404);
	return mapping.nsid;
}

function namespaces(subsystem: SubsystemView): string {
	const snapshots = subsystem.snapshots.map(({ nsid, volume, snapshot }) => ({ nsid, volume: `${volume}@${snapshot}` }));
	return [...subsystem.namespaces, ...snapshots]
		.toSorted((a, b) => a.nsid - b.nsid)
		.map(({ nsid, volume }) => `${nsid}=${volume}`)
		.join(' ');
}

function hosts(subsystem: SubsystemView): string[] {
	if (subsystem.openToAll) return ['everyone, under --demo'];
	const proof = { none: '', host: ' (authenticates)', mutual: ' (authenticates both ways)' };
	return subsystem.hosts.map(({ host, authentication }) => `${host}${proof[authentication]}`);
}
