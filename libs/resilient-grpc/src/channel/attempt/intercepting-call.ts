import { Metadata, type CallOptions, type Channel, type Interceptor, type experimental } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import type { MethodDescriptor } from '../../call/method.js';

type CallStream = experimental.CallStream;
type NextCall = Parameters<Interceptor>[1];
type InterceptingCallInterface = ReturnType<NextCall>;
type InterceptorOptions = Parameters<NextCall>[0];
type Listener = NonNullable<Parameters<InterceptingCallInterface['start']>[1]>;
type MessageContext = Parameters<CallStream['sendMessageWithContext']>[0];

/** Whoever had a call made that passes interceptors, and hears what they may hide. */
export interface InterceptedCallOwner {
  /** The call of the channel that the interceptors' options ended in, once there is one. */
  onCreated(call: CallStream): void;
  /** A request message leaves the interceptors. */
  onSend(bytes: Buffer): void;
  /** A response came from the channel. */
  onReceive(bytes: Buffer): void;
  /** A response came that cannot be read. */
  onUnreadable(): void;
}

/**
 * The call under all interceptors. grpc-js has one of its own but does not export it; what interceptors may rely on is the same:
 * messages are objects, a call that answers once reads by itself, and tells `null` when it ended without a message.
 */
class BottomCall implements InterceptingCallInterface {
  constructor(
    private readonly call: CallStream,
    private readonly method: MethodDescriptor,
    private readonly owner: InterceptedCallOwner,
  ) {}

  start(metadata: Metadata, listener?: Listener): void {
    const { method, call, owner } = this;
    let received = false;
    let unreadable: string | undefined;
    call.start(metadata, {
      onReceiveMetadata: (headers: Metadata) => listener?.onReceiveMetadata?.(headers),
      onReceiveMessage: (bytes: Buffer) => {
        let message: unknown;
        owner.onReceive(bytes);
        try {
          message = method.responseDeserialize(bytes);
        } catch (error) {
          unreadable = `Response message parsing error: ${textOf(error)}`;
          owner.onUnreadable();
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
    });
    if (!method.responseStream) call.startRead();
  }

  sendMessageWithContext(context: MessageContext, message: unknown): void {
    let bytes: Buffer;
    try {
      bytes = this.method.requestSerialize(message);
    } catch (error) {
      this.call.cancelWithStatus(StatusCode.INTERNAL, `Request message serialization failure: ${textOf(error)}`);
      return;
    }
    this.owner.onSend(bytes);
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

/** A call of `channel` with the caller's own options of grpc-js. */
export function createCall(
  channel: Channel,
  path: string,
  deadline: CallOptions['deadline'],
  options: CallOptions | undefined,
): CallStream {
  if (options === undefined) return channel.createCall(path, deadline ?? Infinity, undefined, null, undefined);
  const { host, parent, propagate_flags: flags, credentials } = options;
  const call = channel.createCall(path, deadline ?? Infinity, host, parent ?? null, flags);
  if (credentials !== undefined) call.setCredentials(credentials);
  return call;
}

/** A call through `interceptors`, outermost first, as grpc-js's own client makes it. */
export function interceptedCall(
  channel: Channel,
  method: MethodDescriptor,
  deadline: number,
  options: CallOptions | undefined,
  interceptors: readonly Interceptor[],
  owner: InterceptedCallOwner,
): InterceptingCallInterface {
  const bottom: NextCall = (final) => {
    const call = createCall(channel, method.path, final.deadline, final);
    owner.onCreated(call);
    return new BottomCall(call, method, owner);
  };
  const first = interceptors.reduceRight<NextCall>((next, interceptor) => (given) => interceptor(given, next), bottom);
  // True: interceptors read path, kind and the two codecs of the definition, and those are what a MethodDescriptor has.
  const definition = method as unknown as InterceptorOptions['method_definition'];
  return first({ ...options, deadline, method_definition: definition });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
