import { openClients, type OpenClient } from '../../client/open-clients.js';
import { waitFor } from '../wait-for.js';
import { openHandles, RESOURCE_NAMES, RESOURCES, type Resource, type SeenHandles } from './open-handles.js';
import { traceResources, type ResourceTrace } from './resource-trace.js';

/** Options of `captureLeaks`. */
export interface LeakOptions {
  /**
   * Records where each socket, server, timer, and process is created, and adds this to the error message. Calls take two or three times as
   * long while tracing. @defaultValue false
   */
  readonly trace?: boolean | undefined;
}

/** A leak check relative to the resources that were open when `captureLeaks` was called. */
export interface LeakCheck {
  /**
   * Waits until no socket, server, pipe, timer, watched file, or child process opened since then keeps the process alive, and no call
   * started since then by a client of this package is open. Also stops the tracking of timers.
   * @throws Error that lists what is still open, after `timeoutMs` (2 000)
   */
  settled(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** Records what keeps this process alive now. Call `settled()` at the end of a test to detect what the test left open. */
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

/** A hook of a test runner, such as `beforeEach` of Vitest, Jest, or node:test. */
export type TestHook = (run: () => Promise<void>) => unknown;

/**
 * Fails each test that leaves a resource open: `failOnLeaks(beforeEach, afterEach)`, with the hooks of Vitest, Jest, or node:test. If tests
 * run concurrently, pass `beforeAll` and `afterAll`, or `before` and `after`, to check all tests of a file together.
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
  readonly calls: OpenCallBaseline;
  readonly trace: ResourceTrace;
  /** True if the trace records creation sites. */
  readonly traced: boolean;
}

// Compares identities instead of counts: otherwise a resource closed meanwhile would hide a new one.
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
  // Open clients explain open sockets and calls. A client without a connection keeps nothing alive and is not a leak.
  const clients = calls
    .newClients()
    .map(({ name, target }) => `client '${name}' (${target}) was not closed; write await app.close()`);
  const hint = traced ? [] : ['captureLeaks({ trace: true }) shows where they were created'];
  return `all resources to be closed; still open: ${[...resources, ...calls.newCalls(), ...clients, ...hint].join('\n  ')}`;
}

/** The clients and calls that were open when the baseline was taken. */
interface OpenCallBaseline {
  /** Describes the open calls that started since. */
  newCalls(): readonly string[];
  /** Returns the open clients that were created since. */
  newClients(): readonly OpenClient[];
}

/** Records the open clients of this process and their open calls. */
function openCalls(): OpenCallBaseline {
  const clients = new WeakSet(openClients());
  // Compares identities instead of start times: two calls may start in the same millisecond.
  const calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
  return {
    newCalls: () =>
      openClients().flatMap(({ name, registry }) =>
        [...registry]
          .filter((call) => !calls.has(call))
          .map((call) => {
            const { path, received, openedAt } = call.describe();
            const where = openedAt === undefined ? '' : `, opened at ${openedAt}`;
            return `call ${path} of client '${name}' is still open, ${received} messages received${where}`;
          }),
      ),
    newClients: () => openClients().filter((client) => !clients.has(client)),
  };
}
