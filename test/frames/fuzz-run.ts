import { setTimeout as wait } from 'node:timers/promises';
import type { LoggerService } from '@nestjs/common';
import { readMemory } from '../../bench/memory/memory.mjs';

/** The half of the library that sequences are played to. */
export interface FuzzTarget {
  /** Plays the sequence of `seed` without some of its steps; resolves to the invariant that it broke, if any. */
  play(lane: number, seed: number, without: ReadonlySet<number>): Promise<string | undefined>;
  /** The sequence of `seed`: a heading, a line for each step, the end. */
  describe(seed: number): readonly string[];
  /** Closes it; resolves to a description of what stayed open, if anything. */
  close(): Promise<string | undefined>;
}

/** An invariant that a sequence broke. */
export interface Finding {
  /** Seeds that were played when it broke; one, or those of all lanes. */
  readonly seeds: readonly number[];
  readonly what: string;
}

/** The figures of a run. */
export interface FuzzReport {
  readonly played: number;
  /** Growth of the heap, in bytes, from a fifth of the run to its end. */
  readonly heapGrowth: number;
  /** Sockets, timers and others of Node, at a fifth of the run and at its end. */
  readonly handles: readonly [number, number];
  /** Of the library and of grpc-js. */
  readonly logLines: number;
  /** Characters of the library's longest line. */
  readonly longestLogLine: number;
  /** Lines of the library with control characters. */
  readonly forgedLogLines: number;
  readonly seconds: number;
}

/** Something to report while a run lasts: a process that Node aborts has no end to report at. */
export type FuzzEvent =
  | { readonly type: 'begun' | 'ended'; readonly seed: number }
  | { readonly type: 'finding'; readonly finding: Finding }
  | { readonly type: 'report'; readonly report: FuzzReport };

/** Counts log lines. */
export class CountedLog implements LoggerService {
  lines = 0;
  longest = 0;
  /** Lines with control characters, which could forge other lines. */
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
const HANGS = 'the sequence does not end';
/** Far above the deadline of every call. */
const HANG_MS = 90_000;

async function hanging(): Promise<string> {
  await wait(HANG_MS, undefined, { ref: false });
  return HANGS;
}

async function played(target: FuzzTarget, lane: number, seed: number): Promise<string | undefined> {
  try {
    return await target.play(lane, seed, new Set());
  } catch (error) {
    return `the sequence fails: ${String(error)}`;
  }
}

/** Plays the sequences of `seeds` on `lanes` lanes at once. */
export async function fuzz(
  target: FuzzTarget,
  seeds: readonly number[],
  lanes: number,
  { log, logOfGrpcJs }: { readonly log: CountedLog; readonly logOfGrpcJs: CountedLog },
  emit: (event: FuzzEvent) => void,
): Promise<void> {
  const playing = new Set<number>();
  const find = (seeds: readonly number[], what: string): void => {
    emit({ type: 'finding', finding: { seeds, what } });
  };
  const onUnhandled = (error: unknown): void => {
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    find([...playing], `unhandled: ${text}`);
  };
  process.on('uncaughtException', onUnhandled);
  process.on('unhandledRejection', onUnhandled);
  const startedAt = performance.now();
  const playAll = async (part: readonly number[]): Promise<void> => {
    const left = part.values();
    await Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        for (const seed of left) {
          playing.add(seed);
          emit({ type: 'begun', seed });
          const what = await Promise.race([played(target, lane, seed), hanging()]);
          playing.delete(seed);
          // What goes wrong in a garbage collection goes wrong with its sequence, where there is one lane.
          if (lanes === 1) await readMemory();
          if (what !== undefined) find([seed], what);
          emit({ type: 'ended', seed });
          // Its next sequence would begin within this one.
          if (what === HANGS) return;
        }
      }),
    );
  };
  const warmUp = Math.ceil(seeds.length * WARM_UP);
  await playAll(seeds.slice(0, warmUp));
  const before = await held();
  await playAll(seeds.slice(warmUp));
  const after = await held();
  const seconds = (performance.now() - startedAt) / 1_000;
  const open = await target.close();
  if (open !== undefined) find([], open);
  process.off('uncaughtException', onUnhandled);
  process.off('unhandledRejection', onUnhandled);
  const report: FuzzReport = {
    played: seeds.length,
    heapGrowth: after.heap - before.heap,
    handles: [before.handles, after.handles],
    logLines: log.lines + logOfGrpcJs.lines,
    longestLogLine: log.longest,
    forgedLogLines: log.forged,
    seconds,
  };
  emit({ type: 'report', report });
}

/** Drops steps of the sequence of `seed` that are not needed to break what it breaks; resolves to the rest. */
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
  // What breaks in one of three plays is found, too.
  for (let left = 3; left > 0 && !isBroken; left--) isBroken ||= (await target.play(0, seed, without)) !== undefined;
  await wait(5);
  process.off('uncaughtException', onUnhandled);
  process.off('unhandledRejection', onUnhandled);
  return isBroken;
}

async function held(): Promise<{ readonly heap: number; readonly handles: number }> {
  // Connections that the last sequences have ended are closed.
  await wait(300);
  const { heap } = await readMemory();
  return { heap, handles: process.getActiveResourcesInfo().length };
}
