import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bundled } from '../support/bundled.js';
import type { FuzzEvent, FuzzReport } from './fuzz-run.js';

/** The side of the library that receives the sequences. */
export type Side = 'client' | 'server';

/** Results of sequences that ran in separate processes. */
export interface SequencesRun {
  /** Broken invariants, each with the command that reproduces it. */
  readonly findings: string[];
  /** One report per process that completed. */
  readonly reports: FuzzReport[];
  /** Number of completed sequences. */
  ended: number;
  /** Seeds that were in flight at two aborts and are not run again. */
  readonly unjudged: number[];
  /** Number of processes that an assertion of Node aborted; another process ran the remaining sequences. */
  nodeAborts: number;
  /** Duration, including the start of each process. An aborted process reports no duration of its own. */
  seconds: number;
}

const SOURCE = fileURLToPath(new URL('./fuzz-process.mjs', import.meta.url));
const SCRIPT = bundled(new URL('./fuzz-process.mjs', import.meta.url));
const LOADER = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));

/**
 * Assertions of Node and its nghttp2 that abort the process. The first fails during garbage collection in Node 20 and 24, even with a
 * plain `node:http2` server. The library cannot prevent them.
 */
const NODE_ABORTS = [
  'Assertion failed: (current_nghttp2_memory_) == (0)',
  "nghttp2_session_mem_recv2: Assertion `iframe->state == NGHTTP2_IB_IGN_ALL' failed",
];

/** Time without an event after which the process is killed. Longer than `HANG_MS`, the limit of a sequence. */
const STUCK_MS = 200_000;

/** Runs `count` sequences, starting at seed `from`, and waits until each process exits. */
export async function runSequences(side: Side, from: number, count: number): Promise<SequencesRun> {
  const run: SequencesRun = { findings: [], reports: [], ended: 0, unjudged: [], nodeAborts: 0, seconds: 0 };
  const startedAt = performance.now();
  const inFlightBefore = new Set<number>();
  let seeds: readonly number[] = Array.from({ length: count }, (_, index) => from + index);
  while (seeds.length > 0) {
    const { inFlight, notBegun } = await runInProcess(run, side, seeds);
    run.unjudged.push(...inFlight.filter((seed) => inFlightBefore.has(seed)));
    seeds = [...inFlight.filter((seed) => !inFlightBefore.has(seed)), ...notBegun];
    for (const seed of inFlight) inFlightBefore.add(seed);
  }
  run.seconds = (performance.now() - startedAt) / 1_000;
  return run;
}

/** Runs the sequences of `seeds` in one process. Resolves to the unfinished sequences if an assertion of Node aborts the process. */
async function runInProcess(
  run: SequencesRun,
  side: Side,
  seeds: readonly number[],
): Promise<{ readonly inFlight: readonly number[]; readonly notBegun: readonly number[] }> {
  const child = fork(SCRIPT, ['--side', side, '--seeds', seeds.join()], {
    // A bundle is JavaScript and needs no loader.
    execArgv: ['--expose-gc', ...(SCRIPT === SOURCE ? ['--import', LOADER] : [])],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(String(bytes)));
  const formatCommand = (failed: readonly number[]): string =>
    `node --expose-gc --import ./test/support/typescript.mjs test/frames/fuzz-process.mjs --side ${side} --lanes 1 --seeds ${(failed.length > 0 ? failed : seeds).join()}`;
  const notBegun = new Set(seeds);
  const inFlight = new Set<number>();
  // Kills a process that makes no progress or does not exit.
  const watchdog = setTimeout(() => child.kill('SIGKILL'), STUCK_MS);
  child.on('message', (event: FuzzEvent) => {
    watchdog.refresh();
    switch (event.type) {
      case 'begun':
        notBegun.delete(event.seed);
        inFlight.add(event.seed);
        break;
      case 'ended':
        inFlight.delete(event.seed);
        run.ended += 1;
        break;
      case 'finding':
        run.findings.push(`${event.finding.what}; reproduce with: ${formatCommand(event.finding.seeds)}`);
        break;
      case 'report':
        run.reports.push(event.report);
    }
  });
  // The cast is safe because 'close' has the code or the signal.
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(watchdog);
  const text = output.join('');
  const isAborted = code !== 0 && NODE_ABORTS.some((assertion) => text.includes(assertion));
  if (isAborted) run.nodeAborts += 1;
  else if (code !== 0)
    run.findings.push(
      `process ended with ${signal ?? `code ${String(code)}`}; reproduce with: ${formatCommand([...inFlight])}; ${text}`,
    );
  return isAborted ? { inFlight: [...inFlight], notBegun: [...notBegun] } : { inFlight: [], notBegun: [] };
}
