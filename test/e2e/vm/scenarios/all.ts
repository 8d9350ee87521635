import type { Scenario } from '../scenario.ts';
import { archivePostgresql } from './archive-postgresql.ts';
import { besideTgtd } from './beside-tgtd.ts';
import { bothData, bothReservations } from './both-protocols.ts';
import { chap, chapDemanded, chapDiscovery } from './chap.ts';
import { commands } from './commands.ts';
import { discovery, stranger } from './discovery.ts';
import { fileSystems } from './file-systems.ts';
import { fioR2T, fioVerify } from './fio-verify.ts';
import { fstrim } from './fstrim.ts';
import { grow } from './grow.ts';
import { killFio } from './kill-fio.ts';
import { lazyPostgresql } from './lazy-postgresql.ts';
import { link } from './link.ts';
import { lunEvent, maintenance } from './maintenance.ts';
import { multipath, multipathCut } from './multipath.ts';
import { negativeControl } from './negative-control.ts';
import { nvmeAuth } from './nvme-auth.ts';
import { nvmeCommands } from './nvme-commands.ts';
import { nvmeConnect } from './nvme-connect.ts';
import { nvmeDiscard } from './nvme-discard.ts';
import { nvmeDiscovery, nvmeStranger } from './nvme-discovery.ts';
import { nvmeFileSystems } from './nvme-file-systems.ts';
import { nvmeFio } from './nvme-fio.ts';
import { nvmeGrow } from './nvme-grow.ts';
import { nvmeKillFio, nvmeLoss } from './nvme-kill-fio.ts';
import { nvmePostgresql } from './nvme-postgresql.ts';
import { nvmeReservations } from './nvme-reservations.ts';
import { killPgbench, postgresql } from './postgresql.ts';
import { powerLoss, powerLossDatabase } from './power-loss.ts';
import { sg3, sg3Data } from './sg3.ts';
import { sgSanitize } from './sg-sanitize.ts';
import { sgFence, sgPersistPowerLoss } from './sg-fence.ts';
import { sgPersist } from './sg-persist.ts';
import { snapshotsReadOnly } from './snapshots-read-only.ts';
import { nvmeSnapshotsRestore, snapshotsRestore } from './snapshots-restore.ts';
import { snapshotsPostgresql } from './snapshots-postgresql.ts';
import { twoSessions } from './two-sessions.ts';

/** Every scenario, in the order in which they run. */
export const scenarios: readonly Scenario[] = [
	discovery,
	stranger,
	chap,
	chapDiscovery,
	chapDemanded,
	maintenance,
	lunEvent,
	commands,
	...fileSystems,
	fstrim,
	fioVerify,
	fioR2T,
	grow,
	twoSessions,
	sg3,
	sg3Data,
	sgSanitize,
	sgPersist,
	sgFence,
	sgPersistPowerLoss,
	multipath,
	multipathCut,
	postgresql,
	killPgbench,
	killFio,
	link,
	nvmeDiscovery,
	nvmeStranger,
	nvmeCommands,
	nvmeConnect,
	nvmeAuth,
	...nvmeFileSystems,
	nvmeFio,
	nvmeDiscard,
	nvmeGrow,
	nvmePostgresql,
	nvmeKillFio,
	nvmeLoss,
	nvmeReservations,
	bothData,
	bothReservations,
	snapshotsPostgresql,
	snapshotsRestore,
	nvmeSnapshotsRestore,
	snapshotsReadOnly,
	lazyPostgresql,
	archivePostgresql,
	powerLoss,
	powerLossDatabase,
	negativeControl,
	besideTgtd,
];
