import {
  Metadata,
  propagate,
  type CallOptions,
  type Channel,
  type Interceptor,
  type experimental,
} from '@grpc/grpc-js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import { errorMessage, serializationFailure } from '../../errors/error-message.js';
import { StatusCode } from '../../status/status-code.js';
import { moment, type Clock } from '../../time/clock.js';

type CallStream = experimental.CallStream;
type NextCall = Parameters<Interceptor>[1];
type InterceptingCallInterface = ReturnType<NextCall>;
type InterceptorOptions = Parameters<NextCall>[0];
type Listener = NonNullable<Parameters<InterceptingCallInterface['start']>[1]>;
type MessageContext = Parameters<CallStream['sendMessageWithContext']>[0];
type CallStreamListener = Parameters<CallStream['start']>[1];

/** Maximum time in milliseconds by which Node's timers, and therefore grpc-js's deadlines, may fire early. */
export const EARLY_MS = 1;

/** Status of a call whose deadline passed before it was sent. */
const EXPIRED = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: 'Deadline exceeded before the attempt was sent',
} as const;

/** Receives facts that the interceptors of a call may hide. */
export interface InterceptedCallCallbacks {
  /** Receives the sizes of messages below the interceptors. */
  readonly telemetry: Pick<AttemptTelemetry, 'sent' | 'received'> | undefined;
  /** Called when the interceptors have created the channel's call. */
  onCreated(call: CallStream): void;
  /** Called when a response message cannot be deserialized. */
  onUnreadable(): void;
}

/**
 * The innermost call, below all interceptors. Replaces a class that grpc-js does not export, and gives interceptors the same guarantees.
 * Messages are objects. A unary or client-streaming call starts to read automatically, and delivers `null` if it ends without a message.
 */
class BottomCall implements InterceptingCallInterface {
  constructor(
    private readonly call: CallStream,
    private readonly method: MethodDescriptor,
    private readonly callbacks: InterceptedCallCallbacks,
    private readonly deadline: CallOptions['deadline'],
    private readonly clock: Clock,
  ) {}

  start(metadata: Metadata, listener?: Listener): void {
    const { method, call, callbacks, deadline, clock } = this;
    let received = false;
    let unreadable: string | undefined;
    const bottomListener: CallStreamListener = {
      onReceiveMetadata: (headers: Metadata) => listener?.onReceiveMetadata?.(headers),
      onReceiveMessage: (bytes: Buffer) => {
        let message: unknown;
        callbacks.telemetry?.received(bytes.length);
        try {
          message = method.responseDeserialize(bytes);
        } catch (error) {
          unreadable = `Response message parsing error: ${errorMessage(error)}`;
          callbacks.onUnreadable();
          call.cancelWithStatus(StatusCode.INTERNAL, unreadable);
          return;
        }
        received = true;
        listener?.onReceiveMessage?.(message);
      },
      onReceiveStatus: (status) => {
        if (!received && !method.responseStream) listener?.onReceiveMessage?.(null);
        listener?.onReceiveStatus?.(
          unreadable === undefined
            ? status
            : { code: StatusCode.INTERNAL, details: unreadable, metadata: new Metadata() },
        );
      },
    };
    startUnlessExpired(call, deadline, clock, metadata, bottomListener);
    if (!method.responseStream) call.startRead();
  }

  sendMessageWithContext(context: MessageContext, message: unknown): void {
    let bytes: Buffer;
    try {
      bytes = this.method.requestSerialize(message);
    } catch (error) {
      const { code, details } = serializationFailure(error);
      this.call.cancelWithStatus(code, details);
      return;
    }
    this.callbacks.telemetry?.sent(bytes.length);
    this.call.sendMessageWithContext(context, bytes);
  }

  sendMessage(message: unknown): void {
    this.sendMessageWithContext({}, message);
  }

  startRead(): void {
    this.call.startRead();
  }

  halfClose(): void {
    this.call.halfClose();
  }

  cancelWithStatus(status: number, details: string): void {
    this.call.cancelWithStatus(status, details);
  }

  getPeer(): string {
    return this.call.getPeer();
  }

  getAuthContext(): ReturnType<CallStream['getAuthContext']> {
    return this.call.getAuthContext();
  }
}

/** Creates a call on `channel` with the caller's grpc-js options. */
export function createCall(
  channel: Channel,
  path: string,
  deadline: CallOptions['deadline'],
  options: CallOptions | undefined,
): CallStream {
  if (options === undefined) return channel.createCall(path, deadline ?? Infinity, undefined, null, undefined);
  const { host, parent, propagate_flags: flags, credentials } = options;
  const call = channel.createCall(path, deadline ?? Infinity, host, parent ?? null, flags);
  // `credentials` may be null, as in grpc-js.
  if (credentials) call.setCredentials(credentials);
  return call;
}

/**
 * Starts `call`, a call of grpc-js's channel. Ends the call with DEADLINE_EXCEEDED and sends nothing if the deadline has passed, because
 * grpc-js would otherwise send the call, and the server would run it.
 */
export function startUnlessExpired(
  call: CallStream,
  deadline: CallOptions['deadline'],
  clock: Clock,
  metadata: Metadata,
  listener: CallStreamListener,
): void {
  // `Number()` converts a `Date`, which an interceptor may set.
  if (deadline === undefined || Number(deadline) > clock.epoch()) {
    // An object with own methods, because New Relic copies the listener of each call, and a copy lacks inherited methods.
    call.start(metadata, {
      onReceiveMetadata: listener.onReceiveMetadata.bind(listener),
      onReceiveMessage: listener.onReceiveMessage.bind(listener),
      onReceiveStatus: listener.onReceiveStatus.bind(listener),
    });
    return;
  }
  const { code, details } = EXPIRED;
  // Releases the resources that grpc-js keeps for the call. grpc-js reports no status, because the call was never started.
  call.cancelWithStatus(code, details);
  // Reports the status before any timer fires. A deadline timer would report that the call may have reached the server.
  process.nextTick(() => {
    listener.onReceiveStatus({ code, details, metadata: new Metadata() });
  });
}

/** Creates a call through `interceptors`, outermost first, in the same way as grpc-js's own client. */
export function interceptedCall(
  channel: Channel,
  method: MethodDescriptor,
  deadline: number,
  options: CallOptions | undefined,
  interceptors: readonly Interceptor[],
  callbacks: InterceptedCallCallbacks,
  clock: Clock,
): InterceptingCallInterface {
  const bottom: NextCall = (final) => {
    // `Infinity` if an interceptor removed the deadline.
    const call = createCall(channel, method.path, final.deadline ?? Infinity, final);
    callbacks.onCreated(call);
    return new BottomCall(call, method, callbacks, effectiveDeadline(final), clock);
  };
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
