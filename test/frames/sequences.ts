import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bundled } from '../support/bundled.js';
import type { FuzzReport } from './fuzz-run.js';

/** Which half of the library the sequences are played to. */
export type Side = 'client' | 'server';

/** Sequences that were played in processes of their own. */
export interface SequencesRun {
  /** What was broken; each line ends with the command that plays it again. */
  readonly findings: string[];
  /** Of each process that came to its end. */
  readonly reports: FuzzReport[];
  /** Processes that an assertion of Node ended; another one played the rest. */
  nodeAborts: number;
}

const SOURCE = fileURLToPath(new URL('./fuzz-process.mjs', import.meta.url));
const SCRIPT = bundled(new URL('./fuzz-process.mjs', import.meta.url));
const LOADER = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));

/**
 * Assertions of Node and its nghttp2 that end the process: the first in a garbage collection of Node 20 and 24, that of a server of
 * plain `node:http2` too. The library can't prevent them.
 */
const NODE_ABORTS = [
  'Assertion failed: (current_nghttp2_memory_) == (0)',
  "nghttp2_session_mem_recv2: Assertion `iframe->state == NGHTTP2_IB_IGN_ALL' failed",
];

/** Longer than a sequence that hangs, which is a finding of its own. */
const STUCK_MS = 200_000;

/** Plays `count` sequences from seed `from` on, and waits until each process ends without help. */
export async function playSequences(side: Side, from: number, count: number): Promise<SequencesRun> {
  const run: SequencesRun = { findings: [], reports: [], nodeAborts: 0 };
  for (let next = from; next < from + count;) next = await playFrom(run, side, next, from + count - next);
  return run;
}

/** Plays sequences in one process; resolves to the first seed that was not begun. */
async function playFrom(run: SequencesRun, side: Side, from: number, count: number): Promise<number> {
  const child = fork(SCRIPT, ['--side', side, '--from', String(from), '--count', String(count)], {
    // A bundle is JavaScript.
    execArgv: ['--expose-gc', ...(SCRIPT === SOURCE ? ['--import', LOADER] : [])],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(String(bytes)));
  /** By lane. */
  const playing = new Map<number, number>();
  // Ends a process that plays no more, or does not end.
  const watchdog = setTimeout(() => child.kill('SIGKILL'), STUCK_MS);
  child.on('message', (message: { report: FuzzReport } | { lane: number; seed: number }) => {
    watchdog.refresh();
    if ('report' in message) run.reports.push(message.report);
    else playing.set(message.lane, message.seed);
  });
  const reportsBefore = run.reports.length;
  // True: 'close' comes with the code or the signal.
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(watchdog);
  const again = (seeds: readonly number[]): string =>
    `node --expose-gc --import ./test/support/typescript.mjs test/frames/fuzz-process.mjs --side ${side} --lanes 1 --seeds ${seeds.join()}`;
  const report = run.reports.length > reportsBefore ? run.reports.at(-1) : undefined;
  for (const { seeds, what } of report?.findings ?? []) run.findings.push(`${what}; play it again: ${again(seeds)}`);
  if (code === 0) return from + count;
  const text = output.join('');
  if (!NODE_ABORTS.some((assertion) => text.includes(assertion))) {
    run.findings.push(`ended by ${signal ?? String(code)}; play it again: ${again([...playing.values()])}; ${text}`);
    return from + count;
  }
  run.nodeAborts += 1;
  return Math.max(from, ...playing.values()) + 1;
}
