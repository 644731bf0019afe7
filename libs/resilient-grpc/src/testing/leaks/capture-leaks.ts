import type { RegisteredCall } from '../../client/call/call-registry.js';
import { onCutOff, openClients } from '../../client/open-clients.js';
import { counted } from '../../telemetry/log/log-text.js';
import { waitFor } from '../wait-for.js';
import { openHandles, RESOURCE_NAMES, RESOURCES, type Resource } from './open-handles.js';
import { traceResources, type ResourceTrace } from './resource-trace.js';

/** Options of `captureLeaks`. */
interface LeakOptions {
  /**
   * True if the error message includes the creation sites of the open resources. Calls take two or three times as long while
   * creation sites are recorded.
   * @defaultValue false
   */
  readonly trace?: boolean | undefined;
}

/** A leak check relative to the resources that were open when `captureLeaks` was called. */
interface LeakCheck {
  /**
   * Waits until no socket, server, pipe, timer, watched file, or child process that was opened since the call to `captureLeaks` keeps this
   * process alive. Also waits until all calls that clients of this package have started since then have ended. Then stops recording, even
   * after a failure.
   * @throws Error that lists the resources and calls that are still open, after `timeoutMs` (default 2,000)
   */
  settled(options?: { readonly timeoutMs?: number | undefined }): Promise<void>;
}

/**
 * Records the resources that keep this process alive now, and the open calls. Call `settled()` at the end of a test to detect resources and
 * calls that the test left open.
 */
export function captureLeaks(options: LeakOptions = {}): LeakCheck {
  return startCheck(options);
}

/** @param countsCutOff true if calls that a closing client cuts off are leaks, too */
function startCheck({ trace = false }: LeakOptions, countsCutOff = false): LeakCheck {
  const before = new Baseline(trace, countsCutOff);
  return {
    async settled({ timeoutMs = 2_000 } = {}) {
      try {
        await waitFor(() => before.isSettled, { timeoutMs, describe: () => before.describeOpen() });
        before.checkCutOff();
      } finally {
        before.stop();
      }
    },
  };
}

/** A hook of a test runner, such as `beforeEach` of Vitest, Jest, or node:test. */
type TestHook = (run: () => Promise<void>) => unknown;

/**
 * Fails each test that leaves a resource or call open: `failOnLeaks(beforeEach, afterEach)`, with the hooks of Vitest, Jest, or node:test.
 * Also fails a test if a closing client has cut off a call that did not end within the timeout of the drain. If tests run concurrently,
 * pass `beforeAll` and `afterAll`, or `before` and `after`, to check all tests of a file together.
 */
export function failOnLeaks(
  before: TestHook,
  after: TestHook,
  { timeoutMs, ...options }: LeakOptions & { readonly timeoutMs?: number | undefined } = {},
): void {
  let leaks: LeakCheck | undefined;
  before(async () => {
    leaks = startCheck(options, true);
  });
  after(async () => {
    await leaks?.settled({ timeoutMs });
  });
}

/**
 * Snapshot of the open resources, clients, and calls. Compares identities, because the start times of calls are not unique, and a count
 * would hide a new resource if an old one was closed.
 */
class Baseline {
  readonly trace: ResourceTrace;
  private readonly handles = openHandles();
  private readonly clients = new WeakSet(openClients());
  private readonly calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
  /** Descriptions of the new calls that a closing client has cut off. */
  private readonly cutOff: string[] = [];
  private readonly stopListening: (() => void) | undefined;

  /**
   * @param traced true to record creation sites
   * @param countsCutOff true to record calls that are cut off
   */
  constructor(
    private readonly traced: boolean,
    countsCutOff: boolean,
  ) {
    this.trace = traceResources(traced);
    if (!countsCutOff) return;
    this.stopListening = onCutOff((client, call) => {
      if (!this.calls.has(call)) this.cutOff.push(describeCall(client, call, 'was cut off when the client closed'));
    });
  }

  stop(): void {
    this.trace.stop();
    this.stopListening?.();
  }

  /** @throws Error that lists the calls that were cut off */
  checkCutOff(): void {
    if (this.cutOff.length === 0) return;
    throw new Error(
      `expected all calls to end before their client closes, got calls that the client cut off; unsubscribe in the test:\n  ${this.cutOff.join('\n  ')}`,
    );
  }

  get isSettled(): boolean {
    return this.newResources().length === 0 && this.newCalls().length === 0;
  }

  describeOpen(): string {
    const resources = this.newResources().map(({ type, count }) => {
      const details = this.traced ? this.trace.creationSites(type) : this.handles.describe(type);
      return `${count} × ${RESOURCE_NAMES[type]}${details.length === 0 ? '' : `: ${details.join(', ')}`}`;
    });
    // Lists new open clients, because they explain open sockets and calls. A client alone is not a leak: without a connection, it keeps
    // nothing alive.
    const clients = openClients()
      .filter((client) => !this.clients.has(client))
      .map(({ name, target, registry }) => {
        const state = registry.isClosing ? 'is closing' : 'was not closed; write await app.close()';
        return `client '${name}' (${target}) ${state}`;
      });
    const hint = this.traced
      ? []
      : ['pass { trace: true } to failOnLeaks() or captureLeaks() to see where the resources were created'];
    return `all resources to be closed; still open: ${[...resources, ...this.newCalls(), ...this.cutOff, ...clients, ...hint].join('\n  ')}`;
  }

  private newResources(): readonly { readonly type: Resource; readonly count: number }[] {
    const { trace, handles } = this;
    return RESOURCES.map((type) => ({
      type,
      count: type === 'Timeout' ? trace.timers() : handles.count(type),
    })).filter(({ count }) => count > 0);
  }

  /** Describes the open calls that are new. */
  private newCalls(): readonly string[] {
    return openClients().flatMap(({ name, registry }) =>
      [...registry].filter((call) => !this.calls.has(call)).map((call) => describeCall(name, call, 'is still open')),
    );
  }
}

function describeCall(client: string, call: RegisteredCall, state: string): string {
  const { path, received, openedAt } = call.describe();
  const where = openedAt === undefined ? '' : `, opened at ${openedAt}`;
  return `call ${path} of client '${client}' ${state}, ${counted(received, 'message')} received${where}`;
}
