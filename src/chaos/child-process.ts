import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Resolves when the process has gone. */
export async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/**
 * The next notice of this type that `child` sends, or an error if it ends before it says so. `N`: all the notices this child sends.
 */
export function noticed<N extends { readonly type: string }, T extends N['type']>(
  child: ChildProcess,
  type: T,
): Promise<Extract<N, { type: T }>> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error(`process ${child.pid ?? 'none'} ended before it was ${type}`));
    const onMessage = (notice: N): void => {
      if (notice.type !== type) return;
      child.off('exit', onExit);
      child.off('message', onMessage);
      // True: its type was compared above.
      resolve(notice as Extract<N, { type: T }>);
    };
    child.on('message', onMessage);
    child.once('exit', onExit);
  });
}
