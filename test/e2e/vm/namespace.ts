import { spawn } from 'node:child_process';

const mark = 'BLOCKPORT_E2E_INSIDE';

/** Whether this process runs in the lane's own namespaces already. */
export const isInside = process.env[mark] === '1';

/**
 * Runs this program again in namespaces of its own for network, processes and mounts: bridge, tap, mounts and every process are gone when it ends, however
 * it ends. Who is not root becomes root of a user namespace. Resolves to its exit code.
 */
export async function runInside(): Promise<number> {
	const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
	const flags = [...user, '--net', '--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
	// The kernel ends it all when this process is killed without a chance to say so.
	const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...flags, process.execPath, ...process.argv.slice(1)], {
		stdio: 'inherit',
		env: { ...process.env, [mark]: '1' },
	});
	// Process 1 of a namespace does not hear signals that it has no handler for, and unshare does not pass any on.
	for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGKILL'));
	return await new Promise((resolve, reject) => {
		child.on('error', reject);
		child.on('close', (code) => resolve(code ?? 1));
	});
}
