import { waitFor } from '../wait-for.js';
import { openCalls, type SeenCalls } from './left-by-clients.js';
import { openHandles, type SeenHandles } from './open-handles.js';
import { traceResources, type ResourceTrace } from './resource-trace.js';
import { RESOURCE_NAMES, RESOURCES, type Resource } from './watched-resources.js';

/** Options of `captureLeaks`. */
export interface LeakOptions {
  /**
   * Notes where each socket, server, timer and process is made, and tells it of those that are left. A call takes two or three times
   * as long meanwhile. @defaultValue false
   */
  readonly trace?: boolean | undefined;
}

/** What was open when `captureLeaks` was called. */
export interface LeakCheck {
  /**
   * Waits until no more sockets, servers, pipes, timers, watched files and child processes keep the process alive than did then, and
   * no call of a client of this package that began since is open. The watch over timers ends with it.
   * @throws Error that says what is left, after `timeoutMs` (2 000)
   */
  settled(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** Notes what keeps this process alive now; `settled()` at the end of a test says whether it left anything. */
export function captureLeaks({ trace = false }: LeakOptions = {}): LeakCheck {
  const before: Baseline = {
    handles: openHandles(),
    calls: openCalls(),
    trace: traceResources(trace),
    traced: trace,
  };
  return {
    async settled({ timeoutMs = 2_000 } = {}) {
      try {
        await waitFor(() => isSettled(before), { timeoutMs, describe: () => describeLeft(before) });
      } finally {
        before.trace.stop();
      }
    },
  };
}

/** A hook of a test runner: `beforeEach` of Vitest, Jest or node:test. */
export type TestHook = (run: () => Promise<void>) => unknown;

/**
 * Fails each test that leaves something open: `failOnLeaks(beforeEach, afterEach)`, with the hooks of Vitest, Jest or node:test; with
 * `beforeAll` and `afterAll`, or `before` and `after`, the tests of a file together, as those need that run at the same time.
 */
export function failOnLeaks(
  before: TestHook,
  after: TestHook,
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

interface Baseline {
  readonly handles: SeenHandles;
  readonly calls: SeenCalls;
  readonly trace: ResourceTrace;
  /** The trace tells places. */
  readonly traced: boolean;
}

// Which they are, not how many: one that has gone meanwhile would hide one that has come.
function leftOver({ handles, trace }: Baseline): readonly { readonly type: Resource; readonly more: number }[] {
  return RESOURCES.map((type) => ({
    type,
    more: type === 'Timeout' ? trace.timers() : handles.count(type),
  })).filter(({ more }) => more > 0);
}

function isSettled(before: Baseline): boolean {
  return leftOver(before).length === 0 && before.calls.newCalls().length === 0;
}

function describeLeft(before: Baseline): string {
  const { handles, calls, trace, traced } = before;
  const resources = leftOver(before).map(({ type, more }) => {
    const which = traced ? trace.places(type) : handles.describe(type);
    return `${more} × ${RESOURCE_NAMES[type]}${which.length === 0 ? '' : `: ${which.join(', ')}`}`;
  });
  // They explain sockets and calls; by itself one that is not connected keeps nothing alive.
  const clients = calls
    .newClients()
    .map(({ name, target }) => `client '${name}' (${target}) was not closed: await app.close()`);
  const hint = traced ? [] : ['captureLeaks({ trace: true }) tells where they were made'];
  return `nothing to be left open; left are ${[...resources, ...calls.newCalls(), ...clients, ...hint].join('\n  ')}`;
}
