import type { Command } from 'commander';
import type { HistoryView } from '../admin/history-schemas.ts';
import type { RestoredView, SnapshotView } from '../admin/snapshot-schemas.ts';
import { UsageError } from '../config/usage-error.ts';
import { ApiClient, ApiError } from './api-client.ts';
import { type CommonFlags, argument, remoteCommand, size } from './flags.ts';
import { type MomentBody, parseMoment, parseSpan } from './moment.ts';
import { printSize } from './size.ts';
import { confirm, lines, show } from './terminal.ts';
import { toldText, usersOfVolume, whileUsed } from './volume-users.ts';

interface HistoryFlags extends CommonFlags {
	readonly on?: boolean;
	readonly off?: boolean;
	readonly show?: boolean;
	readonly window?: number;
	readonly maxBytes?: number;
	readonly yes?: boolean;
}

interface RewindFlags extends CommonFlags {
	readonly to: MomentBody;
	readonly view?: string;
	readonly restore?: boolean;
	readonly keepLiveAs?: string;
	readonly yes?: boolean;
}

const span = argument(parseSpan);
const moment = argument((text: string) => parseMoment(text, Date.now()));

export function historyCommand(): Command {
	return remoteCommand('history', 'keep what is needed to put a volume back to any moment of a window, or show how far back that goes')
		.argument('<name>')
		.option('--on', 'keep it from now on; large writes go through the log then, twice to the disk and not once')
		.option('--off', 'keep it no longer, and give its space back')
		.option('--show', 'only show how it stands, as without any of these')
		.option('--window <span>', 'how far back, for example 30m, 24h, 7d; 30d at most', span)
		.option('--max-bytes <size>', 'of log that is kept for it, for example 10G; 512M to 64G', size)
		.option('-y, --yes', 'do not ask')
		.action(async (name: string, flags: HistoryFlags) => {
			const client = new ApiClient(flags);
			await show(flags.json, await ask(client, name, flags), describe);
		});
}

export function rewindCommand(): Command {
	return remoteCommand('rewind', 'show what a volume held at a moment of its history as a snapshot, or make the volume that again')
		.argument('<name>')
		.requiredOption('--to <moment>', 'a time (2026-11-21T12:00:00Z), how long ago (15m), or an LSN', moment)
		.option('--view <snapshot>', 'the name of the snapshot that shows it; it can be mounted, compared, cloned and deleted as any other')
		.option('--restore', 'make the volume that again; unmount it first: who still uses it is told, and not asked')
		.option('--keep-live-as <snapshot>', 'with --restore: keep what is in the volume now as a snapshot')
		.option('-y, --yes', 'do not ask')
		.action(async (name: string, flags: RewindFlags) => {
			const client = new ApiClient(flags);
			const { to, view, restore, keepLiveAs } = flags;
			if ((view === undefined) === (restore !== true)) throw new UsageError('Say what it is for: --view NAME or --restore.');
			if (keepLiveAs !== undefined && restore !== true) throw new UsageError('--keep-live-as goes with --restore.');
			if (view !== undefined) {
				const made = await client.post<SnapshotView>(`${path(name)}/rewind`, { ...to, name: view });
				await show(flags.json, made, (one) => `snapshot ${name}@${one.name} shows what the volume held at ${described(to)}`);
				return;
			}
			const lost = keepLiveAs === undefined ? ', losing sight of what was written since (the history has it as long as its window)' : '';
			const used = whileUsed(await usersOfVolume(client, name));
			if (!(await confirm(`Putting volume ${name} back to ${described(to)}${lost}${used}`, flags.yes, used !== '')))
				throw new ApiError('Nothing was restored.', 0);
			const body = { ...to, ...(keepLiveAs === undefined ? {} : { keepLiveAs }) };
			const restored = await client.post<RestoredView>(`${path(name)}/rewind/restore`, body);
			await show(flags.json, restored, () => `volume ${name} is what it was at ${described(to)}${toldText(restored)}`);
		});
}

async function ask(client: ApiClient, name: string, flags: HistoryFlags): Promise<HistoryView> {
	const { on, off, window, maxBytes } = flags;
	const wishes = [on, off, flags.show].filter((flag) => flag === true).length;
	if (wishes > 1) throw new UsageError('--on, --off and --show go alone.');
	if (on === true) {
		if (window === undefined || maxBytes === undefined) throw new UsageError('Say how much is kept: --window 24h --max-bytes 10G.');
		return client.put<HistoryView>(`${path(name)}/history`, { windowSeconds: window / 1000, maxBytes });
	}
	if (window !== undefined || maxBytes !== undefined) throw new UsageError('--window and --max-bytes go with --on.');
	if (off !== true) return client.get<HistoryView>(`${path(name)}/history`);
	if (!(await confirm(`Ending the history of volume ${name}, with all that it could show,`, flags.yes)))
		throw new ApiError('Nothing was changed.', 0);
	return client.delete<HistoryView>(`${path(name)}/history`);
}

function describe(view: HistoryView): string {
	if (!view.isOn) return `volume ${view.volume} keeps no history`;
	return lines([
		['volume', view.volume],
		['window', `${view.windowSeconds ?? 0} s, ${printSize(view.maxBytes ?? 0)} of log at most`],
		['reaches back to', view.from === undefined ? 'nothing yet' : `after ${view.from}, LSN ${view.fromLSN ?? 0}`],
		['log ends at', `LSN ${view.toLSN ?? 0}`],
		['log kept for it', `${printSize(view.heldBytes ?? 0)} (${view.heldBytes ?? 0} bytes)`],
		['anchors', String(view.anchors ?? 0)],
	]);
}

function described(to: MomentBody): string {
	return 'at' in to ? to.at : `LSN ${to.lsn}`;
}

function path(name: string): string {
	return `/v1/volumes/${encodeURIComponent(name)}`;
}
