// Compiles what `blockport serve` loads, once, into node_modules/.cache: the first start is then as quick and as small as the later ones.
// Node checks the cache against each source file, so it can be stale but never wrong.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '..');
const [major, minor] = process.versions.node.split('.').map(Number);
const launched = [join(root, 'bin/blockport.ts'), join(root, 'dist/bin/blockport.js')].find((path) => existsSync(path));
const modules = ['src/cli/main', 'src/appliance', 'src/admin/server', 'src/appliance/check-offline']
	.map((name) => [join(root, `${name}.ts`), join(root, 'dist', `${name}.js`)].find((path) => existsSync(path)))
	.filter((path) => path !== undefined);

if (major > 24 || (major === 24 && minor >= 12)) {
	const script = modules.map((path) => `await import(${JSON.stringify(pathToFileURL(path).href)});`).join('\n');
	const env = { ...process.env, NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/blockport') };
	try {
		execFileSync(process.execPath, ['--input-type=module', '-e', script], { env, stdio: 'ignore' });
		if (launched !== undefined) execFileSync(process.execPath, [launched, '--version'], { env, stdio: 'ignore' });
	} catch {
		// The first start compiles then.
	}
}
