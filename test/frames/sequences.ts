import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bundled } from '../support/bundled.js';
import type { FuzzEvent, FuzzReport } from './fuzz-run.js';

/** The side of the library that receives the sequences. */
export type Side = 'client' | 'server';

/** Results of sequences that ran in a separate process. */
export interface SequencesRun {
  /** Broken invariants, each with the command that reproduces it. */
  readonly findings: readonly string[];
  /** `undefined` if the process did not complete. */
  readonly report: FuzzReport | undefined;
}

const SOURCE = fileURLToPath(new URL('./fuzz-process.mjs', import.meta.url));
const SCRIPT = bundled(new URL('./fuzz-process.mjs', import.meta.url));
const LOADER = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));

/** Time without an event after which the process is killed. Longer than the limit of a sequence. */
const STUCK_MS = 200_000;

/** Runs `count` sequences in one process, starting at seed `from`, and waits until it exits. */
export async function runSequences(side: Side, from: number, count: number): Promise<SequencesRun> {
  const child = fork(SCRIPT, ['--side', side, '--from', String(from), '--count', String(count)], {
    // A bundle is JavaScript and needs no loader.
    execArgv: ['--expose-gc', ...(SCRIPT === SOURCE ? ['--import', LOADER] : [])],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(String(bytes)));
  const findings: string[] = [];
  const find = (what: string, seeds: readonly number[]): void => {
    const which =
      seeds.length > 0 ? `--lanes 1 --seeds ${seeds.join()}` : `--from ${String(from)} --count ${String(count)}`;
    findings.push(
      `${what}; reproduce with: node --expose-gc --import ./test/support/typescript.mjs test/frames/fuzz-process.mjs --side ${side} ${which}`,
    );
  };
  const inFlight = new Set<number>();
  let report: FuzzReport | undefined;
  // Kills a process that makes no progress or does not exit.
  const watchdog = setTimeout(() => child.kill('SIGKILL'), STUCK_MS);
  child.on('message', (event: FuzzEvent) => {
    watchdog.refresh();
    switch (event.type) {
      case 'begun':
        inFlight.add(event.seed);
        break;
      case 'ended':
        inFlight.delete(event.seed);
        break;
      case 'finding':
        find(event.finding.what, event.finding.seeds);
        break;
      case 'report':
        report = event.report;
    }
  });
  // The cast is safe because 'close' has the code or the signal.
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(watchdog);
  if (code !== 0) find(`process ended with ${signal ?? `code ${String(code)}`}: ${output.join('')}`, [...inFlight]);
  return { findings, report };
}
