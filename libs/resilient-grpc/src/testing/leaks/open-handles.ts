import type { Resource } from './watched-resources.js';

/** What Node has of sockets, servers and processes, each of which has some of it. */
interface Handle {
  readonly localPort?: number;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly listening?: boolean;
  readonly address?: () => unknown;
  readonly pid?: number;
  readonly spawnargs?: readonly string[];
}

/** Handles that were open at one moment. */
export interface SeenHandles {
  /** Those of a kind that were opened since, in words. */
  newOf(type: Resource): readonly string[];
}

/** Notes which handles are open. */
export function openHandles(): SeenHandles {
  const before = new WeakSet(activeHandles());
  return {
    newOf: (type) =>
      activeHandles()
        .filter((handle) => !before.has(handle))
        .flatMap((handle) => describe(handle, type) ?? []),
  };
}

function activeHandles(): readonly Handle[] {
  // The only way Node has to say which they are; it is not documented, so its absence is not an error.
  const list: unknown = (process as { _getActiveHandles?: () => unknown })._getActiveHandles?.();
  return Array.isArray(list) ? list.filter((one): one is Handle => typeof one === 'object' && one !== null) : [];
}

function describe(handle: Handle, type: Resource): string | undefined {
  switch (type) {
    case 'TCPSocketWrap':
      return handle.remotePort === undefined
        ? undefined
        : `${handle.localPort ?? '?'} → ${handle.remoteAddress ?? '?'}:${handle.remotePort}`;
    case 'TCPServerWrap':
      return handle.listening === true ? addressOf(handle) : undefined;
    case 'ProcessWrap':
      return handle.spawnargs === undefined ? undefined : `pid ${handle.pid ?? '?'} (${handle.spawnargs.join(' ')})`;
    default:
      return undefined;
  }
}

function addressOf(handle: Handle): string | undefined {
  const address = handle.address?.();
  if (typeof address !== 'object' || address === null || !('address' in address && 'port' in address)) return undefined;
  return `${String(address.address)}:${String(address.port)}`;
}
