import { type Endpoint, printEndpoint } from '../config/endpoint.ts';

/** Ready to paste, each line of commands on its own. */
export function demoCommands(iscsi: Endpoint, demo: { readonly target: string; readonly lun: number }): string[] {
	const host = iscsi.host === '0.0.0.0' || iscsi.host === '::' ? '127.0.0.1' : iscsi.host;
	const portal = printEndpoint({ host, port: iscsi.port });
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
