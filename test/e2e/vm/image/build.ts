/**
 * Builds the guest: `node build.ts FOLDER` puts root.img and each kernel's vmlinuz-NAME and initrd-NAME there, all or nothing. Packages are unpacked, their scripts never run: no
 * debootstrap, no root needed.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { earlyInit, files, folders, init, kernelFiles, kernels, links, packages, unused, unusedFiles } from './recipe.ts';
import { shell } from './shell.ts';

const unpackedAtOnce = 3;
const rootMiB = 900;

/** A hash of everything in this folder: the recipe and who follows it. */
export async function imageKey(): Promise<string> {
	const hash = createHash('sha256');
	for (const name of (await readdir(import.meta.dirname)).toSorted()) {
		// The order is part of the hash.
		hash.update(`${name}\0`).update(await readFile(join(import.meta.dirname, name)));
	}
	return hash.digest('hex').slice(0, 16);
}

/** Arguments of an apt that knows nothing of the machine but its sources, or these instead: an empty status file, so that nothing counts as installed and a closure is whole. */
async function aptSettings(state: string, sources?: string): Promise<string[]> {
	await mkdir(join(state, 'lists/partial'), { recursive: true });
	await mkdir(join(state, 'none/partial'), { recursive: true });
	await writeFile(join(state, 'status'), '');
	if (sources !== undefined) await writeFile(join(state, 'sources.list'), `${sources}\n`);
	const settings = {
		'Dir::State': state,
		'Dir::State::status': join(state, 'status'),
		'Dir::Cache': state,
		// Empty: what is in the archives already would be left out of a closure.
		'Dir::Cache::archives': join(state, 'none'),
		...(sources === undefined ? {} : { 'Dir::Etc::SourceList': join(state, 'sources.list'), 'Dir::Etc::SourceParts': '-' }),
		'APT::Architecture': 'amd64',
		'APT::Install-Recommends': 'false',
		'APT::Sandbox::User': '',
		'Acquire::Retries': '3',
		'Acquire::Languages': 'none',
	};
	const all = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
	await shell('apt-get', [...all, '-q', 'update']);
	return all;
}

/** The file names of the closure of these packages. */
async function closure(apt: readonly string[], wanted: readonly string[]): Promise<string[]> {
	const uris = await shell('apt-get', [...apt, '-q', '-y', '--print-uris', 'install', ...wanted]);
	return [...uris.matchAll(/^'[^']+' (\S+\.deb) /gm)].map((match) => match[1]!);
}

/** Where the machine has Debian itself from, a mirror perhaps: other releases are there too. */
async function mirror(apt: readonly string[]): Promise<string> {
	const targets = await shell('apt-get', [...apt, 'indextargets', '--format', '$(ORIGIN) $(LABEL) $(REPO_URI)', 'Created-By: Packages']);
	const uri = /^Debian Debian (\S+)$/m.exec(targets)?.[1];
	if (uri === undefined) throw new Error('apt has no source that is Debian itself');
	return uri;
}

/** Downloads the closure of `packages`, and the kernels of other releases, into `archives`, which keeps nothing else; resolves to its files. */
async function download(archives: string, work: string): Promise<string[]> {
	await mkdir(join(archives, 'partial'), { recursive: true });
	const apt = await aptSettings(join(work, 'apt'));
	const names = await closure(apt, packages);
	const further: { apt: string[]; name: string }[] = [];
	for (const { file, from } of Object.values(kernels)) {
		if (from === undefined) continue;
		const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${await mirror(apt)} ${from.release} main`;
		const other = await aptSettings(join(work, `apt-${from.release}`), source);
		const name = (await closure(other, [from.metapackage])).find((one) => file.test(one));
		if (name === undefined) throw new Error(`${from.release} has no kernel ${file.source}`);
		further.push({ apt: other, name });
	}
	const all = [...names, ...further.map(({ name }) => name)];
	for (const name of await readdir(archives)) {
		if (name.endsWith('.deb') && !all.includes(name)) await rm(join(archives, name));
	}
	await shell('apt-get', [...apt, '-o', `Dir::Cache::archives=${archives}`, '-q', '-y', '--download-only', 'install', ...packages]);
	for (const { apt: other, name } of further) {
		if (!existsSync(join(archives, name))) await shell('apt-get', [...other, '-q', 'download', name.split('_')[0]!], { cwd: archives });
	}
	return all.map((name) => join(archives, name));
}

async function unpack(archive: string, root: string): Promise<void> {
	const isKernel = basename(archive).startsWith('linux-image-');
	const chosen = isKernel ? ['--wildcards', ...kernelFiles] : unusedFiles.map((path) => `--exclude=${path}`);
	// usr/lib and the like are links in /: what a package puts into /lib goes there. Owners are left to the guest's init.
	const tar = ['tar', '-x', '-C', root, '--keep-directory-symlink', '--no-same-owner', ...chosen];
	await shell('bash', ['-c', 'set -o pipefail; archive=$1; shift; dpkg-deb --fsys-tarfile "$archive" | "$@"', 'unpack', archive, ...tar]);
}

async function unpackAll(archives: readonly string[], root: string): Promise<void> {
	const queue = archives.filter((archive) => !unused.test(basename(archive)) && !basename(archive).startsWith('linux-image-amd64_'));
	await Promise.all(
		Array.from({ length: unpackedAtOnce }, async () => {
			for (let archive = queue.shift(); archive !== undefined; archive = queue.shift()) await unpack(archive, root);
		}),
	);
}

async function finishRoot(root: string): Promise<void> {
	for (const [path, text] of Object.entries(files)) {
		await mkdir(dirname(join(root, path)), { recursive: true });
		await writeFile(join(root, path), text);
	}
	for (const [path, to] of Object.entries(links)) {
		await rm(join(root, path), { recursive: true, force: true });
		await symlink(to, join(root, path));
	}
	await rm(join(root, 'usr/sbin/init'), { force: true });
	await writeFile(join(root, 'usr/sbin/init'), init);
	await chmod(join(root, 'usr/sbin/init'), 0o755);
	await shell('ldconfig', ['-r', root]);
}

/** The guest's own depmod, by its own loader and libraries: kmod reads indexes that busybox does not write. */
async function depmod(root: string, version: string): Promise<void> {
	const loader = join(root, 'usr/lib64/ld-linux-x86-64.so.2');
	const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
	await shell(loader, ['--argv0', 'depmod', '--library-path', libraries, join(root, 'usr/bin/kmod'), '-b', root, version]);
}

async function mbcache(kernel: string): Promise<string> {
	return join(
		'fs',
		(await readdir(join(kernel, 'fs'))).find((name) => name.startsWith('mbcache.ko'))!,
	);
}

/** busybox and the modules between it and the root, as a compressed cpio archive. */
async function makeInitrd(root: string, version: string, early: string, initrd: string): Promise<void> {
	const modules = join('lib/modules', version);
	const busybox = join(root, 'usr/bin/busybox');
	for (const folder of ['bin', 'dev', 'new', 'proc', modules]) {
		await mkdir(join(early, folder), { recursive: true });
	}
	await shell('cp', [busybox, join(early, 'bin/busybox')]);
	await symlink('busybox', join(early, 'bin/sh'));
	const kernel = join(root, 'usr', modules, 'kernel');
	for (const part of ['arch', 'crypto', 'lib', 'drivers/block', 'drivers/virtio', 'fs/ext4', 'fs/jbd2', await mbcache(kernel)]) {
		await mkdir(dirname(join(early, modules, 'kernel', part)), { recursive: true });
		await shell('cp', ['-r', join(kernel, part), join(early, modules, 'kernel', part)]);
	}
	await shell(busybox, ['depmod', '-b', early, version]);
	await writeFile(join(early, 'init'), earlyInit);
	await chmod(join(early, 'init'), 0o755);
	const pack = 'set -o pipefail; cd "$1" && find . | "$2" cpio -o -H newc -R 0:0 2>/dev/null | gzip -1 >"$3"';
	await shell('bash', ['-c', pack, 'pack', early, busybox, initrd]);
}

async function build(folder: string): Promise<void> {
	const cache = dirname(folder);
	const work = await mkdtemp(join(cache, 'building-'));
	const root = join(work, 'root');
	const made = join(work, 'made');
	try {
		const archives = await download(join(cache, 'archives'), work);
		for (const path of [
			made,
			...['bin', 'lib', 'lib64', 'sbin'].map((name) => join(root, 'usr', name)),
			...folders.map((name) => join(root, name)),
		]) {
			await mkdir(path, { recursive: true });
		}
		for (const name of ['bin', 'lib', 'lib64', 'sbin']) {
			await symlink(`usr/${name}`, join(root, name));
		}
		await unpackAll(archives, root);
		await finishRoot(root);
		const versions = await readdir(join(root, 'lib/modules'));
		for (const [name, { file }] of Object.entries(kernels)) {
			const version = versions.find((one) => file.test(`linux-image-${one}_`));
			if (version === undefined) throw new Error(`no kernel ${name} among ${versions.join(' ')}`);
			await rename(join(root, 'boot', `vmlinuz-${version}`), join(made, `vmlinuz-${name}`));
			await depmod(root, version);
			await makeInitrd(root, version, join(work, `early-${name}`), join(made, `initrd-${name}`));
		}
		const image = join(made, 'root.img');
		await shell('mke2fs', ['-q', '-t', 'ext4', '-m', '0', '-O', '^has_journal', '-E', 'root_owner=0:0', '-d', root, image, `${rootMiB}M`]);
		await writeFile(join(made, 'packages.txt'), `${archives.map((archive) => basename(archive)).join('\n')}\n`);
		await rename(made, folder);
	} finally {
		await rm(work, { recursive: true, force: true });
	}
}

if (process.argv[1] === import.meta.filename) {
	const folder = process.argv[2]!;
	if (!existsSync(folder)) await build(folder);
}
