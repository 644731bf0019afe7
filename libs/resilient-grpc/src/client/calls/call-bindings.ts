import type { GrpcCallOptions } from '../resilient-types.js';
import { isBoundToParent } from './call-arguments.js';
import { cancelled, inboundCancelled, type CallFailure } from '../attempts/call-failure.js';

/** Tasks that run when a signal aborts, and the one listener registered for them. */
interface AbortListeners {
  readonly tasks: Set<() => void>;
  readonly onAbort: () => void;
}

const bySignal = new WeakMap<AbortSignal, AbortListeners>();
/** Tasks that run when a `parent` is cancelled. */
const byParent = new WeakMap<NodeJS.EventEmitter, Set<() => void>>();

/** A call or a resumable stream that can be ended from outside. */
export interface Endable {
  end(failure: CallFailure): void;
}

/**
 * Binds a call to its abort signal, its inbound call, and its `parent`; each of them may end the call. Returns a function that removes the
 * bindings; `undefined` if the call was not bound.
 */
export function bindCall(
  options: GrpcCallOptions | undefined,
  inbound: AbortSignal | undefined,
  call: Endable,
): (() => void) | undefined {
  if (options === undefined && inbound === undefined) return undefined;
  const { signal, parent } = options ?? {};
  const unbind: (() => void)[] = [];
  if (signal !== undefined) {
    const onCancelled = (): void => {
      call.end(cancelled('Cancelled on client', signal.reason));
    };
    unbind.push(onAborted(signal, onCancelled));
  }
  if (inbound !== undefined) {
    const onCancelled = (): void => {
      call.end(inboundCancelled(inbound.reason));
    };
    unbind.push(onAborted(inbound, onCancelled));
  }
  if (options !== undefined && parent && isBoundToParent(options)) {
    // When the parent is cancelled, grpc-js cancels only a running attempt, but this call may be waiting.
    const tasks = tasksOf(parent);
    const onCancelled = (): void => {
      call.end(cancelled('Cancelled by parent call', undefined));
    };
    tasks.add(onCancelled);
    unbind.push(() => {
      tasks.delete(onCancelled);
    });
  }
  if (unbind.length === 0) return undefined;
  return () => {
    for (const task of unbind) task();
  };
}

/**
 * Runs `task` when `signal` aborts, but not if it has already aborted. Pass a new function each time. Returns a function that removes the
 * task. A signal gets only one listener, because Node warns of a leak at the eleventh listener, and one handler may make a hundred calls.
 */
export function onAborted(signal: AbortSignal, task: () => void): () => void {
  const listeners = bySignal.get(signal) ?? listenTo(signal);
  listeners.tasks.add(task);
  return () => {
    listeners.tasks.delete(task);
    if (listeners.tasks.size > 0) return;
    signal.removeEventListener('abort', listeners.onAbort);
    bySignal.delete(signal);
  };
}

function listenTo(signal: AbortSignal): AbortListeners {
  const tasks = new Set<() => void>();
  const onAbort = (): void => {
    runAll(tasks);
  };
  const listeners = { tasks, onAbort };
  signal.addEventListener('abort', onAbort, { once: true });
  bySignal.set(signal, listeners);
  return listeners;
}

/**
 * Returns the tasks that run when `parent` is cancelled. All of them share one listener, which stays until `parent` is garbage-collected.
 * grpc-js adds a listener per call and never removes it, so Node's limit for its leak warning is raised by one: the warning then appears at
 * the same number of calls as without this library.
 */
function tasksOf(parent: NodeJS.EventEmitter): Set<() => void> {
  const known = byParent.get(parent);
  if (known !== undefined) return known;
  const tasks = new Set<() => void>();
  byParent.set(parent, tasks);
  // 0 means no limit. A test may pass an object that has only the members that grpc-js uses.
  const maxListeners = (parent as Partial<NodeJS.EventEmitter>).getMaxListeners?.() ?? 0;
  if (maxListeners > 0) parent.setMaxListeners(maxListeners + 1);
  parent.on('cancelled', () => {
    runAll(tasks);
  });
  return tasks;
}

function runAll(tasks: ReadonlySet<() => void>): void {
  // Iterates over a copy and skips removed tasks, because a task may end the call of another task and thereby remove that task.
  for (const task of [...tasks]) if (tasks.has(task)) task();
}
