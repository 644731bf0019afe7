import type { GrpcClientEvent } from './call-event.js';

/** Takes events of one client. */
export type EventListener = (event: GrpcClientEvent) => void;

/** An event without what every event has, kind by kind. */
export type EventBody = GrpcClientEvent extends infer E
  ? E extends GrpcClientEvent
    ? Omit<E, 'client' | 'at'>
    : never
  : never;

/**
 * The one source of events of a client. Whoever emits asks first whether anybody wants it, so that nothing is built for nobody;
 * events of every call are a matter of their own, since a log wants failures only.
 */
export class EventHub {
  private readonly listeners = new Map<EventListener, boolean>();
  /** Somebody listens to what is not an event of every call. */
  wanted = false;
  /** Somebody wants an event for every call. */
  everyCallWanted = false;

  constructor(
    private readonly client: string,
    private readonly epoch: () => number,
  ) {}

  /** Returns how to stop listening. A listener that throws is the caller's bug and does not reach the call. */
  listen(listener: EventListener, everyCall: boolean): () => void {
    this.listeners.set(listener, everyCall);
    this.count();
    return () => {
      this.listeners.delete(listener);
      this.count();
    };
  }

  emit(body: EventBody): void {
    const everyCall = body.type === 'call-start' || body.type === 'call-end';
    // True: the two parts together are an event of that kind.
    const event = { client: this.client, at: this.epoch(), ...body } as GrpcClientEvent;
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
