import type { Interceptor, Metadata } from '@grpc/grpc-js';
import type { AttemptRequest } from '../../call/attempt.js';
import type { CallTelemetry } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { StreamScope } from '../../call/stream-scope.js';
import { NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { callDeadline, callInterceptors, callMetadata, type CallArguments } from './call-arguments.js';
import { admissionFailure } from './call-admission.js';
import type { MethodContext } from '../call-context.js';
import type { CallerContext } from './caller-context.js';
import { encodeRequest, type CallFailure } from './call-failure.js';
import { inboundBinding, type InboundBinding } from './inbound-binding.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import type { GrpcCallOptions } from '../resilient-types.js';

/** What a caller asks for. */
export interface CallInput {
  readonly request: unknown;
  readonly given: CallArguments;
  /** In which context; undefined where none are kept. */
  readonly createdIn: CallerContext | undefined;
  /** Where in the code, where that is wanted: 'file:line'. */
  readonly openedAt?: string | undefined;
}

/** One call as it is before anything is sent: what holds for all its attempts. */
export abstract class PreparedCall implements AttemptRequest {
  // As AttemptRequest
  readonly method: MethodDescriptor;
  deadline = Infinity;
  metadata: Metadata = NO_METADATA;
  readonly interceptors: readonly Interceptor[] | undefined;
  readonly maxReceiveBytes: number;
  abstract readonly mayRepeat: boolean;
  /** The attempt that runs, or comes next: 1 for the original one. */
  number = 0;
  telemetry: CallTelemetry | undefined;

  waitForReady: boolean | undefined;
  /** Of the one request message. */
  bytes = 0;
  startedAt = 0;
  /** Metadata of the first attempt. */
  protected callMetadata: Metadata = NO_METADATA;
  /** The one request message as it is sent. */
  protected payload: unknown;
  /** How it is tied to the inbound call it serves. */
  protected binding: InboundBinding | undefined;
  /** As interceptors see it, where there are any. */
  protected outgoing: OutgoingCall | undefined;

  constructor(
    protected readonly context: MethodContext,
    protected readonly asked: CallInput,
  ) {
    this.method = context.method;
    this.maxReceiveBytes = context.maxReceiveBytes;
    this.interceptors = callInterceptors(context, asked.given.options);
  }

  get options(): GrpcCallOptions | undefined {
    return this.asked.given.options;
  }

  /**
   * Works out what holds for all attempts. Why it may not begin, if so.
   *
   * @throws GrpcConfigurationError for options that are none
   */
  protected prepare(scope: StreamScope | undefined): CallFailure | undefined {
    const { context, options } = this;
    const { client, policy } = context;
    const { given, createdIn } = this.asked;
    this.startedAt = client.clock.now();
    this.deadline = callDeadline(context, options, client.clock.epoch());
    this.binding = inboundBinding(context.propagation, options, client.clock, createdIn?.inbound);
    if (this.binding !== undefined) this.deadline = Math.min(this.deadline, this.binding.deadline);
    // A stream of several calls has one deadline.
    if (scope !== undefined) this.deadline = Math.min(this.deadline, scope.deadline);
    this.callMetadata = callMetadata(context, given, this.binding?.metadata);
    const byMetadata = this.callMetadata.getOptions().waitForReady;
    this.waitForReady = options?.waitForReady ?? byMetadata ?? policy.waitForReady ?? waitsToResume(scope);
    if (byMetadata === true) {
      // Waiting is ours: grpc-js would let the call queue in its channel.
      this.callMetadata = this.callMetadata.clone();
      this.callMetadata.setOptions({ ...this.callMetadata.getOptions(), waitForReady: false });
    }
    this.metadata = this.callMetadata;
    const failure = admissionFailure(context, this.deadline, options?.signal, this.binding?.signal);
    if (failure !== undefined) return failure;
    if (context.parts !== undefined) this.outgoing = this.asOutgoing();
    return this.encodeOne();
  }

  /** Encodes a single request: once, however many attempts follow. */
  private encodeOne(): CallFailure | undefined {
    const { request } = this.asked;
    if (this.method.requestStream) return undefined;
    if (this.interceptors !== undefined) {
      this.payload = request;
      return undefined;
    }
    const encoded = encodeRequest(this.context, request);
    if (!(encoded instanceof Uint8Array)) return encoded;
    this.payload = encoded;
    this.bytes = encoded.length;
    return undefined;
  }

  private asOutgoing(): OutgoingCall {
    const { service, method, path, kind } = this.method;
    // Interceptors write into it, and it may be shared.
    const metadata = this.callMetadata.clone();
    const inbound = this.binding?.inbound;
    const { name } = this.context.client;
    return { client: name, service, method, path, kind, metadata, ...(inbound === undefined ? {} : { inbound }) };
  }
}

/** A stream has nothing else to do in an outage than to wait for its end; to fail and come again would only be later. */
function waitsToResume(scope: StreamScope | undefined): true | undefined {
  return scope !== undefined && scope.resumes > 0 ? true : undefined;
}
