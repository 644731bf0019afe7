import { type Attributes, SpanStatusCode, type Meter, type Span, diag } from '@opentelemetry/api';
import { StatusCode, statusName } from '../status/status-code.js';

/** Bucket boundaries of duration histograms in seconds, and of size histograms in bytes (gRFC A66). */
const LATENCY_BUCKETS = [
  0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.013,
  0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 2, 5, 10,
  20, 50, 100,
];
const SIZE_BUCKETS = [
  0, 1_024, 2_048, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864, 268_435_456,
  1_073_741_824, 4_294_967_296,
];

export function instrumentsOf(meter: Meter) {
  const histogram = (name: string, unit: string, description: string, boundaries: number[]) =>
    meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries: boundaries } });
  return {
    histogram,
    counter: (name: string, unit: string, description: string) => meter.createCounter(name, { unit, description }),
    upDownCounter: (name: string, unit: string, description: string) =>
      meter.createUpDownCounter(name, { unit, description }),
    gauge: (name: string, unit: string, description: string) =>
      meter.createObservableGauge(name, { unit, description }),
    seconds: (name: string, description: string) => histogram(name, 's', description, LATENCY_BUCKETS),
    bytes: (name: string, description: string) => histogram(name, 'By', description, SIZE_BUCKETS),
  };
}

/** Returns the method name in gRFC A66 form: 'orders.v1.Orders/Get' for '/orders.v1.Orders/Get'. */
export function methodName(path: string): string {
  return path.slice(1);
}

/** Returns OpenTelemetry attributes for a target with its scheme, such as 'dns:///orders:50051'. */
export function serverAttributes(target: string): Attributes {
  return addressAttributes('server', target.replace(/^[^:]+:(?:\/\/[^/]*\/)?/, ''));
}

/** Returns the attributes for an address: '10.0.0.7:50051', '[::1]:50051', or the path of a Unix socket. */
function addressAttributes(prefix: string, address: string): Attributes {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return { [`${prefix}.address`]: address };
  return { [`${prefix}.address`]: host, [`${prefix}.port`]: Number(port) };
}

/** The span of a call or an attempt, with an event for each message (gRFC A72). If there is no span, nothing is recorded. */
export class CallSpan {
  private readonly recording: Span | undefined;
  private sentMessages = 0;
  private receivedMessages = 0;

  constructor(private readonly span: Span | undefined) {
    this.recording = span?.isRecording() === true ? span : undefined;
  }

  sent(bytes: number): void {
    this.recording?.addEvent('Outbound message', { 'sequence-number': this.sentMessages++, 'message-size': bytes });
  }

  received(bytes: number): void {
    this.recording?.addEvent('Inbound message', { 'sequence-number': this.receivedMessages++, 'message-size': bytes });
  }

  /** Sets the address of the endpoint, which is not known when the span starts. */
  reached(peer: string | undefined): void {
    if (peer !== undefined) this.recording?.setAttributes(addressAttributes('network.peer', peer));
  }

  /** Ends the span with a gRPC status in the form of gRFC A72, for example 'NOT_FOUND, no order 7'. */
  end(code: StatusCode, details: string): void {
    this.recording?.setAttribute('rpc.grpc.status_code', code);
    if (code === StatusCode.OK) {
      this.span?.setStatus({ code: SpanStatusCode.OK });
    } else {
      const message = details === '' ? statusName(code) : `${statusName(code)}, ${details}`;
      this.span?.setStatus({ code: SpanStatusCode.ERROR, message });
    }
    this.span?.end();
  }
}

/** Returns the span name of gRFC A72: 'Recv.orders.v1.Orders.Get' for 'Recv' and '/orders.v1.Orders/Get'. */
export function spanName(prefix: 'Sent' | 'Attempt' | 'Recv', path: string): string {
  return `${prefix}.${path.slice(1).replace('/', '.')}`;
}

/** Returns the attributes by which OpenTelemetry's conventions, and so monitoring agents, recognize a call. */
export function rpcAttributes(path: string): Attributes {
  const [, service, method] = path.split('/');
  return { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method };
}

/** Activities whose errors were logged. A broken SDK component usually throws on every call. */
const logged = new Set<string>();

/**
 * Returns the result of `work`, or `undefined` if it throws. Span processors, samplers, and views are application code that runs inside the
 * call being recorded; an error that they throw must not fail the call or crash the process. Only the first error of each `activity`, such
 * as 'starting a span', is logged.
 */
export function catchSdkErrors<T>(activity: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!logged.has(activity)) {
      logged.add(activity);
      diag.error(
        `OpenTelemetry SDK threw while ${activity}; calls continue; further errors of this kind are not logged`,
        error,
      );
    }
    return undefined;
  }
}
