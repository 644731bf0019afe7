import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { seams } from '../../docs/tools/source.mjs';

/** Options of a run of sabotaged-run.mjs. */
export interface Sabotage {
  readonly names: readonly string[];
  readonly tls?: boolean;
  /** Version that the package.json of grpc-js reports. */
  readonly version?: string;
  /** Folder of another copy of grpc-js to load. */
  readonly folder?: string;
}

/** Report of sabotaged-run.mjs. */
export interface SabotagedRun {
  readonly writes: number;
  /** Writes that failed, with their errors. */
  readonly failed: readonly string[];
  /** Failed expectations and uncaught errors; empty if the run succeeded. */
  readonly failures: readonly string[];
  /** Lines of the log at `warn` or above. */
  readonly warnings: readonly string[];
}

/** A private name and the feature that the library loses without it. */
export interface PrivateName {
  readonly name: string;
  readonly sabotage: Sabotage;
  readonly lost: string;
}

/** Names that occur in paths but that the tests do not remove: names of JavaScript. */
const SKIPPED_NAMES = new Set(['prototype']);

/** Names whose loss has an effect only with TLS. */
const TLS_NAMES = new Set(['_createSecureConnector', '_isSecure']);

/** Names that cannot be renamed alone, because Node fails without them. */
const EXCLUDED_NAMES = new Set(['_parent']);

/** Names of calls that `_runHandlerForCall()` makes. */
const SERVER_CALL_NAMES = ['nextCall', 'server-call.js:call'];

/**
 * The private names of the seams that sabotaged-run.mjs uses, except `SKIPPED_NAMES` and `EXCLUDED_NAMES`. `lost` is the feature that is
 * lost without the first seam that needs the name.
 */
export const PRIVATE_NAMES: readonly PrivateName[] = seams()
  .flatMap(({ on, needs, lostWithout: lost }) => [
    ...needs.flatMap(namesOf).map((name) => ({ name, lost })),
    ...(on === 'server' ? SERVER_CALL_NAMES : []).map((name) => ({ name, lost })),
  ])
  .filter(({ name }, index, all) => all.findIndex((one) => one.name === name) === index)
  .map(({ name, lost }) => {
    const sabotage = { names: [name], tls: TLS_NAMES.has(name) };
    return { name, lost, sabotage };
  });

/** Returns 'internalChannel', 'subchannelPool', … for 'internalChannel.subchannelPool.unrefUnusedSubchannels()'. */
function namesOf(path: string): readonly string[] {
  return path
    .replace('()', '')
    .split('.')
    .filter((name) => !SKIPPED_NAMES.has(name) && !EXCLUDED_NAMES.has(name));
}

const run = promisify(execFile);
const PROGRAM = join(import.meta.dirname, 'sabotaged-run.mjs');

/** Runs sabotaged-run.mjs on a sabotaged grpc-js, with the Node executable `program`. */
export async function runSabotaged(sabotage: Sabotage, program = process.execPath): Promise<SabotagedRun> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST') && name !== 'NODE_OPTIONS');
  const options = { env: Object.fromEntries(others), timeout: 50_000 };
  // Rejects if the program does not exit on its own.
  const { stdout } = await run(program, [PROGRAM, JSON.stringify(sabotage)], options);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as SabotagedRun;
}

/** Warnings about missing private names, or about an untested version. */
export function compatibilityWarningsOf({ warnings }: SabotagedRun): readonly string[] {
  return warnings.filter((line) => line.includes('tested with @grpc/grpc-js'));
}
