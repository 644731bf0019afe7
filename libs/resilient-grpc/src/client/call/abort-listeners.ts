/** Who hears of one signal, behind the one listener that it has of ours. */
interface Listeners {
  readonly tasks: Set<() => void>;
  readonly onAbort: () => void;
}

const bySignal = new WeakMap<AbortSignal, Listeners>();

/**
 * Runs `task` when `signal` is aborted; returns how to take it back. One listener a signal, however many calls share it: Node
 * takes the eleventh for a leak, and a request may make a hundred calls.
 */
export function onAborted(signal: AbortSignal, task: () => void): () => void {
  const listeners = bySignal.get(signal) ?? listenTo(signal);
  // A task of its own for each call: the same function twice would be one.
  const own = (): void => {
    task();
  };
  listeners.tasks.add(own);
  return () => {
    listeners.tasks.delete(own);
    if (listeners.tasks.size > 0) return;
    signal.removeEventListener('abort', listeners.onAbort);
    bySignal.delete(signal);
  };
}

function listenTo(signal: AbortSignal): Listeners {
  const tasks = new Set<() => void>();
  const onAbort = (): void => {
    // One of them may end the call of another.
    for (const task of [...tasks]) if (tasks.has(task)) task();
  };
  const listeners = { tasks, onAbort };
  signal.addEventListener('abort', onAbort, { once: true });
  bySignal.set(signal, listeners);
  return listeners;
}
