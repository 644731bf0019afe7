import type { CallEnd } from '../../call/call-event.js';
import { notifyListener } from '../../errors/error-message.js';
import { inContextOf } from '../caller/caller-context.js';
import type { Metadata } from '@grpc/grpc-js';
import type { CapturedCall, InboundCall } from '../../call/inbound-call.js';
import type { MethodKind } from '../../call/method.js';
import { attemptMetadata, isMetadataLike, joinMetadata, NO_METADATA } from '../../channel/wire/call-metadata.js';
import { moment } from '../../time/clock.js';
import { metadataEntryProblem } from '../../channel/wire/metadata-input.js';
import { describeSecret } from '../../policy/options/describe-value.js';
import type { MetadataInput } from '../resilient-types.js';

/** An outgoing call, as interceptors receive it. */
export interface OutgoingCall {
  readonly client: string;
  /** Full name of the service: 'orders.v1.Orders'. */
  readonly service: string;
  /** Name of the method: 'Get'. */
  readonly method: string;
  /** Path of the method: '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly kind: MethodKind;
  /** Metadata to send. Entries that `onCall` adds are sent with every attempt; entries that `onAttempt` adds, only with that attempt. */
  readonly metadata: Metadata;
  /** Inbound call being served; present if inbound calls are captured and this call is bound to one. */
  readonly inbound?: InboundCall;
}

function inboundOf(call: OutgoingCall): CapturedCall | undefined {
  // Every inbound call that an outgoing call is bound to was captured.
  return call.inbound as CapturedCall | undefined;
}

/** One attempt of an outgoing call. */
export interface OutgoingAttempt extends OutgoingCall {
  /** Number of the attempt; 1 for the original one. */
  readonly number: number;
  readonly deadline?: Date;
}

/**
 * Intercepts calls and attempts. Messages are not intercepted, so flow control is unaffected; to intercept messages, use grpc-js's
 * interceptors in `channelOptions.interceptors`. If `onCall` or `onAttempt` throws or rejects, the attempt is not sent, and the call fails.
 * A hedged call continues if other attempts are in flight.
 */
export interface GrpcClientInterceptor {
  /** Called before the first attempt. The call waits for the returned promise. */
  onCall?(call: OutgoingCall): void | Promise<void>;
  /** Called before each attempt. The attempt waits for the returned promise. */
  onAttempt?(attempt: OutgoingAttempt): void | Promise<void>;
  /**
   * Called once at the end of each call that `onCall` received: on success, failure, or cancellation. If the caller unsubscribed or the
   * request source failed, `end.code` is CANCELLED. An error that it throws does not change the call. It is rethrown as an uncaught exception, like an
   * error of an RxJS subscriber, and ends the process if no 'uncaughtException' handler is set. A rejected promise has the same effect.
   */
  onEnd?(call: OutgoingCall, end: CallEnd): void;
}

/** An interceptor class, which a module of the application must provide as a singleton. */
export type GrpcClientInterceptorClass = abstract new (...args: never[]) => GrpcClientInterceptor;

/** Returns the only instance of an interceptor class. @throws Error if the class has no instance, or is not a singleton */
export type InterceptorSource = (type: GrpcClientInterceptorClass) => GrpcClientInterceptor;

/** Combines the interceptors of a client. They run in sequence, and each is awaited before the next one starts. */
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
    return inContextOf(inboundOf(call), () => {
      this.instances ??= this.interceptors.map((one) => (typeof one === 'function' ? this.source(one) : one));
      for (const [index, interceptor] of this.instances.entries()) {
        const pending = notify(interceptor);
        if (pending !== undefined) return notifyRest(pending, this.instances.slice(index + 1), notify);
      }
      return undefined;
    });
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

/**
 * Returns metadata for a call. Called once per attempt, so that a token is current. If it throws or rejects, the attempt is not sent, and
 * the call fails with `reason: 'not-sent'`. A hedged call continues if other attempts are in flight.
 */
export type MetadataFunction = (call: OutgoingCall) => MetadataInput | Promise<MetadataInput>;

/** Returns the metadata that a client sends with an attempt. */
export type MetadataSource = (call: OutgoingCall) => Metadata | Promise<Metadata>;

/** Merges `base` (from the defaults) and `over` (from the client); at least one is a function. `over` overrides `base` key by key. */
export function metadataSource(
  base: MetadataInput | MetadataFunction | undefined,
  over: MetadataInput | MetadataFunction | undefined,
): MetadataSource {
  return (call) => {
    const below = evaluate(base, call);
    // Without this handler, a rejection of `below` would be unhandled if the second function throws synchronously.
    if (below instanceof Promise) below.catch(() => undefined);
    const above = evaluate(over, call);
    if (below instanceof Promise || above instanceof Promise) {
      return Promise.all([below, above]).then(([one, two]) => join(one, two));
    }
    return join(below, above);
  };
}

function evaluate(
  value: MetadataInput | MetadataFunction | undefined,
  call: OutgoingCall,
): MetadataInput | undefined | Promise<MetadataInput> {
  return typeof value === 'function' ? value(call) : value;
}

function join(base: unknown, over: unknown): Metadata {
  return joinMetadata(joinMetadata(NO_METADATA, validate(base)), validate(over));
}

/** Validates metadata, because grpc-js's own error would contain the value, which may be a secret. */
function validate(value: unknown): MetadataInput | undefined {
  if (value === undefined || isMetadataLike(value)) return value;
  if (typeof value !== 'object' || value === null) {
    throw new Error(
      `expected the metadata function to return an object such as { 'x-tenant': 'shop' }, or grpc-js's Metadata, got ${describeSecret(value)}`,
    );
  }
  for (const [key, one] of Object.entries(value)) {
    const problem = one === undefined ? undefined : metadataEntryProblem(key, one);
    if (problem !== undefined) throw new Error(`the metadata function returned an invalid '${key}': ${problem}`);
  }
  // Each entry was validated above.
  return value as MetadataInput;
}

export interface AttemptInterceptors {
  readonly hooks: CallHooks | undefined;
  readonly metadataSource: MetadataSource | undefined;
}

export interface PendingMetadata {
  readonly metadata: Promise<Metadata>;
  waitsFor: 'the metadata function' | 'an interceptor';
}

/**
 * Returns the metadata of attempt `number`. It is created for each attempt, because tokens expire. The call's metadata overrides that of
 * the client's function; `onAttempt` runs last.
 *
 * @throws the error that the function or an interceptor throws; rejections reject the promise
 */
export function prepareAttempt(
  call: OutgoingCall,
  number: number,
  deadline: number,
  { hooks, metadataSource }: AttemptInterceptors,
): Metadata | PendingMetadata {
  const base = metadataSource && inContextOf(inboundOf(call), () => metadataSource(call));
  if (!(base instanceof Promise)) {
    const metadata = runOnAttempt(call, number, deadline, base, hooks);
    return metadata instanceof Promise ? { metadata, waitsFor: 'an interceptor' } : metadata;
  }
  const pending: PendingMetadata = {
    metadata: base.then((metadata) => {
      pending.waitsFor = 'an interceptor';
      return runOnAttempt(call, number, deadline, metadata, hooks);
    }),
    waitsFor: 'the metadata function',
  };
  return pending;
}

function runOnAttempt(
  call: OutgoingCall,
  number: number,
  deadline: number,
  base: Metadata | undefined,
  hooks: CallHooks | undefined,
): Metadata | Promise<Metadata> {
  const joined = base === undefined ? call.metadata.clone() : joinMetadata(base, call.metadata);
  const metadata = attemptMetadata(joined, number);
  const pending = hooks?.onAttempt({
    ...call,
    metadata,
    number,
    ...(deadline === Infinity ? {} : { deadline: moment(deadline) }),
  });
  return pending === undefined ? metadata : pending.then(() => metadata);
}
