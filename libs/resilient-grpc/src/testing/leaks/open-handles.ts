/** Display names of the watched resource types, by the type names that `process.getActiveResourcesInfo()` returns. */
export const RESOURCE_NAMES = {
  TCPSocketWrap: 'socket',
  TCPServerWrap: 'listening server',
  PipeWrap: 'pipe',
  UDPWrap: 'UDP socket',
  ProcessWrap: 'child process',
  FSEventWrap: 'watched file',
  StatWatcher: 'polled file',
  Timeout: 'timer',
} as const;

/** A type of resource that keeps a process alive. */
export type Resource = keyof typeof RESOURCE_NAMES;

// Safe cast: the object above has exactly these keys.
/** All watched resource types. */
export const RESOURCES = Object.keys(RESOURCE_NAMES) as readonly Resource[];

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
export function openHandles() {
  // Opens these pipes now, so that they do not count as new. Node opens each one when its property is first accessed.
  for (const name of ['stdout', 'stderr'] as const) Reflect.get(process, name);
  const before = new WeakSet(activeHandles().map(({ handle }) => handle));
  const newOf = (type: Resource) => activeHandles().filter((one) => one.type === type && !before.has(one.handle));
  return {
    /**
     * Returns the number of handles of a type that were opened since the call to `openHandles` and keep this process alive. Closing an
     * older handle does not reduce this number.
     */
    count: (type: Resource) => newOf(type).length,
    /** Describes the handles that `count` includes, if Node provides details. */
    describe: (type: Resource) => newOf(type).flatMap(({ handle }) => describe(handle, type) ?? []),
  };
}

interface ActiveHandle {
  readonly type: Resource;
  readonly handle: Handle;
}

function activeHandles(): readonly ActiveHandle[] {
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
