import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Situation } from './situation.js';

const FOLDER = join(import.meta.dirname, '..');

/** Returns every situation in test/scenarios, by name. The file of a situation has the same name. */
export async function allSituations(): Promise<ReadonlyMap<string, Situation>> {
  const files = readdirSync(FOLDER).filter((file) => /^(?!.*-spec\.ts$).*\.ts$/.test(file));
  const all = new Map<string, Situation>();
  for (const file of files.sort()) {
    const exported: unknown[] = Object.values((await import(join(FOLDER, file))) as object);
    const [situation] = exported.filter(isSituation);
    if (exported.length !== 1 || situation === undefined || `${situation.name}.ts` !== file)
      throw new Error(`${file}: expected one export, a situation with the name of its file`);
    all.set(situation.name, situation);
  }
  return all;
}

function isSituation(value: unknown): value is Situation {
  return typeof value === 'object' && value !== null && 'promise' in value && 'measure' in value;
}
