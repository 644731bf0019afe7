import type { InjectionToken } from '@nestjs/common';
import type { Metadata } from '@grpc/grpc-js';
import type { ClientFigures, ClientTelemetry } from '../call/call-telemetry.js';
import type { MethodKind } from '../call/method.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import type { StatusCode } from '../status/status-code.js';

/** Token of {@link GrpcTelemetry}: nothing where its module is not imported. */
export const GRPC_TELEMETRY: InjectionToken<GrpcTelemetry> = Symbol('telemetry of gRPC');

/** Metrics and traces, as servers (and clients) see them. Of OpenTelemetry, which is an optional peer, nothing is named here. */
export interface GrpcTelemetry {
  /**
   * For one server, asked for when it begins to listen.
   * @param traced somebody else makes spans of the calls that are served
   */
  forServer(traced: boolean): ServerTelemetry;
  /** For one client, when it is made. It is told who takes what it tells, now or when the application has started, or never. */
  forClient(client: TellingClient): void;
}

/** A client, as those see it who take what it tells. */
export interface TellingClient {
  readonly name: string;
  /** With its scheme: 'dns:///orders:50051'. */
  readonly canonicalTarget: string;
  /** Its connections are encrypted. */
  readonly isSecure: boolean;
  /** Its calls are told to `telemetry` from now on, until it closes. */
  tell(telemetry: ClientTelemetry): void;
  /** As it is at this moment. */
  figures(): ClientFigures;
}

/** What is told of a server. */
export interface ServerTelemetry {
  /** The headers of a call have arrived. */
  begin(call: ArrivedCall): ServedCallTelemetry;
  /** A call of a method that the server does not have was refused. */
  refused(code: StatusCode): void;
  take(event: GrpcServerEvent): void;
}

/** A call of a method that the server has. */
export interface ArrivedCall {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  readonly kind: MethodKind;
  readonly metadata: Metadata;
}

/** What is told of one call that is served. */
export interface ServedCallTelemetry {
  /** Runs `work` in the context of the call, in which spans that are begun are its children. */
  within(work: () => void): void;
  /** @param bytes of the message, uncompressed */
  received(bytes: number): void;
  /** @param bytes of the message, which servers of grpc-js do not compress */
  sent(bytes: number): void;
  end(end: ServedCallEnd): void;
}

/** How a call ended on the wire. */
export interface ServedCallEnd {
  readonly code: StatusCode;
  readonly details: string;
  /** Bytes of all messages that came, compressed where they were; undefined: the same as uncompressed. */
  readonly receivedBytes: number | undefined;
}
