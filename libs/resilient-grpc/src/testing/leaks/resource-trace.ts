import { createHook } from 'node:async_hooks';
import { applicationPlaceOf, nearestPlaceOf, stackAbove, type Stack } from '../../client/code-place.js';
import type { Resource } from './watched-resources.js';

/** What async_hooks calls them; undefined: what lies between a piece of code and what it makes, as a name that is resolved first. */
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

/** A socket of a client is made deep inside grpc-js and Node. */
const FRAMES = 60;
/** Enough to see who made a timer himself. */
const NEAREST_FRAMES = 8;
/** How many more are noted before those that are gone are forgotten. */
const FORGET_EVERY = 2_000;

interface Made {
  readonly type: Resource | undefined;
  readonly resource: WeakRef<MaybeReferenced>;
  readonly stack: Stack;
  /** What brought it about, as a server the sockets that it accepts. */
  readonly by: number;
}

interface MaybeReferenced {
  readonly hasRef?: () => boolean | undefined;
  /** Of a timer that has fired or was cleared. */
  readonly _destroyed?: boolean;
}

/** Notes what is made, until it is stopped. */
export interface ResourceTrace {
  /** How many timers were made that still keep the process alive, but for those of the test runner. */
  timers(): number;
  /** Where those of a kind were made that still keep the process alive; nothing where places are not noted. */
  places(type: Resource): readonly string[];
  stop(): void;
}

/** Begins to note timers, which nothing else knows apart, or with `places` all that is made and where. */
export function traceResources(places: boolean): ResourceTrace {
  const all = new Map<number, Made>();
  const frames = places ? FRAMES : NEAREST_FRAMES;
  let forgetAt = FORGET_EVERY;
  // No `destroy`: for it Node would have to watch the end of each promise.
  const hook = createHook({
    init: function init(id, name, by, resource) {
      if (places ? !(name in TYPES) : name !== 'Timeout') return;
      all.set(id, { type: TYPES[name], resource: new WeakRef(resource), stack: deepStackAbove(init, frames), by });
      if (all.size < forgetAt) return;
      forget(all);
      forgetAt = all.size + FORGET_EVERY;
    },
  }).enable();
  const alive = (type: Resource) =>
    [...all.values()].filter(
      (one) => one.type === type && isAlive(one) && !(type === 'Timeout' && isMadeByRunner(one.stack)),
    );
  return {
    timers: () => alive('Timeout').length,
    places: (type) => (places ? alive(type).map((one) => placeOf(one, all)) : []),
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

/** Of Vitest, Jest and whatever comes with them. */
const RUNNER = /[\\/]node_modules[\\/](?:@?vitest|@?jest|jest-[\w-]+)[\\/]/;

/** By his own hand, as the time limit of a test: not what he runs. */
function isMadeByRunner(stack: Stack): boolean {
  return RUNNER.test(nearestPlaceOf(stack) ?? '');
}

function isAlive({ resource }: Made): boolean {
  const one = resource.deref();
  return one !== undefined && one._destroyed !== true && one.hasRef?.() === true;
}

/** Keeps what is alive, and what led to it. */
function forget(all: Map<number, Made>): void {
  const kept = new Map<number, Made>();
  for (const [id, made] of all) {
    if (!isAlive(made)) continue;
    let one: Made | undefined = made;
    for (let key = id; one !== undefined && !kept.has(key); key = one.by, one = all.get(key)) kept.set(key, one);
  }
  for (const id of [...all.keys()]) if (!kept.has(id)) all.delete(id);
}

function placeOf(made: Made, all: ReadonlyMap<number, Made>): string {
  let how = 'made at';
  for (let one: Made | undefined = made; one !== undefined; one = all.get(one.by)) {
    if (one !== made && one.type !== undefined) how = 'brought about by what was made at';
    const place = applicationPlaceOf(one.stack);
    if (place !== undefined) return `${how} ${place}`;
  }
  return 'made inside packages';
}
