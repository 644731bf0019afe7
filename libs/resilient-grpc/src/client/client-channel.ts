import type { CallCredentials, Channel, Metadata } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import type { StreamDemand, StreamSink } from '../call/stream-source.js';
import type { ManagedChannel } from '../channel/managed-channel.js';
import { NO_METADATA } from '../channel/wire/call-metadata.js';
import type { GrpcCallError } from '../errors/grpc-call-error.js';
import { notifyListener } from '../errors/error-message.js';
import { StatusCode } from '../status/status-code.js';
import type { MethodContext } from './call-context.js';
import { applicationCallSite } from './caller/call-site.js';
import { deadlineFailure } from './attempts/call-failure.js';
import { currentCallerContext } from './caller/caller-context.js';
import { ClientCall } from './calls/client-call.js';
import { DeadlineTimer } from './attempts/deadline-timer.js';
import { argumentsInContext } from './calls/inbound-binding.js';
import type { MethodRuntime } from './method-context.js';
import type { GrpcCallOptions } from './resilient-types.js';
import type { ResolvedClientSettings } from './settings/resolved-settings.js';
import type { Services } from './settings/contract.js';

type Call = ReturnType<Channel['createCall']>;
type Listener = Parameters<Call['start']>[1];
type Status = Parameters<Listener['onReceiveStatus']>[0];
type MessageContext = Parameters<Call['sendMessageWithContext']>[0];

interface Message {
  readonly bytes: Buffer;
  readonly written: MessageContext['callback'];
}

/** What the channel needs of its client. */
interface ChannelOwner {
  readonly managed: ManagedChannel;
  readonly services: Services;
  readonly settings: Pick<ResolvedClientSettings, 'policies' | 'unlistedPolicy'>;
  readonly runtime: Pick<MethodRuntime, 'contextOf' | 'contextsOf'>;
  /** Target of calls without a peer. */
  readonly target: () => string;
}

/** Creates grpc-js's public channel of a client, whose calls are calls of the client. */
export function clientChannel({ managed, services, settings, runtime, target }: ChannelOwner): Channel {
  const contexts = new Map<string, () => MethodContext>();
  const contextOf = (path: string): MethodContext => {
    const known = contexts.get(path);
    if (known !== undefined) return known();
    const method = bytesMethod(path, services);
    const fixed = settings.policies.get(path);
    if (fixed === undefined) return runtime.contextOf(method, settings.unlistedPolicy(method));
    const created = runtime.contextsOf(method, fixed);
    contexts.set(path, created);
    return created();
  };
  const channel: Pick<Channel, keyof Channel> = {
    // Closing one of two stubs on the channel would break the other.
    close: () => undefined,
    // grpc-js's channel may be replaced between calls.
    getTarget: () => managed.current.channel.getTarget(),
    getConnectivityState: (connect) => managed.current.channel.getConnectivityState(connect && !managed.isClosed),
    watchConnectivityState: (state, deadline, callback) => {
      managed.current.channel.watchConnectivityState(state, deadline, callback);
    },
    getChannelzRef: () => managed.current.channel.getChannelzRef(),
    createCall(path, deadline, host, parent, flags) {
      const options: GrpcCallOptions = {
        ...(deadline !== Infinity && { deadline }),
        ...(host && { host }),
        // Safe: a server call is of one of the four kinds.
        ...(parent && { parent: parent as NonNullable<GrpcCallOptions['parent']> }),
        ...(typeof flags === 'number' && { propagate_flags: flags }),
      };
      // The interceptors run in the stub.
      return new ChannelCall({ ...contextOf(path), interceptors: undefined }, options, target());
    },
  };
  // The cast is needed, because grpc-js exports the interface `Channel` as the class that implements it, with a private member.
  return channel as Channel;
}

let calls = 0;

const identity = <T>(bytes: T): T => bytes;

/** Returns the method at `path` for messages that are already serialized. */
function bytesMethod(path: string, services: Services): MethodDescriptor {
  const [, service = '', name = ''] = path.split('/');
  const method = services.get(service)?.get(name);
  const unlisted = { service, method: name, kind: 'bidi', requestStream: true, responseStream: true } as const;
  // Safe: the messages are bytes.
  const requestSerialize = identity as MethodDescriptor['requestSerialize'];
  const bytes = { requestSerialize, responseDeserialize: identity, isGenerated: true } as const;
  return { declaredIdempotent: false, ...(method ?? unlisted), path, ...bytes };
}

/**
 * A call of grpc-js's public `Channel`. It runs as one of the client's calls, with the same policies, statistics, and drain. Messages are
 * bytes, because the generated client above it has the codecs and the interceptors. The methods of grpc-js's `Call` are own properties,
 * because monitoring agents copy objects of grpc-js with `Object.assign()`.
 */
class ChannelCall implements Call, StreamSink<unknown>, StreamDemand {
  readonly demand: StreamDemand | undefined;
  requested = 0;
  waiting = false;
  private readonly number = (calls += 1);
  private readonly createdIn = currentCallerContext();
  private readonly openedAt: string | undefined;
  private metadata: Metadata | undefined;
  /** `undefined` until the call is started. An interceptor may delay the start, for example until it has fetched a token. */
  private listener: Listener | undefined;
  private credentials: CallCredentials | undefined;
  /** `undefined` until the call is started and, if its method has a single request, the message is sent. */
  private call: ClientCall | undefined;
  /** Enforces the deadline of a started call whose single request an interceptor delays. */
  private deadline: DeadlineTimer | undefined;
  private readonly messages: Message[] = [];
  private written: MessageContext['callback'];
  private isHalfClosed = false;
  /** Answers the call, which waits for a message. */
  private answer: ((result: IteratorResult<Buffer, undefined>) => void) | undefined;
  private unread: unknown;
  private peer: string | undefined;
  private authContext: ReturnType<Call['getAuthContext']> = null;
  private details = '';
  private trailers = NO_METADATA;
  private status: Status | undefined;
  private isReported = false;

  constructor(
    private readonly context: MethodContext,
    private readonly options: GrpcCallOptions,
    private readonly target: string,
  ) {
    const { kind, responseStream } = context.method;
    if (responseStream) this.demand = this;
    if (context.client.unread.traces && kind !== 'unary') this.openedAt = applicationCallSite();
  }

  // ── the call for grpc-js ──

  readonly start = (metadata: Metadata, listener: Listener): void => {
    this.metadata = metadata;
    this.listener = listener;
    // The caller may have cancelled the call.
    if (this.status !== undefined) this.report();
    else if (this.context.method.requestStream) this.begin(this.requests());
    else this.awaitMessage();
  };

  readonly sendMessageWithContext = ({ flags, callback }: MessageContext, given: Buffer): void => {
    // A view of its own, because a serializer may return the same buffer for several messages.
    const bytes = flags === undefined ? given : Object.assign(given.subarray(), { writeFlags: flags });
    if (this.context.method.requestStream && this.status === undefined) {
      this.messages.push({ bytes, written: callback });
      this.answerCall();
      return;
    }
    if (callback !== undefined) process.nextTick(callback);
    if (this.status === undefined && this.call === undefined) this.begin(bytes);
  };

  readonly halfClose = (): void => {
    this.isHalfClosed = true;
    this.answerCall();
  };

  readonly startRead = (): void => {
    this.requested += 1;
    this.waiting = true;
    const { unread } = this;
    this.unread = undefined;
    if (unread === undefined) this.call?.resumeReading();
    else this.next(unread);
    this.report();
  };

  readonly cancelWithStatus = (code: StatusCode, details: string): void => {
    if (this.call?.isOpen() === true) {
      this.call.end({ code, details, reason: code === StatusCode.CANCELLED ? 'cancelled' : 'protocol' });
    } else if (this.status === undefined || this.unread !== undefined) {
      // The call has not begun, or the reader has not read its last message.
      this.unread = undefined;
      this.end({ code, details, metadata: NO_METADATA.clone() });
    }
  };

  readonly setCredentials = (credentials: CallCredentials): void => {
    this.credentials = credentials;
  };

  readonly getPeer = (): string => this.call?.peer ?? this.peer ?? this.target;

  readonly getCallNumber = (): number => this.number;

  readonly getAuthContext = (): ReturnType<Call['getAuthContext']> => this.call?.authContext ?? this.authContext;

  // ── the sink of the client's call ──

  next(message: unknown): false {
    if (this.waiting) {
      this.waiting = false;
      this.listener?.onReceiveMessage(message);
    } else {
      this.unread = message;
    }
    // `startRead()` resumes the call.
    return false;
  }

  error(error: GrpcCallError): void {
    const { code, details, metadata, reason, reachedServer, peer } = error;
    this.peer = peer ?? this.peer;
    // Like grpc-js, does not wait for the reader, which may never read the message.
    this.unread = undefined;
    // The generated client copies the properties of the status to its error.
    this.end(Object.assign({ reason, reachedServer }, { code, details, metadata }));
  }

  complete(): void {
    // Copied, because the metadata may be shared, and interceptors may change it.
    this.end({ code: StatusCode.OK, details: this.details, metadata: this.trailers.clone() });
  }

  private begin(request: unknown): void {
    const { context, listener, createdIn, openedAt, credentials } = this;
    this.deadline?.clear();
    const options: GrpcCallOptions = {
      ...this.options,
      ...(credentials !== undefined && { credentials }),
      onHeaders: (headers) => {
        this.peer = this.call?.peer;
        this.authContext = this.getAuthContext();
        listener?.onReceiveMetadata(headers);
      },
      onEnd: ({ details, trailers }) => {
        this.details = details;
        this.trailers = trailers;
      },
    };
    const given = argumentsInContext({ metadata: this.metadata, options });
    this.call = new ClientCall(context, { request, given, createdIn, openedAt }, this);
    this.call.begin();
  }

  private awaitMessage(): void {
    const deadline = Number(this.options.deadline ?? Infinity);
    if (!(deadline < Infinity)) return;
    const { clock } = this.context.client;
    const since = clock.now();
    this.deadline = new DeadlineTimer(deadline, clock, () => {
      this.end({
        ...deadlineFailure(clock.now() - since, ', waiting for an interceptor'),
        metadata: NO_METADATA.clone(),
      });
    });
  }

  private end(status: Status): void {
    this.status = status;
    this.deadline?.clear();
    this.report();
    // A writer that waits for its callback would otherwise never end.
    const unsent = [this.written, ...this.messages.splice(0).map(({ written }) => written)];
    this.written = undefined;
    for (const written of unsent) if (written !== undefined) process.nextTick(written);
  }

  /** Reports the status, unless the reader has not read the last message. Like grpc-js, in the next tick. */
  private report(): void {
    const { status, listener } = this;
    if (status === undefined || listener === undefined || this.unread !== undefined || this.isReported) return;
    this.isReported = true;
    process.nextTick(() => {
      listener.onReceiveStatus(status);
    });
  }

  // ── requests ──

  private requests(): object {
    const next = (): IteratorResult<Buffer, undefined> | Promise<IteratorResult<Buffer, undefined>> => {
      // The call asks for the next message when it has accepted the previous one. The callback may send the next message at once.
      this.accepted();
      return this.take() ?? new Promise((resolve) => (this.answer = resolve));
    };
    const iterator = { next, return: () => undefined };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  private take(): IteratorResult<Buffer, undefined> | undefined {
    const message = this.messages.shift();
    if (message === undefined) return this.isHalfClosed ? { done: true, value: undefined } : undefined;
    this.written = message.written;
    return { done: false, value: message.bytes };
  }

  private accepted(): void {
    const { written } = this;
    this.written = undefined;
    if (written !== undefined) notifyListener(written, null);
  }

  private answerCall(): void {
    const { answer } = this;
    const result = answer && this.take();
    if (result === undefined) return;
    this.answer = undefined;
    answer?.(result);
  }
}
