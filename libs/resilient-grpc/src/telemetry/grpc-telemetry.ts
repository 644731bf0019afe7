import type { InjectionToken } from '@nestjs/common';
import type { Metadata } from '@grpc/grpc-js';
import type { ClientFigures, ClientTelemetry } from '../call/call-telemetry.js';
import type { MethodKind, Transport } from '../call/method.js';
import type { GrpcServerEvent, ObservableServer } from '../call/server-event.js';
import type { StatusCode } from '../status/status-code.js';

/** Injection token of {@link GrpcTelemetry}. It has no provider if the telemetry module is not imported. */
export const GRPC_TELEMETRY: InjectionToken<GrpcTelemetry> = Symbol('GrpcTelemetry');

/**
 * The metrics and traces interface that clients and servers use. The interface does not reference OpenTelemetry, which is an optional peer
 * dependency.
 */
export interface GrpcTelemetry {
  /**
   * Creates the telemetry of one server. Called when the server starts to listen.
   * @param spans 'none' if other instrumentation already creates the server spans; 'unless-active' if an agent may create them
   */
  forServer(spans: 'all' | 'none' | 'unless-active'): ServerTelemetry;
  /**
   * Registers a client when it is created. Recording of each enabled signal (metrics or traces) starts now if an OpenTelemetry SDK already
   * consumes the signal; otherwise, when the application has started. It never starts if no SDK consumes the signal by then.
   */
  forClient(client: ObservableClient): void;
}

export interface ObservableClient {
  readonly name: string;
  /** The target with its scheme, for example 'dns:///orders:50051'. */
  readonly canonicalTarget: string;
  readonly isSecure: boolean;
  readonly transport: Transport;
  /**
   * Sets the object that receives the telemetry of new calls and of events from now on, until the client closes. Replaces an earlier
   * object, which still receives the telemetry of calls that have begun. If the client is closed, `telemetry` is closed immediately.
   */
  setTelemetry(telemetry: ClientTelemetry): void;
  figures(): ClientFigures;
}

export interface ServerTelemetry {
  /** Called when the request headers of a call have arrived. */
  begin(call: IncomingCall): ServedCallTelemetry;
  /** Called when the server has rejected a call to a method that none of its services contains. */
  refused(code: StatusCode): void;
  take(event: GrpcServerEvent): void;
  /** Observes the gauges of `server` until the returned function is called. */
  observe(server: Pick<ObservableServer, 'overload'>): () => void;
}

/** An incoming call to a method of one of the server's services; the method may have no handler. */
export interface IncomingCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly metadata: Metadata;
}

export interface ServedCallTelemetry {
  /** Runs `work` in the trace context of the call. Spans started inside are children of the call's span. */
  within(work: () => void): void;
  /** Runs the handler, in the trace context of the call. Starts the span of the call if an agent may have started one, but has not. */
  serve(work: () => void): void;
  /** @param bytes the uncompressed size of the message */
  received(bytes: number): void;
  /** @param bytes the size of the message; grpc-js servers do not compress responses */
  sent(bytes: number): void;
  end(end: ServedCallEnd): void;
}

export interface ServedCallEnd {
  readonly code: StatusCode;
  readonly details: string;
  /** Size of all request messages on the wire, in bytes. `undefined` if it could not be counted; then the uncompressed size applies. */
  readonly receivedBytes: number | undefined;
}
