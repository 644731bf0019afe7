import { median } from '../../support/call-load.js';
import {
  CLIENTS,
  KEEPALIVE_TIMEOUT_MS,
  kindOf,
  SIDES,
  type Fault,
  type PlannedCall,
  type Schedule,
  type Side,
} from './schedule.js';

/** How the call with the same index in the plan ended. */
export interface EndedCall {
  /** Milliseconds from the start of the schedule. */
  readonly endMs: number;
  readonly code: number;
}

/** A connection that one of its ends has closed first, after calls and without a planned end (GOAWAY with NO_ERROR) before. */
export interface EndedConnection {
  readonly side: Side;
  readonly by: 'client' | 'server';
  readonly atMs: number;
  readonly livedMs: number;
  /** Time without a byte for the end that closed the connection. */
  readonly silentMs: number;
}

export interface Run {
  readonly schedule: Schedule;
  readonly calls: readonly PlannedCall[];
  readonly ended: Readonly<Record<Side, readonly EndedCall[]>>;
  /** When each fault began and was over. */
  readonly spans: readonly { readonly fromMs: number; readonly returnMs: number }[];
  /** Writes that a server has received, with their side: 'ours 17'. */
  readonly writes: readonly string[];
  readonly connections: readonly EndedConnection[];
  /** Lateness of the event loop of each side's process, 99th percentile. */
  readonly lateMs: Readonly<Record<Side, number>>;
}

export type Figures = Readonly<Record<Side, number>>;

/** A fault and what followed until the next one. */
export interface Outage {
  readonly fault: Fault;
  readonly failed: Figures;
  /** Time from the return of the server to the first success of a client: the median of the clients, and the last one. */
  readonly firstMs: Figures;
  readonly lastMs: Figures;
}

/** A figure of ours that exceeds what theirs allows. */
export interface Break {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  readonly allowed: number;
}

const MAX_LATE_MS = 50;
const FAILED_SHARE = 0.1;
const FAILED_PER_CLIENT = 2;
const SCHEDULE_SHARE = 0.01;
/** Calls at the edges of faults that chance decides: a client connects some milliseconds earlier or later. */
const SCHEDULE_PER_CLIENT = 1;
/** Standard deviations by which a sum of differences between equal sides hardly ever differs from 0. */
const CHANCE = 3;
const FIRST_MS = 300;
const LAST_MS = 1_000;
/** Shortest silence after which a client of ours ends a connection: `SUSPICION.silenceMs`, or the timeout of its pings. */
const CLIENT_SILENCE_MS = KEEPALIVE_TIMEOUT_MS;
/** Timeout of the pings of our server. */
const SERVER_SILENCE_MS = 20_000;

/** Why the run proves nothing; `undefined` if it does. */
export function whyVoid({ lateMs }: Run): string | undefined {
  const late = SIDES.filter((side) => lateMs[side] > MAX_LATE_MS);
  const texts = late.map((side) => `the event loop of ${side} was ${lateMs[side].toFixed(0)} ms late`);
  return texts.length === 0 ? undefined : texts.join(', ');
}

function bothSides(figure: (side: Side) => number): Figures {
  return { ours: figure('ours'), theirs: figure('theirs') };
}

function failedBetween({ calls, ended }: Run, fromMs: number, untilMs: number): Figures {
  // A call belongs to the span in which it started, however late it ended.
  const within = calls.filter(({ atMs }) => atMs >= fromMs && atMs < untilMs);
  return bothSides((side) => within.filter(({ id }) => ended[side][id]?.code !== 0).length);
}

export function outagesOf(run: Run): readonly Outage[] {
  return run.schedule.faults.flatMap((fault, index) => {
    const span = run.spans[index];
    if (span === undefined) return [];
    const untilMs = run.spans[index + 1]?.fromMs ?? Infinity;
    const lastAt = Math.min(untilMs, run.schedule.seconds * 1_000);
    const firsts = (side: Side) => {
      const first = Array.from({ length: CLIENTS }, () => lastAt);
      for (const { id, client } of run.calls) {
        const { endMs = Infinity, code } = run.ended[side][id] ?? {};
        if (code === 0 && endMs >= span.returnMs) first[client] = Math.min(first[client] ?? lastAt, endMs);
      }
      return first.map((at) => at - span.returnMs);
    };
    const firstSuccesses = { ours: firsts('ours'), theirs: firsts('theirs') };
    return {
      fault,
      failed: failedBetween(run, span.fromMs, untilMs),
      firstMs: bothSides((side) => median(firstSuccesses[side])),
      lastMs: bothSides((side) => Math.max(...firstSuccesses[side])),
    };
  });
}

export function failedOf(run: Run): Figures {
  return failedBetween(run, -Infinity, Infinity);
}

const exceeding = (what: string, { ours, theirs }: Figures, allowed: number): readonly Break[] =>
  ours > allowed ? [{ what, ours, theirs, allowed }] : [];

function mostFailed({ theirs }: Figures, share = FAILED_SHARE, perClient = FAILED_PER_CLIENT): number {
  return theirs + Math.max(theirs * share, perClient * CLIENTS);
}

/** Compares a run's figures; `timed` false: only counts. */
export function breaksOf(run: Run, timed = true): readonly Break[] {
  const failed = failedOf(run);
  const outages = outagesOf(run).flatMap((outage) => {
    const { fault, failed, firstMs, lastMs } = outage;
    const where = `${kindOf(fault)} at ${(fault.atMs / 1_000).toFixed(1)} s for ${(fault.forMs / 1_000).toFixed(1)} s`;
    return [
      ...exceeding(`failed calls, ${where}`, failed, mostFailed(failed)),
      ...(timed ? exceeding(`first success, ms, ${where}`, firstMs, firstMs.theirs + FIRST_MS) : []),
      ...(timed ? exceeding(`last client's first success, ms, ${where}`, lastMs, lastMs.theirs + LAST_MS) : []),
    ];
  });
  // On a busy machine, a share of a few failures is less than chance.
  const allowed = timed ? mostFailed(failed, SCHEDULE_SHARE, SCHEDULE_PER_CLIENT) : mostFailed(failed);
  return [...outages, ...exceeding('failed calls', failed, allowed), ...alwaysBroken(run)];
}

/** What must never happen, whatever the other side does. */
function alwaysBroken(run: Run): readonly Break[] {
  const writes = bothSides((side) => {
    const ofSide = run.writes.filter((write) => write.startsWith(side));
    return ofSide.length - new Set(ofSide).size;
  });
  const wronglyEnded = bothSides((side) => wronglyEndedBy(run, side).length);
  return [
    ...exceeding('writes received twice', writes, 0),
    ...exceeding('connections ended although bytes arrived', wronglyEnded, 0),
  ];
}

/** Connections that a client or server of `side` ended although bytes had arrived within its timeout. */
export function wronglyEndedBy({ connections, schedule }: Run, side: Side): readonly EndedConnection[] {
  return connections.filter(({ by, side: clientSide, silentMs }) =>
    by === 'client'
      ? clientSide === side && silentMs < CLIENT_SILENCE_MS
      : schedule.server === side && silentMs < SERVER_SILENCE_MS,
  );
}

/** Failed calls of the outages of one kind. */
interface KindFailures {
  readonly count: number;
  readonly failed: Figures;
  /** Sum of the squared differences between the sides. */
  readonly squares: number;
}

/** Failed calls of many runs, by kind of fault; those on a slow line also count for 'line'. */
export class ByKind {
  readonly kinds = new Map<string, KindFailures>();

  add(run: Run): void {
    for (const { fault, failed } of outagesOf(run)) this.count(kindOf(fault), failed);
    if (run.schedule.line) this.count('line', failedOf(run));
  }

  /** Kinds of which ours fail more calls than theirs, by more than chance. */
  breaks(): readonly Break[] {
    return [...this.kinds].flatMap(([kind, { failed, squares }]) =>
      exceeding(`failed calls, all of ${kind}`, failed, failed.theirs + CHANCE * Math.sqrt(squares)),
    );
  }

  private count(kind: string, failed: Figures): void {
    const before = this.kinds.get(kind) ?? { count: 0, failed: { ours: 0, theirs: 0 }, squares: 0 };
    this.kinds.set(kind, {
      count: before.count + 1,
      failed: bothSides((side) => before.failed[side] + failed[side]),
      squares: before.squares + (failed.ours - failed.theirs) ** 2,
    });
  }
}
