import type { Scenario } from '../scenario.ts';
import { discovery } from './discovery.ts';
import { fileSystems } from './file-systems.ts';
import { fstrim } from './fstrim.ts';

/** Every scenario, in the order in which they run. */
export const scenarios: readonly Scenario[] = [discovery, ...fileSystems, fstrim];
