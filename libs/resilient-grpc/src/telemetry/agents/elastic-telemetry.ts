import { AsyncLocalStorage } from 'node:async_hooks';
import type { Metadata } from '@grpc/grpc-js';
import type { AttemptKind, AttemptTelemetry, CallTelemetry, WaitEnd } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { StatusCode } from '../../status/status-code.js';
import type { ObservableClient } from '../grpc-telemetry.js';

/** A span, or a transaction, of Elastic's agent. Members that are not in its public API may be missing. */
interface ElasticSpan {
  propagateTraceContextHeaders?(carrier: Metadata, set: (carrier: Metadata, name: string, value: string) => void): void;
  setHttpContext?(context: { readonly method: string; readonly status_code?: number; readonly url: string }): void;
  setServiceTarget?(type: string, name: string): void;
  setOutcome(outcome: 'success' | 'unknown'): void;
  end(): void;
}

interface ElasticAgent {
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
