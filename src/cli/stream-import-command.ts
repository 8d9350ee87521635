import { type Command, Option } from 'commander';
import type { ImportView, NewImport } from '../admin/stream-schemas.ts';
import { ImageError } from '../archive/stream/stream-error.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, argument, remoteCommand, size } from './flags.ts';
import { ProgressBar } from './progress-bar.ts';
import { exactSize, printSize } from './size.ts';
import { isPassing } from './stream-retry.ts';
import type { ImageInput, SourceFormat } from './stream-source.ts';
import { Upload } from './stream-upload.ts';
import { show } from './terminal.ts';

interface Flags extends CommonFlags {
	readonly format: SourceFormat;
	readonly size?: number;
	readonly blockSize: string;
	readonly overwrite?: boolean;
	readonly keepAs?: string;
	readonly sha256?: string;
	readonly resume?: boolean;
}

const pageBytes = 4096;

const checksum = argument((text: string): string => {
	if (!/^[0-9a-f]{64}$/i.test(text)) throw new UsageError('It takes 64 hexadecimal digits.');
	return text.toLowerCase();
});

/** `volume import`. */
export function streamImportCommand(): Command {
	return remoteCommand('import', 'make a volume of an image; it appears when all of it came')
		.argument('<name>', 'of the new volume')
		.argument('[file]', 'a raw or qcow2 image; - for standard input', '-')
		.addOption(new Option('--format <format>', 'of the image').choices(['raw', 'qcow2', 'auto']).default('auto'))
		.option('--size <size>', 'of the volume, by default that of the image', size)
		.addOption(new Option('--block-size <bytes>', 'logical block').choices(['512', '4096']).default('512'))
		.option('--overwrite', 'take the place of the volume of that name, which nothing may use; that one gets another name')
		.option('--keep-as <name>', 'its other name; by default NAME-before- and the time')
		.option('--sha256 <hex>', 'what the bytes of the raw image have to have', checksum)
		.option('--resume', 'go on with an import that broke off; the appliance keeps it for ten minutes')
		.action(async (name: string, path: string, flags: Flags) => {
			// Loaded by this command alone.
			const { openImage } = await import('./stream-source.ts');
			try {
				const input = await openImage(path, flags.format);
				try {
					await send(new ApiClient(flags), name, input, flags);
				} finally {
					await input.close();
				}
			} catch (error) {
				if (!(error instanceof ImageError)) throw error;
				throw new UsageError(`${path === '-' ? 'Standard input' : path} cannot be imported. ${error.message}`, 'unavailable', {
					cause: error,
				});
			}
		});
}

async function send(client: ApiClient, name: string, input: ImageInput, flags: Flags): Promise<void> {
	const wish = wishOf(name, input, flags);
	const upload = new Upload(client, await begin(client, wish, input, flags));
	const bar = new ProgressBar(`import of ${name}`);
	const all = input.image.sizeBytes;
	let at = upload.offsetBytes;
	try {
		for await (const part of input.image.parts(at)) {
			if (at + part.lengthBytes > wish.sizeBytes)
				throw new UsageError(`The image is longer than ${printSize(wish.sizeBytes)}: say --size with at least what it has.`, 'invalid');
			await upload.add(part);
			at += part.lengthBytes;
			bar.update(all === undefined ? undefined : at / all, `${printSize(at)}${all === undefined ? '' : ` of ${printSize(all)}`}`);
		}
		const made = await upload.finish();
		bar.end();
		const imported = { ...made, importedBytes: upload.offsetBytes, ...(wish.overwrite === undefined ? {} : wish.overwrite) };
		await show(flags.json, imported, () =>
			[
				`volume ${made.name} imported: ${printSize(made.sizeBytes)}, uuid ${made.uuid}`,
				...(wish.overwrite === undefined ? [] : [`what it was is volume ${wish.overwrite.keepAs}`]),
			].join('\n'),
		);
	} catch (error) {
		bar.end();
		// A name that was taken meanwhile, a volume that is used again: that can be mended.
		const isKept = isPassing(error) || (error instanceof ApiError && error.status === 409);
		if (isKept && error instanceof ApiError && input.identity !== undefined)
			throw new ApiError(`${error.message} The import can go on with --resume.`, error.status, { cause: error });
		await upload.cancel();
		throw error;
	}
}

async function begin(client: ApiClient, wish: NewImport, input: ImageInput, flags: Flags): Promise<ImportView> {
	if (flags.resume !== true) return await Upload.begin(client, wish);
	if (input.identity === undefined) throw new UsageError('What comes from a pipe begins anew: leave --resume out.');
	const found = await Upload.find(client, wish.name);
	if (found === undefined) return await Upload.begin(client, wish);
	if (found.source !== wish.source || found.sizeBytes !== wish.sizeBytes || found.blockSize !== wish.blockSize)
		throw new UsageError(
			`Volume ${wish.name} is being imported from another file, or otherwise: it is given up ${found.idleSeconds} s after its last part.`,
			'inUse',
		);
	return found;
}

function wishOf(name: string, input: ImageInput, flags: Flags): NewImport {
	const imageBytes = input.image.sizeBytes;
	const sizeBytes = flags.size ?? imageBytes;
	if (sizeBytes === undefined) throw new UsageError('How long the image is does not show before its end: say --size.');
	if (imageBytes !== undefined && sizeBytes < imageBytes)
		throw new UsageError(
			`The image has ${exactSize(imageBytes)}, which is more than ${exactSize(sizeBytes)}: nothing is cut off, so say a larger --size.`,
		);
	const whole = Math.ceil(sizeBytes / pageBytes) * pageBytes;
	if (whole !== sizeBytes)
		throw new UsageError(
			`${exactSize(sizeBytes)} is no volume size, which is a multiple of ${exactSize(pageBytes)}: say --size ${whole}; what is behind the image is zeros.`,
		);
	if (flags.keepAs !== undefined && flags.overwrite !== true) throw new UsageError('--keep-as is for --overwrite.');
	return {
		name,
		sizeBytes,
		blockSize: flags.blockSize === '4096' ? 4096 : 512,
		source: input.identity ?? '',
		...(flags.overwrite === true ? { overwrite: { keepAs: flags.keepAs ?? keptName(name) } } : {}),
		...(flags.sha256 === undefined ? {} : { sha256: flags.sha256 }),
	};
}

/** `data-before-20261121t091500z`, cut to what a name may have. */
function keptName(name: string): string {
	const time = new Date()
		.toISOString()
		.replaceAll(/[-:]|\.\d+/g, '')
		.toLowerCase();
	const behind = `-before-${time}`;
	return `${name.slice(0, 63 - behind.length)}${behind}`;
}
