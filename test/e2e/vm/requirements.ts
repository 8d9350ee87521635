import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs of the host and the Debian packages that have them. */
const programs: Readonly<Record<string, string>> = {
	'qemu-system-x86_64': 'qemu-system-x86',
	ip: 'iproute2',
	unshare: 'util-linux',
	flock: 'util-linux',
	setpriv: 'util-linux',
	losetup: 'mount',
	mke2fs: 'e2fsprogs',
	'apt-get': 'apt',
	'dpkg-deb': 'dpkg',
	ldconfig: 'libc-bin',
	tar: 'tar',
	gzip: 'gzip',
};

/** Sentences about what is missing on this machine, with the mend; empty when the lane can run. */
export function missingRequirements(further: Readonly<Record<string, string>> = {}): string[] {
	const missing = Object.entries({ ...programs, ...further }).filter(([program]) => !isInstalled(program));
	const sentences = missing.map(([program, from]) => `${program} is not installed: apt-get install ${from}`);
	if (!isUsable('/dev/net/tun', constants.R_OK | constants.W_OK)) {
		sentences.push('/dev/net/tun cannot be used: modprobe tun, or run this as root');
	}
	return sentences;
}

function isInstalled(program: string): boolean {
	return (process.env.PATH ?? '').split(delimiter).some((folder) => isUsable(join(folder, program), constants.X_OK));
}

function isUsable(path: string, mode: number): boolean {
	try {
		accessSync(path, mode);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === undefined) throw error;
		return false;
	}
}
