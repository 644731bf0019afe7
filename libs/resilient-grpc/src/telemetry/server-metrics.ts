import type { Attributes, Meter, ObservableCallback } from '@opentelemetry/api';
import type { MethodKind } from '../call/method.js';
import type { GrpcServerEvent, ObservableServer } from '../call/server-event.js';
import { statusName, type StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { ServedCallEnd } from './grpc-telemetry.js';
import { instrumentsOf, methodName } from './instruments.js';

/** Attributes of calls to unknown methods (gRFC A66). Clients can send any method name, and each name would otherwise create a series. */
const OTHER_METHOD: Attributes = { 'grpc.method': 'other' };

/**
 * Records the server metrics of gRFC A66 (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#server-instruments) and this
 * library's own metrics. This library's metrics use the prefix `resilient_grpc.`, so that they cannot collide with future gRPC metrics.
 */
export class ServerMetrics {
  private readonly instruments: ReturnType<typeof serverInstruments>;
  private readonly attributes = new Map<string, Attributes>();

  constructor(
    meter: Meter,
    private readonly clock: Clock,
  ) {
    this.instruments = serverInstruments(meter);
  }

  begin(path: string, kind: MethodKind): MeasuredCall {
    const attributes = this.attributesOf(path);
    this.instruments.started.add(1, attributes);
    const isStream = kind !== 'unary';
    if (isStream) this.instruments.streams.add(1, attributes);
    return { attributes, isStream, startedAt: this.clock.now(), sent: 0, received: 0 };
  }

  end(call: MeasuredCall, { code, receivedBytes }: ServedCallEnd): void {
    if (call.isStream) this.instruments.streams.add(-1, call.attributes);
    const seconds = (this.clock.now() - call.startedAt) / 1_000;
    this.record(call.attributes, code, { seconds, sent: call.sent, received: receivedBytes ?? call.received });
  }

  refused(code: StatusCode): void {
    this.instruments.started.add(1, OTHER_METHOD);
    this.record(OTHER_METHOD, code, { seconds: 0, sent: 0, received: 0 });
  }

  take(event: GrpcServerEvent): void {
    switch (event.type) {
      case 'stream-idle':
        this.instruments.idleStreams.add(1, this.attributesOf(event.path));
        return;
      case 'call-shed':
        this.instruments.shed.add(1, this.attributesOf(event.path));
        return;
      case 'call-dequeued':
        this.instruments.queueWait.record(event.waitMs / 1_000, this.attributesOf(event.path));
        return;
      case 'handler-leak':
        this.instruments.leaks.add(1, this.attributesOf(event.path));
        return;
      case 'drain':
        if (event.phase === 'begin') return;
        this.instruments.drainDuration.record(event.durationMs / 1_000);
        this.instruments.cutOff.add(event.cutOff);
        return;
      default:
    }
  }

  /** Observes the concurrency limits of `server` until the returned function is called. */
  observe(server: Pick<ObservableServer, 'overload'>): () => void {
    const { concurrencyLimit } = this.instruments;
    const observe: ObservableCallback = (result) => {
      for (const { path, maxConcurrent } of server.overload().limits)
        result.observe(maxConcurrent, path === undefined ? {} : this.attributesOf(path));
    };
    concurrencyLimit.addCallback(observe);
    return () => {
      concurrencyLimit.removeCallback(observe);
    };
  }

  private record(
    method: Attributes,
    code: StatusCode,
    { seconds, sent, received }: { readonly seconds: number; readonly sent: number; readonly received: number },
  ): void {
    const attributes = { ...method, 'grpc.status': statusName(code) };
    this.instruments.duration.record(seconds, attributes);
    this.instruments.sentBytes.record(sent, attributes);
    this.instruments.receivedBytes.record(received, attributes);
  }

  /** Returns the cached attributes of a method. The cache is bounded by the methods of the server's services. */
  private attributesOf(path: string): Attributes {
    let found = this.attributes.get(path);
    if (found === undefined) {
      found = { 'grpc.method': methodName(path) };
      this.attributes.set(path, found);
    }
    return found;
  }
}

export interface MeasuredCall {
  readonly attributes: Attributes;
  readonly isStream: boolean;
  readonly startedAt: number;
  /** Bytes of the response messages. */
  sent: number;
  received: number;
}

/** Creates the instruments of a server. Servers with the same meter record into the same metrics. */
export function serverInstruments(meter: Meter) {
  const { counter, upDownCounter, gauge, seconds, bytes } = instrumentsOf(meter);
  return {
    started: counter('grpc.server.call.started', '{call}', 'Calls that have started.'),
    sentBytes: bytes('grpc.server.call.sent_total_compressed_message_size', 'Message bytes sent per call.'),
    receivedBytes: bytes('grpc.server.call.rcvd_total_compressed_message_size', 'Message bytes received per call.'),
    duration: seconds('grpc.server.call.duration', "Time taken by a call from the server transport's perspective."),
    streams: upDownCounter('resilient_grpc.server.streams', '{stream}', 'Open streams.'),
    idleStreams: counter('resilient_grpc.server.idle_streams', '{stream}', 'Streams ended by maxStreamIdleMs.'),
    shed: counter('resilient_grpc.server.call.shed', '{call}', 'Calls refused because of an overload.'),
    queueWait: seconds('resilient_grpc.server.call.queue_wait', 'Time for which a call waited in a queue.'),
    concurrencyLimit: gauge('resilient_grpc.server.concurrency_limit', '{call}', 'Current maxConcurrentCalls.'),
    leaks: counter('resilient_grpc.server.handler_leaks', '{handler}', 'Handlers running a minute after their call.'),
    drainDuration: seconds('resilient_grpc.server.drain.duration', 'Duration of server drains.'),
    cutOff: counter(
      'resilient_grpc.server.drain.cut_off_calls',
      '{call}',
      'Calls that were open at the drain timeout.',
    ),
  };
}
