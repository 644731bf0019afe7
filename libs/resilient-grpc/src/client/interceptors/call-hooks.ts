import type { CallEnd } from '../../call/call-event.js';
import { inContextOf } from '../inbound-context.js';
import { inboundOf } from './outgoing-call.js';
import type {
  GrpcClientInterceptor,
  GrpcClientInterceptorClass,
  OutgoingAttempt,
  OutgoingCall,
} from './outgoing-call.js';

/** Gives the one instance of a class. @throws Error where there is none */
export type InterceptorSource = (type: GrpcClientInterceptorClass) => GrpcClientInterceptor;

/**
 * The interceptors of a client as one, in their order: each is waited for before the next. Classes are asked for at the first
 * call, since a container may still be making them when the client is made.
 */
export class CallHooks {
  private instances: readonly GrpcClientInterceptor[] | undefined;

  constructor(
    private readonly interceptors: readonly (GrpcClientInterceptor | GrpcClientInterceptorClass)[],
    private readonly source: InterceptorSource,
  ) {}

  /** Classes among them, for whoever wants to look before the first call. */
  get classes(): readonly GrpcClientInterceptorClass[] {
    return this.interceptors.filter((one) => typeof one === 'function');
  }

  /** undefined: done already. @throws what an interceptor throws; its rejection comes with the promise */
  onCall(call: OutgoingCall): Promise<void> | undefined {
    return this.each(call, (one) => one.onCall?.(call));
  }

  /** undefined: done already. @throws as `onCall` */
  onAttempt(attempt: OutgoingAttempt): Promise<void> | undefined {
    return this.each(attempt, (one) => one.onAttempt?.(attempt));
  }

  /** Tells all of them. One that throws does not reach the call, which has ended, nor the others. */
  onEnd(call: OutgoingCall, end: CallEnd): void {
    void this.each(call, (one) => {
      try {
        one.onEnd?.(call, end);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    });
  }

  private each(
    call: OutgoingCall,
    tell: (interceptor: GrpcClientInterceptor) => void | Promise<void>,
  ): Promise<void> | undefined {
    return inContextOf(inboundOf(call), () => this.tellAll(tell));
  }

  private tellAll(tell: (interceptor: GrpcClientInterceptor) => void | Promise<void>): Promise<void> | undefined {
    this.instances ??= this.interceptors.map((one) => (typeof one === 'function' ? this.source(one) : one));
    for (const [index, interceptor] of this.instances.entries()) {
      const told = tell(interceptor);
      if (told !== undefined) return tellRest(told, this.instances.slice(index + 1), tell);
    }
    return undefined;
  }
}

async function tellRest(
  first: Promise<void>,
  rest: readonly GrpcClientInterceptor[],
  tell: (interceptor: GrpcClientInterceptor) => void | Promise<void>,
): Promise<void> {
  await first;
  for (const interceptor of rest) await tell(interceptor);
}
