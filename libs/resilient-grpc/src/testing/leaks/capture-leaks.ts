import { systemClock } from '../../time/clock.js';
import { waitFor } from '../wait-for.js';
import { openCalls, openClients } from './left-by-clients.js';
import { openHandles, type SeenHandles } from './open-handles.js';
import { traceResources, type ResourceTrace } from './resource-trace.js';
import { RESOURCE_NAMES, RESOURCES, type Resource } from './watched-resources.js';

/** Options of `captureLeaks`. */
export interface LeakOptions {
  /**
   * Notes each socket, server, timer and process as it is made, and tells where of those that are left. Without it only their numbers
   * are compared, and a timer that ends hides one that stays. A call takes about half as long again meanwhile. @defaultValue false
   */
  readonly trace?: boolean | undefined;
}

/** What was open when `captureLeaks` was called. */
export interface LeakCheck {
  /**
   * Waits until no more sockets, servers, pipes, timers, watched files and child processes keep the process alive than did then, and
   * no call of a client of this package that began since is open.
   * @throws Error that says what is left, after `timeoutMs` (2 000)
   */
  settled(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** Notes what keeps this process alive now; `settled()` at the end of a test says whether it left anything. */
export function captureLeaks({ trace = false }: LeakOptions = {}): LeakCheck {
  const before: Baseline = {
    counts: count(),
    handles: openHandles(),
    clients: new Set(openClients()),
    at: systemClock.epoch(),
    trace: trace ? traceResources() : undefined,
  };
  return {
    async settled({ timeoutMs = 2_000 } = {}) {
      try {
        await waitFor(() => isSettled(before), { timeoutMs, describe: () => describeLeft(before) });
      } finally {
        before.trace?.stop();
      }
    },
  };
}

/** A hook of a test runner: `beforeEach` of Vitest, Jest or node:test. */
type Hook = (run: () => Promise<void>) => unknown;

/**
 * Fails each test that leaves something open: `failOnLeaks(beforeEach, afterEach)`, with the hooks of Vitest, Jest or node:test; with
 * `beforeAll` and `afterAll`, or `before` and `after`, the tests of a file together.
 */
export function failOnLeaks(
  before: Hook,
  after: Hook,
  { timeoutMs, ...options }: LeakOptions & { readonly timeoutMs?: number } = {},
): void {
  let leaks: LeakCheck | undefined;
  before(async () => {
    leaks = captureLeaks(options);
  });
  after(async () => {
    await leaks?.settled(timeoutMs === undefined ? {} : { timeoutMs });
  });
}

type Counts = ReadonlyMap<Resource, number>;

interface Baseline {
  readonly counts: Counts;
  readonly handles: SeenHandles;
  readonly clients: ReadonlySet<object>;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly trace: ResourceTrace | undefined;
}

function count(): Counts {
  const active = process.getActiveResourcesInfo();
  return new Map(RESOURCES.map((type) => [type, active.filter((other) => other === type).length]));
}

function leftOver({ counts, trace }: Baseline): readonly { readonly type: Resource; readonly more: number }[] {
  const now = trace === undefined ? count() : undefined;
  // Numbers alone take one that has gone for one that has come: a trace knows them apart.
  return RESOURCES.map((type) => ({
    type,
    more: trace?.count(type) ?? (now?.get(type) ?? 0) - (counts.get(type) ?? 0),
  })).filter(({ more }) => more > 0);
}

function isSettled(before: Baseline): boolean {
  return leftOver(before).length === 0 && openCalls(before.at).length === 0;
}

function describeLeft(before: Baseline): string {
  const resources = leftOver(before).map(({ type, more }) => {
    const which = before.trace?.places(type) ?? before.handles.newOf(type);
    return `${more} × ${RESOURCE_NAMES[type]}${which.length === 0 ? '' : `: ${which.join(', ')}`}`;
  });
  // They explain sockets and calls; by itself one that is not connected keeps nothing alive.
  const clients = openClients()
    .filter((client) => !before.clients.has(client))
    .map(({ name, target }) => `client '${name}' (${target}) was not closed: await app.close()`);
  const hint = before.trace === undefined ? ['captureLeaks({ trace: true }) tells where they were made'] : [];
  return `nothing to be left open; left are ${[...resources, ...openCalls(before.at), ...clients, ...hint].join('\n  ')}`;
}
