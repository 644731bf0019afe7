import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Scenario } from './scenario.js';

const FOLDER = join(import.meta.dirname, '..');

/** Returns every scenario in test/scenarios, by name. The file of a scenario has the same name. */
export async function allScenarios(): Promise<ReadonlyMap<string, Scenario>> {
  const files = readdirSync(FOLDER).filter((file) => /^(?!.*-spec\.ts$).*\.ts$/.test(file));
  const all = new Map<string, Scenario>();
  for (const file of files.sort()) {
    const exported: unknown[] = Object.values((await import(join(FOLDER, file))) as object);
    const [scenario] = exported.filter(isScenario);
    if (exported.length !== 1 || scenario === undefined || `${scenario.name}.ts` !== file)
      throw new Error(`${file}: expected one export, a scenario with the name of its file`);
    all.set(scenario.name, scenario);
  }
  return all;
}

function isScenario(value: unknown): value is Scenario {
  return typeof value === 'object' && value !== null && 'promise' in value && 'measure' in value;
}
