import { rename, stat } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { shell } from './image/shell.ts';

const attemptsMax = 20;

/**
 * A file system of the target's own, in a file by way of a loop device. What the target has not synced is in the host's memory and not in that file, so a copy
 * of the file, taken when the target is killed, is what a power loss of the host leaves. Mounted in the lane's own mount namespace, it is gone with it.
 */
export class HostDisk {
	readonly #image: string;
	readonly #mountPoint: string;

	private constructor(image: string, mountPoint: string) {
		this.#image = image;
		this.#mountPoint = mountPoint;
	}

	static async make(image: string, mountPoint: string, sizeMiB: number): Promise<HostDisk> {
		await shell('truncate', ['-s', `${sizeMiB}M`, image]);
		await shell('mke2fs', ['-q', '-t', 'ext4', image]);
		const disk = new HostDisk(image, mountPoint);
		await disk.#mount();
		return disk;
	}

	/**
	 * The host loses power: nothing may have it open any more. Afterwards the mount point shows what had reached the disk. When the kernel writes while the
	 * disk is copied, the copy is of no one moment, and the power is lost a little later.
	 */
	async losePower(): Promise<void> {
		const copy = `${this.#image}.copy`;
		for (let attempt = 1; ; attempt++) {
			const before = await this.#writes();
			await shell('cp', ['--sparse=always', this.#image, copy]);
			if ((await this.#writes()) === before) break;
			if (attempt === attemptsMax) throw new Error('the host wrote each time that its disk was copied');
		}
		await this.unmount();
		await rename(copy, this.#image);
		await this.#mount();
	}

	async unmount(): Promise<void> {
		await shell('umount', [this.#mountPoint]);
	}

	/** Long between commits: the host's own journal must not make durable by chance what the target forgot to. */
	async #mount(): Promise<void> {
		await shell('mount', ['-o', 'loop,noatime,commit=600', this.#image, this.#mountPoint]);
	}

	/** How many writes the loop device has begun and ended. */
	async #writes(): Promise<string> {
		const device = (await shell('losetup', ['-j', this.#image, '-O', 'NAME', '-n'])).trim();
		const fields = readFileSync(`/sys/block/${basename(device)}/stat`, 'utf8')
			.trim()
			.split(/\s+/);
		const { mtimeMs } = await stat(this.#image);
		return `${fields[4]} ${fields[8]} ${mtimeMs}`;
	}
}
