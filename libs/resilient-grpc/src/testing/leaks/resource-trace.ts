import { createHook } from 'node:async_hooks';
import { applicationCallSiteOf, nearestCallSiteOf, stackAbove, type Stack } from '../../client/call-site.js';
import type { Resource } from './open-handles.js';

/**
 * Resource types by their async_hooks names. `undefined` marks intermediate resources, such as a name lookup, between application code and
 * the resource that it creates.
 */
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

/** Records created resources until stopped. */
export interface ResourceTrace {
  /** Returns the number of recorded timers that still keep the process alive, except those of the test runner. */
  timers(): number;
  /** Returns the creation sites of the resources of `type` that still keep the process alive; empty if the sites are not recorded. */
  creationSites(type: Resource): readonly string[];
  stop(): void;
}

/**
 * Starts recording timers, which Node does not return as handles. Also records the other resources in `TYPES` and all creation sites if
 * `withSites` is true.
 */
export function traceResources(withSites: boolean): ResourceTrace {
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
    timers: () => alive('Timeout').length,
    creationSites: (type) => (withSites ? alive(type).map((one) => creationSiteOf(one, all)) : []),
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
