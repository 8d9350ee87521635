import { type Command, Option } from 'commander';
import type { ExportFormat } from '../admin/stream-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, remoteCommand } from './flags.ts';
import { ProgressBar } from './progress-bar.ts';
import { printSize } from './size.ts';
import { type SnapshotReference, snapshotReference } from './snapshot-reference.ts';
import { Download } from './stream-download.ts';
import { OutputFile, checkOutput, writeOut } from './stream-output.ts';
import { show } from './terminal.ts';

interface Flags extends CommonFlags {
	readonly format: ExportFormat;
	readonly force?: boolean;
	readonly resume?: boolean;
}

/** `snapshot export`. */
export function streamExportCommand(): Command {
	return remoteCommand('export', 'write what a snapshot holds to an image file, or to standard output')
		.argument('<volume@name>', '', snapshotReference)
		.argument('[file]', 'by default VOLUME@NAME.FORMAT; - for standard output')
		.addOption(new Option('--format <format>', 'of the image; a raw file gets holes for zeros').choices(['raw', 'qcow2']).default('raw'))
		.option('--force', 'replace a file that is there')
		.option('--resume', 'go on with what an attempt that broke off has left')
		.action(async (which: SnapshotReference, file: string | undefined, flags: Flags) => {
			const download = new Download(new ApiClient(flags), which, flags.format);
			if (file === '-') await toOutput(download, which);
			else await toFile(download, which, file ?? `${which.volume}@${which.name}.${flags.format}`, flags);
		});
}

async function toFile(download: Download, which: SnapshotReference, path: string, flags: Flags): Promise<void> {
	const mayReplace = flags.force === true;
	await checkOutput(path, mayReplace);
	await download.open();
	const { lengthBytes } = download;
	const file = await OutputFile.open(path, download.identity, flags.resume === true);
	const bar = new ProgressBar(`${which.volume}@${which.name}`);
	let fetchedBytes = 0;
	try {
		const from = Math.min(file.fromBytes, lengthBytes);
		for await (const piece of flags.format === 'raw' ? download.sparse(from) : download.whole(from)) {
			await file.write(piece);
			fetchedBytes += piece.data.length;
			const done = piece.offsetBytes + piece.data.length;
			bar.update(done / lengthBytes, `${printSize(done)} of ${printSize(lengthBytes)}`);
		}
		await file.finish(lengthBytes, mayReplace);
	} catch (error) {
		if (!(error instanceof ApiError)) throw error;
		throw new ApiError(`${error.message} What came is in ${file.partPath}: go on with --resume.`, error.status, { cause: error });
	} finally {
		bar.end();
		await file.close();
	}
	const exported = { snapshot: `${which.volume}@${which.name}`, file: path, format: flags.format, lengthBytes, fetchedBytes };
	await show(flags.json, exported, () => `snapshot ${exported.snapshot} exported: ${path}, ${printSize(lengthBytes)}`);
}

async function toOutput(download: Download, which: SnapshotReference): Promise<void> {
	const { stdout } = process;
	if (stdout.isTTY) throw new UsageError('An image is nothing for a terminal: name a file, or send standard output elsewhere.');
	await download.open();
	const { lengthBytes } = download;
	// Each write looks whether it is so.
	stdout.on('error', () => undefined);
	const bar = new ProgressBar(`${which.volume}@${which.name}`);
	try {
		for await (const { offsetBytes, data } of download.whole(0)) {
			await writeOut(stdout, data);
			bar.update((offsetBytes + data.length) / lengthBytes);
		}
		await ended(stdout);
	} finally {
		bar.end();
	}
}

/** Everything has left, or it is told. */
async function ended(stream: NodeJS.WriteStream): Promise<void> {
	await new Promise<void>((resolve, reject) => {
		stream.write('', (error) => {
			if (error instanceof Error) reject(new ApiError('Standard output was closed.', 0, { cause: error }));
			else resolve();
		});
	});
}
