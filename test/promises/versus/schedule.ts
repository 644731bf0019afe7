import { seededRandom } from '../../unit-support/seeded-random.mjs';

/** 'theirs': Nest's `ClientGrpc` and server; 'ours': those of this library. */
export const SIDES = ['ours', 'theirs'] as const;
export type Side = (typeof SIDES)[number];

export type FaultKind = 'kill' | 'freeze' | 'refuse' | 'reset' | 'slow' | 'goaway' | 'answer';

/** A fault that hits both sides at the same time. */
export interface Fault {
  readonly kind: FaultKind;
  /** Start, in milliseconds from the start of the schedule. */
  readonly atMs: number;
  readonly forMs: number;
  /** Indexes of the servers that it hits. */
  readonly on: readonly number[];
  /** Delay of the first byte of a new connection, for 'slow'; interval between two GOAWAYs, for 'goaway'. */
  readonly everyMs?: number;
  /** HTTP status that a proxy answers, and the number of answers after which it renews a connection, for 'answer'. */
  readonly status?: number;
  readonly answers?: number;
}

/** What both sides go through. */
export interface Schedule {
  readonly seed: number;
  readonly seconds: number;
  readonly transport: 'socket' | 'grpc-js';
  readonly server: Side;
  readonly servers: number;
  /** False: pick_first, so that the sides may use different servers, and each fault hits all. */
  readonly roundRobin: boolean;
  /** False: our clients have `waitForReady: false`. */
  readonly waits: boolean;
  /** True: clients of both sides send keepalive pings. */
  readonly keepalive: boolean;
  /** Calls per second and client. */
  readonly rate: number;
  /** Shortest and longest deadline, in milliseconds. */
  readonly deadlineMs: readonly [number, number];
  /** Size of a response. */
  readonly bytes: number;
  /** Speed and delay of each connection in both directions. */
  readonly line?: { readonly bytesPerSecond: number; readonly delayMs: number };
  readonly faults: readonly Fault[];
}

export const CLIENTS = 8;
/** Timeout of keepalive pings, which follow after 10 s. */
export const KEEPALIVE_TIMEOUT_MS = 5_000;
/** Time after the last fault in which calls succeed again. */
const LAST_MS = 3_000;
/** Limit of processes that replace killed ones; they all start before the schedule. */
const MAX_KILLS = 12;
const STATUSES = [401, 404, 429, 502] as const;
/** Longest time from the return of a server until clients with gRPC's backoff (1 s, 1.6 times longer each time, ±20%) are connected to it again. */
const reconnectedMs = (awayMs: number): number => 2_000 + 0.8 * awayMs;

/** Time for which `fault` keeps clients from the servers. A slow connection that was begun while the fault lasted takes its delay after it. */
function lastsMs({ kind, forMs, everyMs = 0 }: Pick<Fault, 'kind' | 'forMs' | 'everyMs'>): number {
  return kind === 'slow' ? forMs + everyMs : forMs;
}

/** Kinds to draw from; answers have four statuses. */
const FAULTS = ['kill', 'freeze', 'refuse', 'reset', 'slow', 'goaway', 'answer', 'answer'] as const;

export const METHODS = ['get', 'create', 'watch'] as const;

export interface PlannedCall {
  readonly id: number;
  readonly client: number;
  readonly atMs: number;
  readonly method: (typeof METHODS)[number];
  readonly deadlineMs: number;
}

type Random = () => number;

/** A value between the bounds; each factor is equally likely. */
function between(random: Random, min: number, max: number): number {
  return Math.round(min * (max / min) ** random());
}

function oneOf<T>(random: Random, values: readonly [T, ...T[]]): T {
  return values[Math.trunc(random() * values.length)] ?? values[0];
}

/** Draws a schedule, with faults of `kinds`. `given` overrides what is drawn. */
export function drawSchedule(
  seed: number,
  given: Partial<Schedule> = {},
  kinds: readonly [FaultKind, ...FaultKind[]] = FAULTS,
): Schedule {
  const random = seededRandom(seed);
  const servers = oneOf(random, [1, 1, 2, 3]);
  const shortest = between(random, 500, 5_000);
  const bytesPerSecond = between(random, 50_000, 10_000_000);
  const line = random() < 1 / 3 ? { bytesPerSecond, delayMs: between(random, 1, 200) } : undefined;
  const rate = given.rate ?? 50;
  const load = between(random, 5, 120) / 100;
  const drawn: Omit<Schedule, 'faults'> = {
    seed,
    seconds: 90,
    transport: oneOf(random, ['socket', 'grpc-js']),
    server: oneOf(random, ['ours', 'theirs']),
    servers,
    roundRobin: random() < 0.7,
    waits: random() < 0.7,
    keepalive: random() < 1 / 3,
    rate,
    deadlineMs: [shortest, between(random, shortest, 30_000)],
    bytes: line
      ? Math.min(8_192, Math.max(50, Math.round((load * bytesPerSecond) / rate)))
      : between(random, 50, 4_096),
    ...(line && { line }),
    ...given,
  };
  return { ...drawn, faults: given.faults ?? drawFaults(random, drawn, kinds) };
}

function drawFaults(
  random: Random,
  { seconds, servers, roundRobin }: Omit<Schedule, 'faults'>,
  kinds: readonly [FaultKind, ...FaultKind[]],
): readonly Fault[] {
  const faults: Fault[] = [];
  const all = Array.from({ length: servers }, (_, index) => index);
  // Many kills only with short pauses.
  const storm = random() < 0.2;
  const longestGapMs = storm ? 8_000 : oneOf(random, [10_000, 10_000, 60_000]);
  let kills = 0;
  for (let atMs = between(random, 1_000, 4_000); ;) {
    const on = roundRobin && random() < 0.6 ? [Math.trunc(random() * servers)] : all;
    const drawn = drawFault(random, storm, kinds);
    // Only the side that has reconnected would notice that one of several servers freezes again; the other side's calls go to the others.
    if (drawn.kind === 'freeze' && on.length < servers)
      for (const earlier of faults)
        atMs = Math.max(atMs, earlier.atMs + lastsMs(earlier) + reconnectedMs(lastsMs(earlier)));
    const fault: Fault = { ...drawn, atMs: Math.round(atMs), on };
    if (fault.kind === 'kill') kills += on.length;
    const endsAt = atMs + lastsMs(fault);
    if (endsAt > seconds * 1_000 - LAST_MS || kills > MAX_KILLS) return faults;
    faults.push(fault);
    atMs = endsAt + between(random, 1_000, longestGapMs);
  }
}

function drawFault(
  random: Random,
  storm: boolean,
  kinds: readonly [FaultKind, ...FaultKind[]],
): Omit<Fault, 'atMs' | 'on'> {
  if (storm) return { kind: 'kill', forMs: between(random, 100, 1_500) };
  const kind = oneOf(random, kinds);
  const forMs = between(random, kind === 'kill' || kind === 'freeze' ? 100 : 500, 20_000);
  if (kind === 'slow') return { kind, forMs, everyMs: between(random, 100, 5_000) };
  if (kind === 'goaway') return { kind, forMs, everyMs: between(random, 200, 5_000) };
  if (kind === 'answer') return { kind, forMs, status: oneOf(random, STATUSES), answers: between(random, 10, 1_000) };
  return { kind, forMs };
}

/** Draws the calls of a schedule, the same for both sides, in the order of their starts. */
export function drawCalls({ seed, seconds, rate, deadlineMs: [shortest, longest] }: Schedule): readonly PlannedCall[] {
  const random = seededRandom(seed + 1);
  const everyMs = 1_000 / rate;
  const calls = Array.from({ length: CLIENTS }, (_, client) =>
    Array.from({ length: seconds * rate }, (_, index) => {
      const atMs = Math.round((index + random()) * everyMs);
      const method = oneOf(random, ['get', 'get', 'get', 'create', 'create', 'watch'] as const);
      // Ends the run a few seconds after the schedule.
      const deadlineMs = Math.min(between(random, shortest, longest), seconds * 1_000 + LAST_MS - atMs);
      return { client, atMs, method, deadlineMs };
    }),
  );
  return calls
    .flat()
    .sort((a, b) => a.atMs - b.atMs)
    .map((call, id) => ({ ...call, id }));
}

/** Name of a fault in statistics: 'kill', 'answer 502'. */
export function kindOf({ kind, status }: Fault): string {
  return status === undefined ? kind : `${kind} ${String(status)}`;
}

/** Schedules that are simpler than `schedule` by one step, the largest steps first. */
function simpler(schedule: Schedule): readonly Schedule[] {
  const { faults, line, ...rest } = schedule;
  const half = faults.length >> 1;
  const cuts = [faults.slice(half), faults.slice(0, half), ...faults.map((fault) => faults.filter((f) => f !== fault))];
  const last = faults.at(-1);
  const seconds = last === undefined ? 0 : Math.ceil((last.atMs + last.forMs + LAST_MS) / 1_000) + 2;
  const first = Math.max(0, (faults[0]?.atMs ?? 0) - 1_000);
  const earlier = faults.map((fault) => ({ ...fault, atMs: fault.atMs - first }));
  return [
    ...(half > 0 ? cuts.map((cut) => ({ ...schedule, faults: cut })) : []),
    ...(first > 0 ? [{ ...schedule, faults: earlier }] : []),
    ...(seconds > 0 && seconds < schedule.seconds ? [{ ...schedule, seconds }] : []),
    ...(schedule.servers > 1
      ? [{ ...schedule, servers: 1, faults: faults.map((fault) => ({ ...fault, on: [0] })) }]
      : []),
    ...(line ? [{ ...rest, faults }] : []),
    ...(schedule.keepalive ? [{ ...schedule, keepalive: false }] : []),
    ...(schedule.server === 'ours' ? [{ ...schedule, server: 'theirs' as const }] : []),
  ];
}

/** Returns the smallest schedule that `breaks`, reached from `schedule` by steps that all break. */
export async function shrink(schedule: Schedule, breaks: (candidate: Schedule) => Promise<boolean>): Promise<Schedule> {
  for (const candidate of simpler(schedule)) if (await breaks(candidate)) return shrink(candidate, breaks);
  return schedule;
}
