import { waitFor } from './wait-for.js';

const WATCHED = ['TCPSocketWrap', 'TCPServerWrap', 'PipeWrap', 'Timeout'] as const;
type Resource = (typeof WATCHED)[number];
type Counts = Readonly<Record<Resource, number>>;

/** What was open when `captureLeaks` was called. */
export interface LeakCheck {
  /**
   * Waits until no more sockets, listeners, pipes and timers keep the process alive than did then.
   * @throws Error that names what is left, after `timeoutMs` (2 000)
   */
  settled(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** Notes what keeps this process alive now; `settled()` at the end of a test says whether it left anything. */
export function captureLeaks(): LeakCheck {
  const before = count();
  return {
    async settled({ timeoutMs = 2_000 } = {}) {
      await waitFor(() => leftOver(before).length === 0, {
        timeoutMs,
        describe: () => `nothing to be left open; left are ${leftOver(before).join(', ')}${addresses()}`,
      });
    },
  };
}

function count(): Counts {
  const active = process.getActiveResourcesInfo();
  const countOf = (type: Resource) => active.filter((other) => other === type).length;
  return {
    TCPSocketWrap: countOf('TCPSocketWrap'),
    TCPServerWrap: countOf('TCPServerWrap'),
    PipeWrap: countOf('PipeWrap'),
    Timeout: countOf('Timeout'),
  };
}

function leftOver(before: Counts): string[] {
  const now = count();
  return WATCHED.filter((type) => now[type] > before[type]).map((type) => `${now[type] - before[type]} × ${type}`);
}

interface MaybeSocket {
  readonly localPort?: number;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
}

/** Open sockets by their ports, where this Node can tell. */
function addresses(): string {
  // The only way Node has to say which sockets are open; it is not documented, so its absence is not an error.
  const list: unknown = (process as { _getActiveHandles?: () => unknown })._getActiveHandles?.();
  if (!Array.isArray(list)) return '';
  const sockets = (list as readonly MaybeSocket[])
    .filter((handle) => handle.remotePort !== undefined)
    .map((handle) => `${handle.localPort ?? '?'} → ${handle.remoteAddress ?? '?'}:${handle.remotePort ?? '?'}`);
  return sockets.length === 0 ? '' : ` (sockets: ${sockets.join(', ')})`;
}
