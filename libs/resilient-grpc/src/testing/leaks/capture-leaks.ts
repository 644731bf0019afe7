import type { RegisteredCall } from '../../client/calls/call-registry.js';
import { onCutOff, openClients } from '../../client/open-clients.js';
import { counted } from '../../telemetry/log/log-text.js';
import { waitFor } from '../wait-for.js';
import { createHook } from 'node:async_hooks';
import { applicationCallSiteOf, nearestCallSiteOf, stackAbove, type Stack } from '../../client/caller/call-site.js';

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
  return new Baseline(options);
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
    leaks = new Baseline(options, true);
  });
  after(async () => {
    await leaks?.settled({ timeoutMs });
  });
}

/**
 * Snapshot of the open resources, clients, and calls. Compares identities, because the start times of calls are not unique, and a count
 * would hide a new resource if an old one was closed.
 */
class Baseline implements LeakCheck {
  private readonly trace: ReturnType<typeof traceResources>;
  private readonly handles = openHandles();
  private readonly clients = new WeakSet(openClients());
  private readonly calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
  /** Descriptions of the new calls that a closing client has cut off. */
  private readonly cutOff: string[] = [];
  private readonly stopListening: (() => void) | undefined;

  /** @param countsCutOff true if calls that a closing client cuts off are leaks, too */
  constructor(
    private readonly options: LeakOptions,
    countsCutOff = false,
  ) {
    this.trace = traceResources(options.trace === true);
    if (!countsCutOff) return;
    this.stopListening = onCutOff((client, call) => {
      if (!this.calls.has(call)) this.cutOff.push(describeCall(client, call, 'was cut off when the client closed'));
    });
  }

  async settled({ timeoutMs = 2_000 }: { readonly timeoutMs?: number | undefined } = {}): Promise<void> {
    try {
      await waitFor(() => this.isSettled, { timeoutMs, describe: () => this.describeOpen() });
    } finally {
      this.trace.stop();
      this.stopListening?.();
    }
    if (this.cutOff.length === 0) return;
    throw new Error(
      `expected all calls to end before their client closes, got calls that the client cut off; unsubscribe in the test:\n  ${this.cutOff.join('\n  ')}`,
    );
  }

  private get isSettled(): boolean {
    return this.newResources().length === 0 && this.newCalls().length === 0;
  }

  private describeOpen(): string {
    const isTraced = this.options.trace === true;
    const resources = this.newResources().map(({ type, count }) => {
      const details = isTraced ? this.trace.creationSites(type) : this.handles.describe(type);
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
    const hint = isTraced
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

/** Resource types by their async_hooks names. */
const TYPES: Readonly<Record<string, Resource | undefined>> = {
  TickObject: undefined,
  GETADDRINFOREQWRAP: undefined,
  TCPCONNECTWRAP: undefined,

  TCPWRAP: 'TCPSocketWrap',
  TCPSERVERWRAP: 'TCPServerWrap',
  PIPEWRAP: 'PipeWrap',
  PIPESERVERWRAP: 'PipeWrap',
  UDPWRAP: 'UDPWrap',
  PROCESSWRAP: 'ProcessWrap',
  FSEVENTWRAP: 'FSEventWrap',
  STATWATCHER: 'StatWatcher',
  Timeout: 'Timeout',
};

/** Number of stack frames recorded if `withSites` is true. A client's socket is created deep inside grpc-js and Node. */
const FRAMES = 60;
/** Number of stack frames recorded if `withSites` is false: enough to recognize timers that the test runner creates itself. */
const NEAREST_FRAMES = 8;
/** Number of new entries between two calls to `prune`. */
const PRUNE_INTERVAL_ENTRIES = 2_000;

interface CreatedResource {
  readonly type: Resource | undefined;
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

/** Starts recording timers, which Node does not return as handles. */
function traceResources(withSites: boolean) {
  const all = new Map<number, CreatedResource>();
  const frames = withSites ? FRAMES : NEAREST_FRAMES;
  let pruneAt = PRUNE_INTERVAL_ENTRIES;
  // No `destroy` hook, because it would make Node track the garbage collection of every promise.
  const hook = createHook({
    init: function init(id, name, triggerId, resource) {
      if (withSites ? !(name in TYPES) : name !== 'Timeout') return;
      all.set(id, {
        type: TYPES[name],
        resource: new WeakRef(resource),
        stack: deepStackAbove(init, frames),
        triggerId,
      });
      if (all.size < pruneAt) return;
      prune(all);
      pruneAt = all.size + PRUNE_INTERVAL_ENTRIES;
    },
  }).enable();
  const alive = (type: Resource) =>
    [...all.values()].filter(
      (one) => one.type === type && isAlive(one) && !(type === 'Timeout' && isMadeByRunner(one.stack)),
    );
  return {
    /** Returns the number of recorded timers that still keep the process alive, except those of the test runner. */
    timers: () => alive('Timeout').length,
    creationSites: (type: Resource) => (withSites ? alive(type).map((one) => creationSiteOf(one, all)) : []),
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

/** Matches files of Vitest, Jest, and their packages. */
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
    if (one !== made && one.type !== undefined) how = 'triggered by a resource created at';
    const site = applicationCallSiteOf(one.stack);
    if (site !== undefined) return `${how} ${site}`;
  }
  return 'created inside packages';
}

/** Display names of the watched resource types, by the type names that `process.getActiveResourcesInfo()` returns. */
const RESOURCE_NAMES = {
  TCPSocketWrap: 'socket',
  TCPServerWrap: 'listening server',
  PipeWrap: 'pipe',
  UDPWrap: 'UDP socket',
  ProcessWrap: 'child process',
  FSEventWrap: 'watched file',
  StatWatcher: 'polled file',
  Timeout: 'timer',
} as const;

type Resource = keyof typeof RESOURCE_NAMES;

// Safe cast: the object above has exactly these keys.
const RESOURCES = Object.keys(RESOURCE_NAMES) as readonly Resource[];

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

/** Records the handles that keep this process alive, except timers, which Node does not return as handles. */
function openHandles() {
  // Opens these pipes now, so that they do not count as new. Node opens each one when its property is first accessed.
  for (const name of ['stdout', 'stderr'] as const) Reflect.get(process, name);
  const before = new WeakSet(activeHandles().map(({ handle }) => handle));
  const newOf = (type: Resource) => activeHandles().filter((one) => one.type === type && !before.has(one.handle));
  return {
    /** Returns the number of handles of a type that were opened since the call to `openHandles` and keep this process alive. */
    count: (type: Resource) => newOf(type).length,
    /** Describes the handles that `count` includes, if Node provides details. */
    describe: (type: Resource) => newOf(type).flatMap(({ handle }) => describe(handle, type) ?? []),
  };
}

function activeHandles() {
  const handles = activeListOf('_getActiveHandles');
  // Node returns the type names of the active requests first, then those of the handles, in the order of `_getActiveHandles()`.
  const names = process.getActiveResourcesInfo().slice(activeListOf('_getActiveRequests').length);
  return handles.flatMap((handle, index) => {
    const type = RESOURCES.find((known) => known === names[index]);
    return type === undefined || typeof handle !== 'object' || handle === null ? [] : [{ type, handle }];
  });
}

/** Calls an undocumented function of Node. No documented function returns the handles or requests themselves. */
function activeListOf(name: '_getActiveHandles' | '_getActiveRequests'): readonly unknown[] {
  // Safe cast: every supported Node version has these functions. They are looked up per call, because a runner may replace `process`.
  return (process as unknown as Readonly<Record<typeof name, () => readonly unknown[]>>)[name]();
}

function describe(handle: Handle, type: Resource): string | undefined {
  switch (type) {
    case 'TCPSocketWrap':
      return describeSocket(handle);
    case 'TCPServerWrap':
      return handle.listening === true ? addressOf(handle) : undefined;
    case 'ProcessWrap':
      return handle.spawnargs === undefined ? undefined : `pid ${handle.pid ?? '?'} (${handle.spawnargs.join(' ')})`;
    default:
      return undefined;
  }
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
