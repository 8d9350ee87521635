import { Command, CommanderError } from 'commander';
import { UsageError } from '../config/usage-error.ts';
import { ApiError } from './api-client.ts';
import { archiveCommand } from './archive-commands.ts';
import { discoveryCommand } from './discovery-commands.ts';
import { eventCommand } from './event-commands.ts';
import { scheduleCommand } from './schedule-commands.ts';
import { type MakeServer, serveCommand } from './serve-command.ts';
import { snapshotCommand } from './snapshot-commands.ts';
import { spaceCommand } from './space-commands.ts';
import { sessionCommand, statusCommand } from './status-commands.ts';
import { controllerCommand, subsystemCommand } from './subsystem-commands.ts';
import { targetCommand } from './target-commands.ts';
import { type CheckVolume, volumeCommand } from './volume-commands.ts';

/** What the CLI cannot do by itself; the launcher brings it. */
export interface Surroundings {
	readonly version: string;
	readonly makeServer: MakeServer;
	readonly checkVolume: CheckVolume;
}

/** Usage: the words are wrong, and would be tomorrow. Failed: what is there does not allow it, or it went wrong. */
export const exitCode = { done: 0, failed: 1, usage: 2 } as const;

/** Runs one command line (without node and script). Resolves to the exit code; rejects only for a fault of ours. */
export async function main(words: readonly string[], surroundings: Surroundings): Promise<number> {
	try {
		await program(surroundings).parseAsync([...words], { from: 'user' });
		return exitCode.done;
	} catch (error) {
		if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.usage;
		if (!(error instanceof UsageError || error instanceof ApiError)) throw error;
		process.stderr.write(`blockport: ${error.message}\n`);
		const isWrong = error instanceof UsageError ? error.code === 'invalid' : error.status === 400;
		return isWrong ? exitCode.usage : exitCode.failed;
	}
}

export function program(surroundings: Surroundings): Command {
	const root = new Command('blockport')
		.description('iSCSI and NVMe/TCP block storage from one process')
		.version(surroundings.version)
		.addCommand(serveCommand(surroundings.makeServer))
		.addCommand(volumeCommand(surroundings.checkVolume))
		.addCommand(targetCommand())
		.addCommand(discoveryCommand())
		.addCommand(sessionCommand())
		.addCommand(subsystemCommand())
		.addCommand(controllerCommand())
		.addCommand(snapshotCommand())
		.addCommand(scheduleCommand())
		.addCommand(archiveCommand())
		.addCommand(spaceCommand())
		.addCommand(eventCommand())
		.addCommand(statusCommand());
	everyCommand(root, (command) => command.exitOverride().showHelpAfterError('(add --help for what there is)'));
	return root;
}

/** exitOverride and the like are not inherited by commands that were made elsewhere. */
function everyCommand(command: Command, visit: (command: Command) => void): void {
	visit(command);
	for (const child of command.commands) everyCommand(child, visit);
}
