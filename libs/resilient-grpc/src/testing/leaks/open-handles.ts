import { RESOURCES, type Resource } from './watched-resources.js';

/** What Node has of sockets, servers and processes, each of which has some of it. */
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

/** Handles that were open at one moment. */
export interface SeenHandles {
  /** How many of a kind were opened since, whatever was closed meanwhile. */
  count(type: Resource): number;
  /** Which, in words, as far as there is something to say. */
  describe(type: Resource): readonly string[];
}

/** Notes which handles keep this process alive: all but timers, which Node does not list. */
export function openHandles(): SeenHandles {
  const before = new WeakSet(activeHandles().map(({ handle }) => handle));
  const newOf = (type: Resource) => activeHandles().filter((one) => one.type === type && !before.has(one.handle));
  return {
    count: (type) => newOf(type).length,
    describe: (type) => newOf(type).flatMap(({ handle }) => describe(handle, type) ?? []),
  };
}

interface ActiveHandle {
  readonly type: Resource;
  readonly handle: Handle;
}

function activeHandles(): readonly ActiveHandle[] {
  const handles = listed('_getActiveHandles');
  // Node goes through the same list for their names, behind those of requests.
  const names = process.getActiveResourcesInfo().slice(listed('_getActiveRequests').length);
  return handles.flatMap((handle, index) => {
    const type = RESOURCES.find((known) => known === names[index]);
    return type === undefined || typeof handle !== 'object' || handle === null ? [] : [{ type, handle }];
  });
}

/** The only way Node has to say which they are; it is not documented. */
function listed(name: '_getActiveHandles' | '_getActiveRequests'): readonly unknown[] {
  // True of every Node that this package takes; called on it, as a runner may have put its own in the place of `process`.
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
  // What is not closed behind a destroy() was lost by Node itself.
  return destroyed === true ? 'destroyed and not closed' : `${local} → no peer any more, or none yet`;
}

function addressOf(handle: Handle): string | undefined {
  const address = handle.address?.();
  if (typeof address !== 'object' || address === null || !('address' in address && 'port' in address)) return undefined;
  return `${String(address.address)}:${String(address.port)}`;
}
