// Builds raw-socket for the Node pinned in package.json. Runs under that Node: npm puts node_modules/.bin first on PATH.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';

const prefix = dirname(dirname(process.execPath));
const addon = join(process.cwd(), 'node_modules/raw-socket');
const env = { ...process.env, CXXFLAGS: '-w' };
// node-gyp lets the environment win over its own --nodedir flag.
if (existsSync(join(prefix, 'include/node/node_version.h'))) env.npm_config_nodedir = prefix;
try {
	if (existsSync(addon)) {
		execFileSync('node-gyp', ['rebuild', '--loglevel=error'], { cwd: addon, stdio: ['ignore', 'ignore', 'inherit'], env });
	}
} catch (error) {
	console.warn(`raw-socket was not built (python3, make and g++ are needed): path-MTU probing will be off (${error.message})`);
}
