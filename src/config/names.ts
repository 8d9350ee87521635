import { exactSize } from '../os/size-text.ts';
import { isIPv6 } from 'node:net';
import { parseEndpoint, printEndpoint } from './endpoint.ts';
import { limits, lunMax, tpgtMax } from './limits.ts';
import { UsageError } from './usage-error.ts';

const volumeName = /^[a-z0-9][a-z0-9._-]*$/;
/** RFC 7143 §4.2.7.3: `iqn.`, a year and month, a reversed domain name, and perhaps a colon and any text. */
const iqn = /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.(?=[^:]*[a-z0-9])[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[^:].*)?$/;
/** RFC 7143 §4.2.7.4: an EUI-64 in 16 hexadecimal digits. */
const eui = /^eui\.[0-9a-f]{16}$/;
/** RFC 7143 §4.2.7.5: a NAA identifier of 64 or 128 bits. */
const naa = /^naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})$/;
/** RFC 7143 §4.2.7.2 and RFC 3722: after normalization an iSCSI name holds no ASCII but these, and no upper case. */
const iscsiCharacters = /^[a-z0-9.:\-\u{80}-\u{10ffff}]+$/u;
/** NVMe Base 2.0, NVMe Qualified Names: `nqn.`, a year and month, a reversed domain name, a colon and any text. */
const nqn = /^nqn\.\d{4}-(?:0[1-9]|1[0-2])\.[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?:[^\p{Cc}\s]+$/u;
/** The form for those without a domain; whoever begins like this has to go on with a UUID. */
const uuidNqnPrefix = 'nqn.2014-08.org.nvmexpress:uuid:';
const uuid = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
const discoveryNqn = 'nqn.2014-08.org.nvmexpress.discovery';
const hostName = /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/;
const controlCharacter = /\p{Cc}/u;

/** Refuses (UsageError) what is no volume name: lower-case letters, digits, `.`, `_`, `-`; at most 63, the first a letter or digit. */
export function checkVolumeName(name: string): string {
	if (name.length === 0 || name.length > limits.volumeNameLength || !volumeName.test(name)) {
		throw new UsageError(
			`${quoted(name)} is no volume name: use 1 to ${limits.volumeNameLength} of a-z, 0-9, '.', '_' and '-', the first a letter or digit.`,
		);
	}
	return name;
}

/** Refuses (UsageError) what is no name of a schedule: as a volume's, and at most 32 characters. */
export function checkScheduleName(name: string): string {
	if (name.length === 0 || name.length > limits.scheduleNameLength || !volumeName.test(name)) {
		throw new UsageError(
			`${quoted(name)} is no name of a schedule: use 1 to ${limits.scheduleNameLength} of a-z, 0-9, '.', '_' and '-', the first a letter or digit.`,
		);
	}
	return name;
}

/** Refuses (UsageError) what is no name of a repository: as a volume's. */
export function checkRepositoryName(name: string): string {
	if (name.length === 0 || name.length > limits.volumeNameLength || !volumeName.test(name)) {
		throw new UsageError(
			`${quoted(name)} is no name of a repository: use 1 to ${limits.volumeNameLength} of a-z, 0-9, '.', '_' and '-', the first a letter or digit.`,
		);
	}
	return name;
}

/**
 * Returns the normal form of an iSCSI name (lower case, Unicode NFKC; RFC 3722), or refuses it (UsageError): an iqn, eui or naa name of at most 223 bytes.
 * `role` is the word for it in the message.
 */
export function checkIscsiName(name: string, role: 'target' | 'initiator'): string {
	const normal = name.normalize('NFKC').toLowerCase();
	if (Buffer.byteLength(normal) > limits.iscsiNameBytes) {
		throw new UsageError(`The ${role} name ${quoted(name)} is longer than ${limits.iscsiNameBytes} bytes.`);
	}
	if (!iscsiCharacters.test(normal) || !(iqn.test(normal) || eui.test(normal) || naa.test(normal))) {
		throw new UsageError(
			`${quoted(name)} is no iSCSI ${role} name: it looks like iqn.2026-11.com.example:name, eui. and 16 hexadecimal digits, or naa. and 16 or 32 of them.`,
		);
	}
	return normal;
}

/** Refuses (UsageError) what is no NVMe qualified name of at most 223 bytes. These are compared byte by byte: no spelling is changed. */
export function checkNqn(name: string, role: 'subsystem' | 'host'): string {
	if (Buffer.byteLength(name) > limits.nqnBytes) {
		throw new UsageError(`The ${role} name ${quoted(name)} is longer than ${limits.nqnBytes} bytes.`);
	}
	if (name === discoveryNqn) throw new UsageError(`${name} is the name of every discovery subsystem: choose another.`);
	if (!nqn.test(name) || (name.startsWith(uuidNqnPrefix) && !uuid.test(name.slice(uuidNqnPrefix.length)))) {
		throw new UsageError(
			`${quoted(name)} is no NVMe ${role} name: it looks like nqn.2026-11.com.example:name, or ${uuidNqnPrefix} and a UUID (on Linux see /etc/nvme/hostnqn).`,
		);
	}
	return name;
}

export function checkNsid(nsid: number): number {
	if (!Number.isInteger(nsid) || nsid < 1 || nsid > limits.namespacesPerSubsystem) {
		throw new UsageError(`A namespace identifier is a whole number from 1 to ${limits.namespacesPerSubsystem}, not ${nsid}.`);
	}
	return nsid;
}

export function checkAlias(alias: string): string {
	if (Buffer.byteLength(alias) > limits.aliasBytes || controlCharacter.test(alias)) {
		throw new UsageError(`A target alias is at most ${limits.aliasBytes} bytes of text without control characters.`);
	}
	return alias;
}

export function checkVolumeSize(sizeBytes: number): number {
	const { volumeBytesMin, volumeBytesMax, volumeBytesStep } = limits;
	if (!Number.isSafeInteger(sizeBytes) || sizeBytes < volumeBytesMin || sizeBytes > volumeBytesMax || sizeBytes % volumeBytesStep !== 0) {
		throw new UsageError(
			`${exactSize(sizeBytes)} is no volume size: it is a multiple of ${exactSize(volumeBytesStep)} from ${exactSize(volumeBytesMin)} to ${exactSize(volumeBytesMax)}.`,
		);
	}
	return sizeBytes;
}

export function checkBlockSize(blockSize: number): 512 | 4096 {
	if (blockSize !== 512 && blockSize !== 4096) throw new UsageError(`A block is 512 or 4096 bytes, not ${blockSize}.`);
	return blockSize;
}

export function checkLun(lun: number): number {
	if (!Number.isInteger(lun) || lun < 0 || lun > lunMax) throw new UsageError(`A LUN is a whole number from 0 to ${lunMax}, not ${lun}.`);
	return lun;
}

export function checkTpgt(tpgt: number): number {
	if (!Number.isInteger(tpgt) || tpgt < 1 || tpgt > tpgtMax) {
		throw new UsageError(`A target portal group tag is a whole number from 1 to ${tpgtMax}, not ${tpgt}.`);
	}
	return tpgt;
}

/** Refuses (UsageError) what is no `HOST:PORT` of another portal; returns it with its port, IPv6 in brackets. RFC 7143 §13.8: the host may be a name. */
export function checkRedirection(text: string): string {
	const { host, port } = parseEndpoint(text, { host: '', port: 3260 }, 'A redirection');
	if (port === 0 || (!isIPv6(host) && !hostName.test(host))) {
		throw new UsageError(
			`${quoted(text)} is no address to send initiators to: it looks like 10.0.0.2:3260, [fd00::2]:3260 or other.example.com:3260.`,
		);
	}
	return printEndpoint({ host, port });
}

/** A name in a message: bounded, and nothing in it that moves a terminal's cursor. */
export function quoted(name: string): string {
	const text = name.length > 80 ? `${name.slice(0, 80)}…` : name;
	return JSON.stringify(text);
}
