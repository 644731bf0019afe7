import type { RegisteredCall } from '../../client/call/call-registry.js';
import { onCutOff, openClients } from '../../client/open-clients.js';
import { counted } from '../../telemetry/log/log-text.js';
import { waitFor } from '../wait-for.js';
import { createHook } from 'node:async_hooks';
import { applicationCallSiteOf, nearestCallSiteOf, stackAbove, type Stack } from '../../client/call-site.js';

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
  private readonly trace: ReturnType<typeof traceResources>;
  private readonly clients = new WeakSet(openClients());
  private readonly calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
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

  checkCutOff(): void {
    if (this.cutOff.length === 0) return;
    throw new Error(
      `expected all calls to end before their client closes, got calls that the client cut off; unsubscribe in the test:\n  ${this.cutOff.join('\n  ')}`,
    );
  }

  get isSettled(): boolean {
    return this.trace.open().size === 0 && this.newCalls().length === 0;
  }

  describeOpen(): string {
    const resources = [...this.trace.open()].map(([name, open]) => {
      const details = open.flatMap((one) => this.trace.describe(one) ?? []);
      return `${open.length} × ${name}${details.length === 0 ? '' : `: ${details.join(', ')}`}`;
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

/** Display names of the watched resource types, by their names in async_hooks. */
const NAMES: Readonly<Record<string, string>> = {
  TCPWRAP: 'socket',
  TCPSERVERWRAP: 'listening server',
  PIPEWRAP: 'pipe',
  PIPESERVERWRAP: 'pipe',
  UDPWRAP: 'UDP socket',
  PROCESSWRAP: 'child process',
  FSEVENTWRAP: 'watched file',
  STATWATCHER: 'polled file',
  Timeout: 'timer',
};
/** Types between a resource and the code that created it. */
const STEPS: ReadonlySet<string> = new Set(['TickObject', 'GETADDRINFOREQWRAP', 'TCPCONNECTWRAP']);

/** Number of stack frames recorded if `withSites` is true. A client's socket is created deep inside grpc-js and Node. */
const FRAMES = 60;
/** Number of stack frames recorded if `withSites` is false: enough to recognize timers that the test runner creates itself. */
const NEAREST_FRAMES = 8;
const PRUNE_INTERVAL_ENTRIES = 2_000;

interface CreatedResource {
  /** Display name; `undefined` for a step. */
  readonly name: string | undefined;
  readonly resource: WeakRef<MaybeReferenced>;
  readonly stack: Stack;
  /** Async id of the resource that triggered the creation, such as the server of an accepted socket. */
  readonly triggerId: number;
}

interface MaybeReferenced {
  readonly hasRef?: () => boolean | undefined;
  /** True if the timer was cleared or has run for the last time. */
  readonly _destroyed?: boolean;
}

/** Starts recording the resources that are created from now on. */
function traceResources(withSites: boolean) {
  const all = new Map<number, CreatedResource>();
  const frames = withSites ? FRAMES : NEAREST_FRAMES;
  let pruneAt = PRUNE_INTERVAL_ENTRIES;
  // Opens these pipes now, so that they do not count as new. Node opens each one when its property is first accessed.
  for (const name of ['stdout', 'stderr'] as const) Reflect.get(process, name);
  // No `destroy` hook, because it would make Node track the garbage collection of every promise.
  const hook = createHook({
    init: function init(id, type, triggerId, resource) {
      if (!(type in NAMES) && !(withSites && STEPS.has(type))) return;
      const stack = deepStackAbove(init, frames);
      all.set(id, { name: NAMES[type], resource: new WeakRef(resource), stack, triggerId });
      if (all.size < pruneAt) return;
      prune(all);
      pruneAt = all.size + PRUNE_INTERVAL_ENTRIES;
    },
  }).enable();
  return {
    /** Returns the recorded resources that still keep the process alive, except timers of the test runner, by display name. */
    open: () => {
      const alive = [...all.values()].filter(
        (one) => isAlive(one) && !(one.name === NAMES['Timeout'] && isMadeByRunner(one.stack)),
      );
      return new Map(
        [...new Set(Object.values(NAMES))]
          .map((name) => [name, alive.filter((one) => one.name === name)] as const)
          .filter(([, open]) => open.length > 0),
      );
    },
    /** Returns the creation site of a resource or, if sites are not recorded, its addresses or its process. */
    describe: (one: CreatedResource) => (withSites ? creationSiteOf(one, all) : describe(one)),
    stop: () => {
      hook.disable();
    },
  };
}

function deepStackAbove(above: (...args: never) => unknown, frames: number): Stack {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = frames;
  const stack = stackAbove(above);
  Error.stackTraceLimit = stackTraceLimit;
  return stack;
}

const RUNNER_FILE = /[\\/]node_modules[\\/](?:@?vitest|@?jest|jest-[\w-]+)[\\/]/;

/** True if the test runner itself created the resource, such as a test timeout; false if a test created it. */
function isMadeByRunner(stack: Stack): boolean {
  return RUNNER_FILE.test(nearestCallSiteOf(stack) ?? '');
}

function isAlive({ resource }: CreatedResource): boolean {
  const one = resource.deref();
  return one !== undefined && one._destroyed !== true && one.hasRef?.() === true;
}

/** Keeps only the entries of resources that keep the process alive, and of the resources that triggered them, directly or indirectly. */
function prune(all: Map<number, CreatedResource>): void {
  const kept = new Map<number, CreatedResource>();
  for (const [id, made] of all) {
    if (!isAlive(made)) continue;
    let one: CreatedResource | undefined = made;
    for (let key = id; one !== undefined && !kept.has(key); key = one.triggerId, one = all.get(key)) kept.set(key, one);
  }
  for (const id of [...all.keys()]) if (!kept.has(id)) all.delete(id);
}

function creationSiteOf(made: CreatedResource, all: ReadonlyMap<number, CreatedResource>): string {
  let how = 'created at';
  for (let one: CreatedResource | undefined = made; one !== undefined; one = all.get(one.triggerId)) {
    if (one !== made && one.name !== undefined) how = 'triggered by a resource created at';
    const site = applicationCallSiteOf(one.stack);
    if (site !== undefined) return `${how} ${site}`;
  }
  return 'created inside packages';
}

/** Properties of Node's sockets, servers, and processes. Each kind of handle has some of them. */
interface Handle {
  readonly localPort?: number;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly destroyed?: boolean;
  readonly listening?: boolean;
  readonly address?: () => unknown;
  readonly pid?: number;
  readonly spawnargs?: readonly string[];
}

function describe({ name, resource }: CreatedResource): string | undefined {
  const handle = resource.deref() ?? {};
  // Node keeps the socket, the server, or the process of a handle under a symbol of its own.
  const symbol = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol');
  // Safe cast: the kinds of owners have these properties, all of which are optional.
  const owner = (symbol && (Reflect.get(handle, symbol) as Handle | undefined)) ?? {};
  if (name === NAMES['TCPWRAP']) return describeSocket(owner);
  if (name === NAMES['TCPSERVERWRAP']) return owner.listening === true ? addressOf(owner) : undefined;
  return owner.spawnargs && `pid ${owner.pid ?? '?'} (${owner.spawnargs.join(' ')})`;
}

function describeSocket({ localPort, remoteAddress, remotePort, destroyed }: Handle): string {
  const local = localPort ?? '?';
  if (remotePort !== undefined) return `${local} → ${remoteAddress ?? '?'}:${remotePort}`;
  // If a socket is not closed after destroy(), Node itself leaked it.
  return destroyed === true ? 'destroyed, but not closed' : `${local} → disconnected or not yet connected`;
}

function addressOf(handle: Handle): string | undefined {
  const address = handle.address?.();
  if (typeof address !== 'object' || address === null || !('address' in address && 'port' in address)) return undefined;
  return `${String(address.address)}:${String(address.port)}`;
}
