import type { Subscriber, TeardownLogic } from 'rxjs';
import type { EventHub } from '../call/event-hub.js';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { StreamFactory } from '../call/stream-source.js';
import type { Clock } from '../time/clock.js';
import { PeerTimer } from '../time/peer-timer.js';
import { applicationCallSiteOf, type Stack } from './caller/call-site.js';

/**
 * Time in milliseconds within which an awaited call must be subscribed to. Frameworks await the result of a handler, and subscribe in the
 * same turn of the event loop.
 */
const SUBSCRIBE_WITHIN_MS = 1_000;
const MAX_CALL_SITES = 1_000;

/**
 * Clients with calls that have not been checked yet. They are checked when the process exits, because a short script may end before the
 * timers fire.
 */
const unchecked = new Set<AwaitedCalls>();

function checkAll(): void {
  for (const calls of unchecked) calls.close();
}

/** Reports calls that are awaited but not subscribed to, and that therefore send no request. */
export class AwaitedCalls {
  private readonly callSites = new Set<string>();
  private readonly timers = new Map<PeerTimer, () => void>();

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub,
  ) {}

  create<T>(
    path: string,
    subscribe: (subscriber: Subscriber<T>) => TeardownLogic,
    openStream: StreamFactory<T>,
  ): GrpcObservable<T> {
    return new AwaitableCall(subscribe, openStream, (call, stack) => {
      this.checkLater(() => {
        if (!call.isUsed) this.report(path, applicationCallSiteOf(stack));
      });
    });
  }

  /** Checks the awaited calls now, because the client or the process is ending, and they can no longer be subscribed to. */
  close(): void {
    for (const [timer, check] of this.timers) {
      timer.clear();
      this.forget(timer);
      check();
    }
  }

  private checkLater(check: () => void): void {
    // Ignores time during which the process did not run, for example at a breakpoint.
    const timer = new PeerTimer(this.clock, SUBSCRIBE_WITHIN_MS, () => {
      this.forget(timer);
      check();
    });
    this.timers.set(timer, check);
    if (unchecked.size === 0) process.once('exit', checkAll);
    unchecked.add(this);
  }

  private forget(timer: PeerTimer): void {
    this.timers.delete(timer);
    if (this.timers.size > 0) return;
    unchecked.delete(this);
    if (unchecked.size === 0) process.off('exit', checkAll);
  }

  private report(path: string, awaitedAt: string | undefined): void {
    const key = awaitedAt ?? path;
    if (this.callSites.has(key) || this.callSites.size >= MAX_CALL_SITES || !this.events.wanted) return;
    this.callSites.add(key);
    this.events.emit({ type: 'awaited-call', path, ...(awaitedAt === undefined ? {} : { awaitedAt }) });
  }
}

class AwaitableCall<T> extends GrpcObservable<T> {
  isUsed = false;
  private isAwaited = false;

  constructor(
    subscribe: (subscriber: Subscriber<T>) => TeardownLogic,
    openStream: StreamFactory<T>,
    private readonly awaited: (call: AwaitableCall<T>, stack: Stack) => void,
  ) {
    super(
      (subscriber) => {
        this.isUsed = true;
        return subscribe(subscriber);
      },
      (sink, scope) => {
        this.isUsed = true;
        return openStream(sink, scope);
      },
    );
  }

  /** Read by `await` and promises. Returns `undefined`, because a call is not a promise. */
  get then(): undefined {
    if (this.isUsed || this.isAwaited) return undefined;
    this.isAwaited = true;
    const holder: Stack = {};
    Error.captureStackTrace(holder);
    this.awaited(this, holder);
    return undefined;
  }
}
