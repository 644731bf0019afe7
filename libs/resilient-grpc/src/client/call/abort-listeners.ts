/** Tasks that run when a signal aborts, and the one listener registered for them. */
interface Listeners {
  readonly tasks: Set<() => void>;
  readonly onAbort: () => void;
}

const bySignal = new WeakMap<AbortSignal, Listeners>();

/**
 * Runs `task` when `signal` is aborted. Returns a function that removes the task. A signal gets one listener, however many calls share it:
 * Node warns of a leak at the eleventh, and a request may make a hundred calls.
 */
export function onAborted(signal: AbortSignal, task: () => void): () => void {
  const listeners = bySignal.get(signal) ?? listenTo(signal);
  // A new function for each call, because a set stores the same function only once.
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
    // A task may end the call of another one, which removes that task.
    for (const task of [...tasks]) if (tasks.has(task)) task();
  };
  const listeners = { tasks, onAbort };
  signal.addEventListener('abort', onAbort, { once: true });
  bySignal.set(signal, listeners);
  return listeners;
}
