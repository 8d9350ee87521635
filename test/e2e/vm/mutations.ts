import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A deliberate breakage of the target: a textual change of one source file that a scenario must notice. */
export interface Mutation {
	readonly name: string;
	/** What the target does wrong with it. */
	readonly title: string;
	readonly file: string;
	readonly search: string;
	readonly replace: string;
	/** The scenarios that turn red, by name. */
	readonly scenarios: readonly string[];
}

/** When the target changes and `search` is not there any more, the lane says so: then the breakage is to be put into the new code, not dropped. */
export const mutations: readonly Mutation[] = [
	{
		name: 'fua',
		title: 'a write with FUA is answered before it is durable',
		file: 'src/scsi/read-write.ts',
		search: '			task.fua = fua.get(cdb) !== 0;\n',
		replace: '			task.fua = fua.get(cdb) > 1;\n',
		scenarios: ['power-loss'],
	},
	{
		name: 'flush',
		title: 'SYNCHRONIZE CACHE is answered without a flush',
		file: 'src/scsi/synchronize-cache.ts',
		search: '			return immed.get(cdb) === 0 ? flush(unit, task) : flushUnwatched(unit, nexus);\n',
		replace: "			return immed.get(cdb) > 1 ? flush(unit, task) : 'finished';\n",
		scenarios: ['power-loss-database'],
	},
	{
		name: 'residual-missing',
		title: 'no answer has a residual count',
		file: 'src/iscsi/residual.ts',
		search: '	if (due < expected) return { flags: underflowBit, count: expected - due };\n',
		replace: '',
		scenarios: ['commands'],
	},
	{
		name: 'residual-wrong',
		title: 'every answer says that one block is missing',
		file: 'src/iscsi/residual.ts',
		search: '	return { flags: 0, count: 0 };\n',
		replace: '	return expected > 512 ? { flags: underflowBit, count: 512 } : { flags: 0, count: 0 };\n',
		scenarios: ['commands'],
	},
	{
		name: 'vpd-b2',
		title: 'VPD page B2h denies UNMAP and WRITE SAME (byte 5)',
		file: 'src/scsi/vpd.ts',
		search: '	provisioning.lbpu.set(data, 1);\n	provisioning.lbpws.set(data, 1);\n	provisioning.lbpws10.set(data, 1);\n',
		replace: '',
		scenarios: ['commands', 'fstrim'],
	},
	{
		name: 'vpd-b2-type',
		title: 'VPD page B2h says that the volume is fully provisioned (byte 6)',
		file: 'src/scsi/vpd.ts',
		search: '	provisioning.provisioningType.set(data, thin);\n',
		replace: '',
		scenarios: ['commands'],
	},
	{
		name: 'chap-anybody',
		title: 'any response to a CHAP challenge is right',
		file: 'src/iscsi/chap-exchange.ts',
		search: '		const right = given.length === expected.length && timingSafeEqual(given, expected);\n',
		replace: '		const right = given.length === expected.length || timingSafeEqual(given, expected);\n',
		scenarios: ['chap'],
	},
	{
		name: 'lun-silent',
		title: 'a LUN that is mapped is announced to nobody',
		file: 'src/iscsi/control.ts',
		search: '		this.#asynchronous(pdu.asyncEvent.scsiEvent, { lun: target.luns()[0] ?? 0 }, data);\n',
		replace: '',
		scenarios: ['lun-event'],
	},
	{
		name: 'nvme-ranges',
		title: 'Dataset Management wants a buffer of exactly the ranges that it counts',
		file: 'src/nvmeof/io-dataset-management.ts',
		search: 'Math.max(sentBytes, rangesBytes(request))',
		replace: 'Math.max(sentBytes && 0, rangesBytes(request))',
		scenarios: ['nvme-discard'],
	},
	{
		name: 'nvme-notice',
		title: 'no event says that a namespace has changed',
		file: 'src/nvmeof/nvm-controller.ts',
		search: '		this.events.raise(asynchronousEvents.namespaceAttributeChanged);\n',
		replace: '',
		scenarios: ['nvme-discovery', 'nvme-grow'],
	},
	{
		name: 'nvme-reservation',
		title: 'NVMe commands go through whatever is reserved',
		file: 'src/nvmeof/io-commands.ts',
		search: "if (command.access !== 'none') {",
		replace: "if (command.access !== 'none' && namespace.readOnly) {",
		scenarios: ['nvme-reservations', 'both-reservations'],
	},
	{
		name: 'nvme-response',
		title: 'any response to the challenge is as good as the right one',
		file: 'src/nvmeof/auth-exchange.ts',
		search: "		if (!timingSafeEqual(expected, rval)) return 'authenticationFailed';\n",
		replace: "		if (!timingSafeEqual(expected, expected)) return 'authenticationFailed';\n",
		scenarios: ['nvme-auth'],
	},
	{
		name: 'restore-silent',
		title: 'a restore is announced to nobody unless the size changes',
		file: 'src/appliance/volumes.ts',
		search: '		slot.contentChanged();\n',
		replace: '',
		scenarios: ['snapshots-restore'],
	},
];

/** A copy of a tree below `folder` with the mutation in it; resolves to its launcher. */
export async function mutated(mutation: Mutation, root: string, folder: string): Promise<string> {
	const copy = join(folder, `mutation-${mutation.name}`);
	await mkdir(copy);
	for (const part of ['src', 'bin', 'package.json']) {
		await cp(join(root, part), join(copy, part), { recursive: true });
	}
	await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
	const file = join(copy, mutation.file);
	const pieces = (await readFile(file, 'utf8')).split(mutation.search);
	if (pieces.length !== 2) {
		throw new Error(
			`the text to change is there ${pieces.length - 1} times in ${mutation.file}: put ${mutation.name} into the code as it is now`,
		);
	}
	await writeFile(file, pieces.join(mutation.replace));
	return join(copy, 'bin/blockport');
}
