import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Configuration } from '../../src/config/configuration.ts';
import { UsageError, type UsageErrorCode } from '../../src/config/usage-error.ts';
import { temporaryDirectory } from '../temporary.ts';

const sizeBytes = 2 ** 20;
const old = '11111111-1111-4111-8111-111111111111';
const fresh = '22222222-2222-4222-8222-222222222222';

async function configured(t: ExecutionContext) {
	const path = join(await temporaryDirectory(t), 'config.db');
	const configuration = new Configuration(path);
	t.teardown(() => configuration.close());
	configuration.addVolume({ name: 'data', uuid: old, sizeBytes, blockSize: 512 });
	configuration.doomDirectory(fresh);
	const replace = (keepAs: string) =>
		configuration.replaceVolume({ name: 'data', uuid: fresh, sizeBytes: 2 * sizeBytes, blockSize: 4096 }, keepAs);
	const refuses = (code: UsageErrorCode, message: RegExp, keepAs = 'before'): void => {
		const error = t.throws(() => replace(keepAs), { instanceOf: UsageError });
		t.is(error?.code, code, error?.message);
		t.regex(error?.message ?? '', message);
		t.like(configuration.volume('data'), { uuid: old, sizeBytes, blockSize: 512 });
		t.deepEqual(configuration.doomedDirectories(), [fresh]);
	};
	return { configuration, replace, refuses };
}

test('a volume takes the name of another one, which keeps what belongs to its uuid; the directory is doomed no longer', async (t) => {
	const { configuration, replace } = await configured(t);
	configuration.sanitizing.set(old, true);
	configuration.scrubs.begin('data', 2 ** 20);
	configuration.scrubs.ended('data', { startedAt: 'a', finishedAt: 'b', pages: 1, findings: 0, repaired: 0 });
	const { createdAt } = configuration.volume('data');
	t.like(replace('before'), { name: 'data', uuid: fresh });
	t.like(configuration.volume('data'), { uuid: fresh, sizeBytes: 2 * sizeBytes, blockSize: 4096 });
	t.like(configuration.volume('before'), { uuid: old, sizeBytes, blockSize: 512, createdAt });
	t.deepEqual(configuration.doomedDirectories(), []);
	t.true(configuration.sanitizing.has(old));
	t.false(configuration.sanitizing.has(fresh));
	// What a scrub found was in the other one.
	t.is(configuration.scrubs.get('data').last, undefined);
});

test('refused, and nothing changed: the other name is taken or none, there is no such volume, or it is used', async (t) => {
	const { configuration, refuses } = await configured(t);
	refuses('alreadyExists', /There is a volume data already/, 'data');
	refuses('invalid', /no volume name/, 'No');
	const target = 'iqn.2026-11.dev.blockport:one';
	configuration.addTarget({ name: target });
	configuration.map(target, 'data');
	refuses('inUse', /unmap LUN 0 of/);
	configuration.unmap(target, 0);
	configuration.scrubs.begin('data', 2 ** 20);
	refuses('inUse', /end its scrub/);
	configuration.scrubs.ended('data', undefined);
	t.throws(() => configuration.checkReplacement('none', 'before', { sizeBytes, blockSize: 512 }), { message: /no volume none/ });
});
