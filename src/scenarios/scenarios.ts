import { feed } from './feed.js';
import { freeze } from './freeze.js';
import { overload } from './overload.js';
import { restart } from './restart.js';
import { rolling } from './rolling.js';
import type { Scenario } from './scenario.js';

/** The values of `--scenario`. */
export const SCENARIOS = { restart, rolling, freeze, feed, overload } as const satisfies Record<string, Scenario>;
export type ScenarioName = keyof typeof SCENARIOS;

export function isScenarioName(name: string): name is ScenarioName {
  return Object.hasOwn(SCENARIOS, name);
}
