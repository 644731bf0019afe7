import { setTimeout as wait } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { readMemory } from '../../bench/memory.mjs';

/** The client or the server side of the library, which receives the sequences. */
export interface FuzzTarget {
  /** Runs the sequence of `seed` without the steps in `without`; resolves to the invariant that it broke, if any. */
  runSequence(lane: number, seed: number, without: ReadonlySet<number>): Promise<string | undefined>;
  /** The sequence of `seed` as text: a heading, one line per step, and the ending. */
  describe(seed: number): readonly string[];
  /** Closes the target; resolves to a description of resources that stayed open, if any. */
  close(): Promise<string | undefined>;
}

/** An invariant that a sequence broke. */
export interface Finding {
  /** The seed that broke the invariant, or the seeds of all lanes if the lane is unknown. Empty for resources that stayed open. */
  readonly seeds: readonly number[];
  readonly what: string;
}

/** The figures of a run. */
export interface FuzzReport {
  readonly sequences: number;
  /** Heap growth in bytes after the first fifth of the run. */
  readonly heapGrowthBytes: number;
  /** Number of active Node resources (sockets, timers, and others) after a fifth of the run and at its end. */
  readonly handles: readonly [number, number];
  /** Number of log lines of the library and of grpc-js. */
  readonly logLines: number;
  /** Number of characters in the longest log line of the library. */
  readonly longestLogLine: number;
  /** Number of library log lines that contain control characters other than tab and line feed. */
  readonly forgedLogLines: number;
  readonly seconds: number;
}

/** An event during a run. It is reported immediately, because the process may end. */
export type FuzzEvent =
  | { readonly type: 'begun' | 'ended'; readonly seed: number }
  | { readonly type: 'finding'; readonly finding: Finding }
  | { readonly type: 'report'; readonly report: FuzzReport };

export class CountedLog implements LoggerService {
  lines = 0;
  longest = 0;
  /**
   * Lines with control characters other than tab and line feed. In a terminal, such a line could overwrite other lines, or look like
   * additional ones.
   */
  forged = 0;

  private readonly take = (...parts: readonly unknown[]): void => {
    this.lines += 1;
    const line = parts.map(String).join(' ');
    this.longest = Math.max(this.longest, line.length);
    if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) this.forged += 1;
  };
  log = this.take;
  error = this.take;
  warn = this.take;
  debug = (): void => undefined;
  verbose = (): void => undefined;
}

const WARM_UP = 0.2;
const HANG_FINDING = 'the sequence does not end';
/** Seconds after which a sequence counts as hanging, apart from those in which this process did not run. Longer than the deadline of every call. */
const HANG_SECONDS = 90;

/** Runs a sequence; resolves to what is wrong, if anything. */
async function runSafely(target: FuzzTarget, lane: number, seed: number): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  let seconds = 0;
  let lastAt = performance.now();
  const hangs = new Promise<string>((resolve) => {
    timer = setInterval(() => {
      const now = performance.now();
      if (now - lastAt < 2_000) seconds += 1;
      lastAt = now;
      if (seconds === HANG_SECONDS) resolve(HANG_FINDING);
    }, 1_000).unref();
  });
  try {
    return await Promise.race([target.runSequence(lane, seed, new Set()), hangs]);
  } catch (error) {
    return `the sequence fails: ${String(error)}`;
  } finally {
    clearInterval(timer);
  }
}

/** Runs the sequences of `seeds` on `lanes` concurrent lanes. */
export async function fuzz(
  target: FuzzTarget,
  seeds: readonly number[],
  lanes: number,
  { log, logOfGrpcJs }: { readonly log: CountedLog; readonly logOfGrpcJs: CountedLog },
  emit: (event: FuzzEvent) => void,
): Promise<void> {
  const running = new Set<number>();
  const emitFinding = (seeds: readonly number[], what: string): void => {
    emit({ type: 'finding', finding: { seeds, what } });
  };
  const onUnhandled = (error: unknown): void => {
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    emitFinding([...running], `unhandled: ${text}`);
  };
  process.on('uncaughtException', onUnhandled);
  process.on('unhandledRejection', onUnhandled);
  const startedAt = performance.now();
  const runAll = async (part: readonly number[]): Promise<void> => {
    const remaining = part.values();
    await Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        for (const seed of remaining) {
          running.add(seed);
          emit({ type: 'begun', seed });
          const what = await runSafely(target, lane, seed);
          running.delete(seed);
          if (what !== undefined) emitFinding([seed], what);
          emit({ type: 'ended', seed });
          // Stops the lane, because the next sequence would overlap with this one.
          if (what === HANG_FINDING) return;
        }
      }),
    );
  };
  const warmUp = Math.ceil(seeds.length * WARM_UP);
  await runAll(seeds.slice(0, warmUp));
  const before = await usedResources();
  await runAll(seeds.slice(warmUp));
  const after = await usedResources();
  const seconds = (performance.now() - startedAt) / 1_000;
  const open = await target.close();
  if (open !== undefined) emitFinding([], open);
  process.off('uncaughtException', onUnhandled);
  process.off('unhandledRejection', onUnhandled);
  const report: FuzzReport = {
    sequences: seeds.length,
    heapGrowthBytes: after.heap - before.heap,
    handles: [before.handles, after.handles],
    logLines: log.lines + logOfGrpcJs.lines,
    longestLogLine: log.longest,
    forgedLogLines: log.forged,
    seconds,
  };
  emit({ type: 'report', report });
}

/** Removes from the sequence of `seed` the steps that are not needed to break an invariant; resolves to the remaining lines. */
export async function shrink(target: FuzzTarget, seed: number): Promise<readonly string[]> {
  const [heading = '', ...lines] = target.describe(seed);
  const ending = lines.pop() ?? '';
  const without = new Set<number>();
  for (const at of lines.keys()) {
    without.add(at);
    if (!(await breaks(target, seed, without))) without.delete(at);
  }
  return [heading, ...lines.filter((_, at) => !without.has(at)), ending];
}

async function breaks(target: FuzzTarget, seed: number, without: ReadonlySet<number>): Promise<boolean> {
  let isBroken = false;
  const onUnhandled = (): void => {
    isBroken = true;
  };
  process.on('uncaughtException', onUnhandled);
  process.on('unhandledRejection', onUnhandled);
  // Runs the sequence up to three times, because not every run breaks the invariant.
  for (let runs = 0; runs < 3 && !isBroken; runs++)
    isBroken ||= (await target.runSequence(0, seed, without)) !== undefined;
  await wait(5);
  process.off('uncaughtException', onUnhandled);
  process.off('unhandledRejection', onUnhandled);
  return isBroken;
}

async function usedResources(): Promise<{ readonly heap: number; readonly handles: number }> {
  let handles = Infinity;
  // Gives the connections and handlers of the last sequences time to end, however late this process is.
  for (let samples = 0; samples < 5; samples++) {
    await wait(100);
    handles = Math.min(handles, process.getActiveResourcesInfo().length);
  }
  const { heap } = await readMemory();
  return { heap, handles };
}
