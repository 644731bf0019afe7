import type { CallEnd } from '../../call/call-event.js';
import { notifyListener } from '../../errors/notify-listener.js';
import { inContextOf } from '../call/caller-context.js';
import { inboundOf } from './outgoing-call.js';
import type {
  GrpcClientInterceptor,
  GrpcClientInterceptorClass,
  OutgoingAttempt,
  OutgoingCall,
} from './outgoing-call.js';

/** Returns the only instance of an interceptor class. @throws Error if the class has no instance, or is not a singleton */
export type InterceptorSource = (type: GrpcClientInterceptorClass) => GrpcClientInterceptor;

/**
 * Combines the interceptors of a client. They run in sequence, and each is awaited before the next one starts. Classes are resolved at the
 * first call, because a container may still be creating their instances when the client is created.
 */
export class CallHooks {
  private instances: readonly GrpcClientInterceptor[] | undefined;

  constructor(
    private readonly interceptors: readonly (GrpcClientInterceptor | GrpcClientInterceptorClass)[],
    private readonly source: InterceptorSource,
  ) {}

  /** Interceptor classes, to be checked before the first call. */
  get classes(): readonly GrpcClientInterceptorClass[] {
    return this.interceptors.filter((one) => typeof one === 'function');
  }

  /**
   * Runs the `onCall` hooks. Returns `undefined` if all of them completed synchronously.
   * @throws the error that a hook throws; rejections reject the promise
   */
  onCall(call: OutgoingCall): Promise<void> | undefined {
    return this.each(call, (one) => one.onCall?.(call));
  }

  /** Runs the `onAttempt` hooks. Returns `undefined` if all of them completed synchronously. @throws like `onCall` */
  onAttempt(attempt: OutgoingAttempt): Promise<void> | undefined {
    return this.each(attempt, (one) => one.onAttempt?.(attempt));
  }

  /**
   * Notifies all interceptors. An error that an interceptor throws affects neither the call, which has ended, nor the other interceptors.
   * It is rethrown in a microtask, so that it is not lost.
   */
  onEnd(call: OutgoingCall, end: CallEnd): void {
    void this.each(call, (interceptor) => {
      notifyListener((one) => one.onEnd?.(call, end), interceptor);
    });
  }

  private each(
    call: OutgoingCall,
    notify: (interceptor: GrpcClientInterceptor) => void | Promise<void>,
  ): Promise<void> | undefined {
    return inContextOf(inboundOf(call), () => this.notifyAll(notify));
  }

  private notifyAll(notify: (interceptor: GrpcClientInterceptor) => void | Promise<void>): Promise<void> | undefined {
    this.instances ??= this.interceptors.map((one) => (typeof one === 'function' ? this.source(one) : one));
    for (const [index, interceptor] of this.instances.entries()) {
      const pending = notify(interceptor);
      if (pending !== undefined) return notifyRest(pending, this.instances.slice(index + 1), notify);
    }
    return undefined;
  }
}

async function notifyRest(
  first: Promise<void>,
  rest: readonly GrpcClientInterceptor[],
  notify: (interceptor: GrpcClientInterceptor) => void | Promise<void>,
): Promise<void> {
  await first;
  for (const interceptor of rest) await notify(interceptor);
}
