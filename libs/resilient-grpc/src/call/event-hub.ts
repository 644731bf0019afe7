import { notifyListener } from '../errors/error-message.js';
import type { GrpcClientEvent } from './call-event.js';

interface AnyEvent {
  readonly type: string;
  readonly at: number;
}

export type EventListener<E extends AnyEvent = GrpcClientEvent> = (event: E) => void;

/** An event without the properties that the hub adds to every event. */
export type EventBody<E extends AnyEvent = GrpcClientEvent> = E extends unknown ? Omit<E, 'client' | 'at'> : never;

/**
 * Distributes the events of a client or a server. An emitter reads `wanted` or `everyCallWanted` first, so that no event is built without a
 * listener. Events that occur for every call have their own flag, because only `events$` delivers them.
 */
export class EventHub<E extends AnyEvent = GrpcClientEvent> {
  private readonly listeners = new Map<EventListener<E>, boolean>();
  wanted = false;
  /** True if a listener also receives the events that occur for every call. */
  everyCallWanted = false;

  constructor(
    private readonly origin: Omit<E, keyof EventBody<E> | 'at'>,
    private readonly epoch: () => number,
  ) {}

  /**
   * Adds `listener`, and returns a function that removes it. Errors that the listener throws are rethrown in a microtask, outside `emit`.
   */
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
    // Safe: `origin` and `body` together are an event of this type.
    const event = { ...this.origin, at: this.epoch(), ...body } as unknown as E;
    for (const [listener, receivesEveryCall] of this.listeners) {
      if (everyCall && !receivesEveryCall) continue;
      notifyListener(listener, event);
    }
  }

  private count(): void {
    this.wanted = this.listeners.size > 0;
    this.everyCallWanted = [...this.listeners.values()].includes(true);
  }
}
