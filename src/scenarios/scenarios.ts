import { blackhole } from './blackhole.js';
import { drain } from './drain.js';
import { feed } from './feed.js';
import { freeze } from './freeze.js';
import { idleCut } from './idle-cut.js';
import { overload } from './overload.js';
import { overloadServer } from './overload-server.js';
import { replicas } from './replicas.js';
import { reset } from './reset.js';
import { restart } from './restart.js';
import { rolling } from './rolling.js';
import type { Scenario } from './scenario.js';
import { shutdown } from './shutdown.js';
import { slow } from './slow.js';

/** The values of `--scenario`. */
export const SCENARIOS = {
  restart,
  drain,
  reset,
  'idle-cut': idleCut,
  overload,
  'overload-server': overloadServer,
  slow,
  feed,
  freeze,
  blackhole,
  shutdown,
  rolling,
  replicas,
} as const satisfies Record<string, Scenario>;
export type ScenarioName = keyof typeof SCENARIOS;

export function isScenarioName(name: string): name is ScenarioName {
  return Object.hasOwn(SCENARIOS, name);
}
