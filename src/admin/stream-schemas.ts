import { z } from 'zod';

const name = z.string().max(512);
const bytes = z.int().nonnegative();

export const formats = ['raw', 'qcow2'] as const;

export const exportQuery = z.strictObject({ format: z.enum(formats).default('raw') });

export const extentsQuery = z.strictObject({
	from: z.coerce.number<string>().int().nonnegative().default(0).describe('A byte; the list goes on from there.'),
});

export const extents = z.object({
	sizeBytes: bytes.describe('Of the snapshot.'),
	etag: z.string().describe('What the raw export has as ETag: another snapshot of the same name has another.'),
	ranges: z
		.array(z.object({ offsetBytes: bytes, lengthBytes: bytes }))
		.describe('What may hold something else than zeros, ascending; between near ones, zeros too.'),
	nextBytes: bytes.optional().describe('The list ends here, and goes on with this as `from`; absent: that was all.'),
});

export const newImport = z.strictObject({
	name,
	sizeBytes: bytes.describe('Of the volume; what does not come is zeros.'),
	blockSize: z.union([z.literal(512), z.literal(4096)]).default(512),
	overwrite: z
		.strictObject({ keepAs: name.describe('What the volume of that name is called from then on. Nothing may use it.') })
		.optional(),
	sha256: z
		.string()
		.regex(/^[0-9a-f]{64}$/)
		.optional()
		.describe('Of all bytes from the first up to the last that came, zeros too; if they have another, no volume appears.'),
	source: z.string().max(256).default('').describe('For whoever sends: what it was, so that the right one goes on.'),
});

export const importView = z.object({
	id: z.string(),
	name,
	uuid: z.string().describe('Of the volume that it becomes.'),
	sizeBytes: bytes,
	blockSize: z.union([z.literal(512), z.literal(4096)]),
	keepAs: name.optional(),
	source: z.string(),
	offsetBytes: bytes.describe('Up to here everything came. The next part begins here.'),
	startedAt: z.string(),
	idleSeconds: z.int().describe('After so long without a request it is given up.'),
});

export const imports = z.object({ imports: z.array(importView) });

export const zeroRange = z.strictObject({ offsetBytes: bytes, lengthBytes: bytes });

export const finish = z.strictObject({ lengthBytes: bytes.describe('How much came. Refused unless it is what is here.') });

export const importParameters = z.object({ import: z.string().max(64) });

export type ExportFormat = (typeof formats)[number];
export type ExtentsView = z.infer<typeof extents>;
export type NewImport = z.infer<typeof newImport>;
export type ImportView = z.infer<typeof importView>;
export type ZeroRange = z.infer<typeof zeroRange>;
