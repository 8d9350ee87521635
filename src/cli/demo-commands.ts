import { type Endpoint, printEndpoint } from '../config/endpoint.ts';

export interface DemoExports {
	readonly iscsi: { readonly target: string; readonly lun: number } | undefined;
	readonly nvme: { readonly subsystem: string; readonly nsid: number } | undefined;
}

/** Ready to paste, each line of commands on its own. */
export function demoCommands(
	places: { iscsi: Endpoint | undefined; nvme: Endpoint | undefined; nvmeDiscovery: Endpoint | undefined },
	demo: DemoExports,
): string[] {
	return [
		...(places.iscsi === undefined || demo.iscsi === undefined ? [] : iscsiCommands(places.iscsi, demo.iscsi)),
		...(places.nvme === undefined || demo.nvme === undefined ? [] : nvmeCommands(places.nvme, places.nvmeDiscovery, demo.nvme)),
	];
}

function iscsiCommands(iscsi: Endpoint, demo: { readonly target: string; readonly lun: number }): string[] {
	const portal = printEndpoint(reachable(iscsi));
	const url = `iscsi://${portal}/${demo.target}/${demo.lun}`;
	return [
		'Linux (open-iscsi):',
		`  sudo iscsiadm -m discovery -t sendtargets -p ${portal}`,
		`  sudo iscsiadm -m node -T ${demo.target} -p ${portal} --login`,
		'QEMU:',
		`  qemu-img info ${url}`,
		`  qemu-system-x86_64 -m 1G -drive file=${url},format=raw,if=virtio`,
		'libiscsi:',
		`  iscsi-ls -s iscsi://${portal}`,
		`  iscsi-inq ${url}`,
	];
}

function nvmeCommands(
	nvme: Endpoint,
	discovery: Endpoint | undefined,
	demo: { readonly subsystem: string; readonly nsid: number },
): string[] {
	const io = reachable(nvme);
	// The I/O port serves discovery too.
	const look = reachable(discovery ?? nvme);
	return [
		'Linux (nvme-cli, after sudo modprobe nvme-tcp):',
		`  sudo nvme discover -t tcp -a ${look.host} -s ${look.port}`,
		`  sudo nvme connect -t tcp -a ${io.host} -s ${io.port} -n ${demo.subsystem}`,
		`  sudo nvme disconnect -n ${demo.subsystem}`,
	];
}

/** An address that a program on this machine reaches it by. */
function reachable({ host, port }: Endpoint): Endpoint {
	return { host: host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host, port };
}
