import { Metadata, propagate, type CallOptions, type Interceptor, type StatusObject } from '@grpc/grpc-js';
import type { ResponseHeaders } from '../../call/attempt.js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import { errorMessage, serializationFailure } from '../../errors/error-message.js';
import { StatusCode } from '../../status/status-code.js';
import { moment } from '../../time/clock.js';
import type { TransportCall, TransportCallListener } from './transport-call.js';

type NextCall = Parameters<Interceptor>[1];
export type InterceptingCallInterface = ReturnType<NextCall>;
type InterceptorOptions = Parameters<NextCall>[0];
type Listener = Parameters<InterceptingCallInterface['start']>[1];
type MessageContext = Parameters<InterceptingCallInterface['sendMessageWithContext']>[0];

/** The attempt below whose interceptors the calls are created. */
export interface InterceptedAttempt {
  /** Receives the sizes of messages below the interceptors. */
  readonly telemetry: Pick<AttemptTelemetry, 'sent' | 'received'> | undefined;
  readonly isOver: boolean;
  /** Maximum size of a request in bytes. */
  readonly maxSendBytes: number;
  readonly target: string;
  createCall(deadline: number, options: CallOptions, listener: TransportCallListener): TransportCall;
  /** Called when a response cannot be read. */
  onUnreadable(): void;
}

/**
 * The innermost call, below all interceptors. Replaces a class that grpc-js does not export, and gives interceptors the same guarantees.
 * Messages are objects. A unary or client-streaming call starts to read automatically, and delivers `null` if it ends without a message.
 */
class BottomCall implements InterceptingCallInterface, TransportCallListener {
  private readonly call: TransportCall;
  private listener: Listener;
  private hasMessage = false;
  /** Metadata of a call that starts with its only request, so that nothing is sent if the request cannot be serialized. */
  private heldMetadata: Metadata | undefined;
  /** True if no request can follow. */
  private isCancelled = false;
  /** Why the response cannot be read. */
  private failure: StatusObject | undefined;

  constructor(
    private readonly attempt: InterceptedAttempt,
    private readonly method: MethodDescriptor,
    options: CallOptions,
  ) {
    this.call = attempt.createCall(effectiveDeadline(options), options, this);
  }

  get isOver(): boolean {
    return this.attempt.isOver;
  }

  start(metadata: Metadata, listener?: Listener): void {
    this.listener = listener;
    this.heldMetadata = metadata;
    // An interceptor may start the call after it was cancelled.
    if (this.method.requestStream || this.isCancelled) this.begin();
  }

  private begin(): void {
    const { heldMetadata: metadata } = this;
    if (metadata === undefined) return;
    this.heldMetadata = undefined;
    this.call.start(metadata);
    if (!this.method.responseStream) this.call.startRead();
  }

  sendMessageWithContext({ callback, flags }: MessageContext, message: unknown): void {
    const { call, attempt } = this;
    let bytes: Buffer;
    try {
      bytes = this.method.requestSerialize(message);
    } catch (error) {
      const { code, details } = serializationFailure(error);
      this.cancelWithStatus(code, details);
      return;
    }
    if (bytes.length > attempt.maxSendBytes) {
      const details = `Attempted to send message with a size larger than ${String(attempt.maxSendBytes)}`;
      this.cancelWithStatus(StatusCode.RESOURCE_EXHAUSTED, details);
      return;
    }
    attempt.telemetry?.sent(bytes.length);
    this.begin();
    call.send(bytes, callback, flags);
  }

  sendMessage(message: unknown): void {
    this.sendMessageWithContext({}, message);
  }

  startRead(): void {
    this.call.startRead();
  }

  halfClose(): void {
    this.begin();
    this.call.halfClose();
  }

  cancelWithStatus(status: number, details: string): void {
    this.isCancelled = true;
    this.call.cancelWithStatus(status, details);
    // Reports the status, and sends nothing.
    this.begin();
  }

  getPeer(): string {
    return this.call.peer ?? this.attempt.target;
  }

  getAuthContext(): ReturnType<InterceptingCallInterface['getAuthContext']> {
    return this.call.authContext ?? null;
  }

  onReceiveHeaders({ metadata }: ResponseHeaders): void {
    this.listener?.onReceiveMetadata?.(metadata);
  }

  onReceiveMessage(bytes: Buffer): void {
    this.attempt.telemetry?.received(bytes.length);
    let message: unknown;
    try {
      message = this.method.responseDeserialize(bytes);
    } catch (error) {
      this.cancel('protocol', StatusCode.INTERNAL, `Response message parsing error: ${errorMessage(error)}`);
      return;
    }
    this.hasMessage = true;
    this.listener?.onReceiveMessage?.(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (!this.hasMessage && !this.method.responseStream) this.listener?.onReceiveMessage?.(null);
    const { code, details, metadata } = this.failure ?? status;
    // Interceptors may copy it.
    this.listener?.onReceiveStatus?.({ code, details, metadata });
  }

  cancel(why: 'deadline' | 'protocol', code: number, details: string): void {
    if (why === 'protocol') {
      this.failure = { code, details, metadata: new Metadata() };
      this.attempt.onUnreadable();
    }
    this.call.cancelWithStatus(code, details);
  }
}

/** Creates a call through `interceptors`, outermost first, in the same way as grpc-js's own client. */
export function interceptedCall(
  method: MethodDescriptor,
  deadline: number,
  options: CallOptions | undefined,
  interceptors: readonly Interceptor[],
  attempt: InterceptedAttempt,
): InterceptingCallInterface {
  const bottom: NextCall = (final) => new BottomCall(attempt, method, final);
  const first = interceptors.reduceRight<NextCall>((next, interceptor) => (given) => interceptor(given, next), bottom);
  // Safe: interceptors read the path, the kind, and the two codecs, and a MethodDescriptor has them all.
  const definition = method as unknown as InterceptorOptions['method_definition'];
  return first({ ...withDeadline(options, deadline), method_definition: definition });
}

/**
 * Returns `options` for interceptors. As with grpc-js's own client, `deadline` is the caller's value, or absent, because an interceptor may
 * set a default deadline or expect a `Date`. The value is replaced only if another deadline of the call is earlier, or if grpc-js cannot
 * send it. grpc-js itself applies the deadline of `parent`.
 */
function withDeadline(options: CallOptions | undefined, deadline: number): CallOptions | undefined {
  const given = options?.deadline;
  if (Number(given ?? Infinity) === deadline) return options;
  if (deadline !== Infinity && Number(options?.parent?.getDeadline()) === deadline) return options;
  return { ...options, deadline: given instanceof Date && deadline !== Infinity ? moment(deadline) : deadline };
}

/** Returns the deadline that grpc-js applies to a call with these options: the earlier of `deadline` and the deadline of `parent`. */
function effectiveDeadline({ deadline, parent, propagate_flags: flags }: CallOptions): number {
  const own = Number(deadline ?? Infinity);
  const isPropagated = ((flags ?? propagate.DEFAULTS) & propagate.DEADLINE) !== 0;
  return isPropagated ? Math.min(own, Number(parent?.getDeadline() ?? Infinity)) : own;
}
