import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Resolves when the process has exited. */
export async function waitForExit(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/**
 * Resolves to the next notice of this type that `child` sends. Rejects if the process exits first. `N` is the union of the child's
 * notices.
 */
export function waitForNotice<N extends { readonly type: string }, T extends N['type']>(
  child: ChildProcess,
  type: T,
): Promise<Extract<N, { type: T }>> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error(`process ${child.pid ?? '?'} exited before it sent '${type}'`));
    const onMessage = (notice: N): void => {
      if (notice.type !== type) return;
      child.off('exit', onExit);
      child.off('message', onMessage);
      // Safe cast: the type was compared above.
      resolve(notice as Extract<N, { type: T }>);
    };
    child.on('message', onMessage);
    child.once('exit', onExit);
  });
}

/** Returns a port of 127.0.0.1 on which nothing listens, below the ports that systems assign to outgoing connections. */
export async function freePort(): Promise<number> {
  const port = 10_000 + Math.trunc(Math.random() * 10_000);
  const server = createServer().listen(port, '127.0.0.1');
  const isFree = await once(server, 'listening').catch(() => undefined);
  server.close();
  return isFree === undefined ? freePort() : port;
}
