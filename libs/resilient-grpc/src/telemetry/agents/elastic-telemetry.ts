import { AsyncLocalStorage } from 'node:async_hooks';
import type { Metadata } from '@grpc/grpc-js';
import type { AttemptKind, AttemptTelemetry, CallTelemetry, WaitEnd } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { StatusCode } from '../../status/status-code.js';
import type { IncomingCall, ObservableClient, ServedCallTelemetry, ServerTelemetry } from '../grpc-telemetry.js';

/** A span, or a transaction, of Elastic's agent. Members that are not in its public API may be missing. */
interface ElasticSpan {
  propagateTraceContextHeaders?(carrier: Metadata, set: (carrier: Metadata, name: string, value: string) => void): void;
  setHttpContext?(context: { readonly method: string; readonly status_code?: number; readonly url: string }): void;
  setServiceTarget?(type: string, name: string): void;
  setOutcome(outcome: 'success' | 'unknown'): void;
  end(): void;
}

interface ElasticTransaction {
  /** The request, from which the agent reads these members; not in its public API. */
  req?: object;
  setOutcome(outcome: 'success' | 'unknown'): void;
  end(result?: string): void;
}

interface ElasticAgent {
  startTransaction?(name: string, type: string, options: object): ElasticTransaction | null;
  readonly currentSpan: ElasticSpan | null;
  readonly currentTransaction: ElasticSpan | null;
  startSpan(name: string, type: string, subtype: string, action: string, options: object): ElasticSpan | null;
}

/** Returns Elastic's agent if it runs in this process. It traces HTTP/2 requests, so it does not see those of this library's transport. */
export function elasticAgent(): ElasticAgent | undefined {
  const { createRequire } = process.getBuiltinModule('node:module');
  // Any file does, because the modules of a process share one cache; a bundle does not know its own.
  const { cache } = createRequire(process.execPath);
  const path = Object.keys(cache).find((one) => /[\\/]elastic-apm-node[\\/]index\.js$/.test(one));
  // Safe: the members are checked.
  const agent =
    path === undefined ? undefined : (cache[path]?.exports as (ElasticAgent & { isStarted?(): boolean }) | undefined);
  return typeof agent?.startSpan === 'function' && agent.isStarted?.() === true ? agent : undefined;
}

/** Returns a function that starts the telemetry of a call whose attempts `agent` records as requests, in addition to `other` telemetry. */
export function elasticCalls(
  agent: ElasticAgent,
  { canonicalTarget, isSecure }: Pick<ObservableClient, 'canonicalTarget' | 'isSecure'>,
): (method: MethodDescriptor, metadata: Metadata | undefined, other: CallTelemetry | undefined) => CallTelemetry {
  const origin = `${isSecure ? 'https' : 'http'}://${canonicalTarget.replace(/^[^:]+:(?:\/\/[^/]*\/)?/, '')}`;
  return ({ path }, _metadata, other) => new ElasticCall(agent, origin, path, other);
}

class ElasticCall implements CallTelemetry {
  /** Runs a function in the context of the caller, whose span is the parent of each attempt. */
  private readonly inContext = AsyncLocalStorage.snapshot();

  constructor(
    private readonly agent: ElasticAgent,
    private readonly origin: string,
    private readonly path: string,
    private readonly other: CallTelemetry | undefined,
  ) {}

  within<T>(work: () => T): T {
    const { other } = this;
    return other?.within === undefined ? work() : other.within(work);
  }

  answered(headers: Metadata): void {
    this.other?.answered?.(headers);
  }

  nextIs(kind: AttemptKind): void {
    this.other?.nextIs(kind);
  }

  attempt(shared: Metadata): AttemptTelemetry {
    const { agent, origin, path } = this;
    const metadata = shared.clone();
    const span = this.inContext(() => {
      const started = agent.startSpan(`POST ${origin}`, 'external', 'http', 'POST', { exitSpan: true });
      const parent = started ?? agent.currentSpan ?? agent.currentTransaction;
      parent?.propagateTraceContextHeaders?.(metadata, (to, name, value) => {
        to.set(name, value);
      });
      return started;
    });
    const other = this.other?.attempt(metadata);
    return {
      metadata: other?.metadata ?? metadata,
      sent: (bytes) => other?.sent(bytes),
      received: (bytes) => other?.received(bytes),
      end: (code, details, peer, isAnswered = false) => {
        other?.end(code, details, peer, isAnswered);
        // As for requests of node:http2, whose outcome the agent derives from the HTTP status.
        const status = isAnswered ? { status_code: 200 } : {};
        span?.setHttpContext?.({ method: 'POST', ...status, url: `${origin}${path}` });
        span?.setOutcome(isAnswered ? 'success' : 'unknown');
        span?.setServiceTarget?.('http', origin.replace(/^\w+:\/\//, ''));
        span?.end();
      },
    };
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    this.other?.waited(outcome, waitedMs);
  }

  end(code: StatusCode, details: string, trailers: Metadata): void {
    this.other?.end(code, details, trailers);
  }
}

/** Telemetry of a server whose calls Elastic's agent records as transactions, in addition to `other` telemetry. */
export class ElasticServerTelemetry implements ServerTelemetry {
  constructor(
    private readonly agent: ElasticAgent,
    private readonly other: ServerTelemetry | undefined,
  ) {}

  begin(call: IncomingCall): ServedCallTelemetry {
    const { agent, other } = this;
    const [childOf] = call.metadata.get('traceparent');
    const [tracestate] = call.metadata.get('tracestate');
    const options = { ...(childOf !== undefined && { childOf }), ...(tracestate !== undefined && { tracestate }) };
    // Named and described as for servers of node:http2, so that dashboards and alerts stay as they are.
    const transaction = agent.startTransaction?.('POST unknown route', 'request', options);
    const headers = { ':path': call.path, ':method': 'POST', ...call.metadata.getMap() };
    if (transaction) transaction.req = { method: 'POST', url: call.path, httpVersion: '2.0', headers, socket: {} };
    // The transaction is active in this context, and in what it starts.
    const inContext = AsyncLocalStorage.snapshot();
    const served = other?.begin(call);
    let isAnswered = false;
    const within = (work: () => void): void => {
      inContext(() => {
        if (served === undefined) work();
        else served.within(work);
      });
    };
    return {
      within,
      serve: (work) => {
        if (served === undefined) within(work);
        else served.serve(work);
      },
      received: (bytes) => served?.received(bytes),
      sent: (bytes) => {
        isAnswered = true;
        served?.sent(bytes);
      },
      end: (end) => {
        served?.end(end);
        // A call without a status has no details.
        isAnswered ||= end.code !== StatusCode.CANCELLED || end.details !== '';
        transaction?.setOutcome(isAnswered ? 'success' : 'unknown');
        transaction?.end(isAnswered ? 'HTTP 2xx' : undefined);
      },
    };
  }

  refused(code: StatusCode): void {
    this.other?.refused(code);
  }

  take(event: GrpcServerEvent): void {
    this.other?.take(event);
  }

  observe(server: Parameters<ServerTelemetry['observe']>[0]): () => void {
    return this.other?.observe(server) ?? (() => undefined);
  }
}
