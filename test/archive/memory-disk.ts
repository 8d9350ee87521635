import type { Disk, DiskFile } from '../../src/os/disk.ts';

/** Files in memory, as much of a disk as a journal needs. They outlive who wrote them, as after kill -9. */
export class MemoryDisk {
	readonly files = new Map<string, Buffer>();

	get disk(): Disk {
		const disk: Pick<Disk, 'open' | 'remove'> = {
			open: (path, mode) => {
				if (mode === 'create') {
					if (this.files.has(path)) return Promise.reject(kernelError('EEXIST'));
					this.files.set(path, Buffer.alloc(0));
				} else if (!this.files.has(path)) return Promise.reject(kernelError('ENOENT'));
				return Promise.resolve(this.#file(path));
			},
			remove: (path) => (this.files.delete(path) ? Promise.resolve() : Promise.reject(kernelError('ENOENT'))),
		};
		return disk as Disk;
	}

	#file(path: string): DiskFile {
		const file: Pick<DiskFile, 'path' | 'sizeBytes' | 'read' | 'write' | 'close'> = {
			path,
			sizeBytes: () => Promise.resolve(this.files.get(path)?.length ?? 0),
			read: (target, position) => {
				const bytes = (this.files.get(path) ?? Buffer.alloc(0)).subarray(position, position + target.length);
				target.set(bytes);
				return Promise.resolve(bytes.length);
			},
			write: (source, position) => {
				const before = this.files.get(path) ?? Buffer.alloc(0);
				const bytes = Buffer.alloc(Math.max(before.length, position + source.length));
				bytes.set(before);
				bytes.set(source, position);
				this.files.set(path, bytes);
				return Promise.resolve(source.length);
			},
			close: () => Promise.resolve(),
		};
		return file as DiskFile;
	}
}

function kernelError(code: string): Error {
	return Object.assign(new Error(code), { code });
}
