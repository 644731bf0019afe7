import type { GrpcClientEvent } from './call-event.js';

/** What every event has. */
interface AnyEvent {
  readonly type: string;
  readonly at: number;
}

/** Takes events of one source. */
export type EventListener<E extends AnyEvent = GrpcClientEvent> = (event: E) => void;

/** An event without what every event of its source has, kind by kind. */
export type EventBody<E extends AnyEvent = GrpcClientEvent> = E extends unknown ? Omit<E, 'client' | 'at'> : never;

/**
 * The one source of events of a client, or of a server. Whoever emits asks first whether anybody wants it, so that nothing is built for nobody;
 * events of every call are a matter of their own, since a log wants failures only.
 */
export class EventHub<E extends AnyEvent = GrpcClientEvent> {
  private readonly listeners = new Map<EventListener<E>, boolean>();
  /** Somebody listens to what is not an event of every call. */
  wanted = false;
  /** Somebody wants an event for every call. */
  everyCallWanted = false;

  constructor(
    /** What stands in each event. */
    private readonly origin: Omit<E, keyof EventBody<E> | 'at'>,
    private readonly epoch: () => number,
  ) {}

  /** Returns how to stop listening. A listener that throws is the caller's bug and does not reach the call. */
  listen(listener: EventListener<E>, everyCall: boolean): () => void {
    this.listeners.set(listener, everyCall);
    this.count();
    return () => {
      this.listeners.delete(listener);
      this.count();
    };
  }

  emit(body: EventBody<E>): void {
    const everyCall = body.type === 'call-start' || body.type === 'call-end';
    // True: the two parts together are an event of that kind.
    const event = { ...this.origin, at: this.epoch(), ...body } as unknown as E;
    for (const [listener, wantsEvery] of this.listeners) {
      if (everyCall && !wantsEvery) continue;
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  private count(): void {
    this.wanted = this.listeners.size > 0;
    this.everyCallWanted = [...this.listeners.values()].includes(true);
  }
}
