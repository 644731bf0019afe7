import { AsyncLocalStorage } from 'node:async_hooks';
import type * as GrpcJs from '@grpc/grpc-js';
import type { GrpcClientEvent } from '../../call/call-event.js';
import type {
  AttemptKind,
  AttemptTelemetry,
  CallTelemetry,
  ClientTelemetry,
  WaitEnd,
} from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { StreamScope } from '../../call/stream-scope.js';
import { StatusCode } from '../../status/status-code.js';
import type { ObservableClient } from '../grpc-telemetry.js';
import { runOutside } from '../../time/clock.js';
import { SilentCall, SilentCalls, type RunInContext } from './silent-calls.js';

const ignore = (): void => undefined;

/** Keeps the async context of the caller, in which agents keep their spans. */
const ASYNC_CONTEXTS: ClientTelemetry['contexts'] = {
  active: () => AsyncLocalStorage.snapshot(),
  // Safe: each context comes from `active()`.
  run: (context, work) => (context === undefined ? work() : (context as RunInContext)(work)),
};

/**
 * Lets agents trace the calls of `client`, except while telemetry that traces them is set. Returns an object to which other telemetry is
 * set, or `client` itself if no agent has patched the clients of grpc-js.
 */
export function tracedByAgents(client: ObservableClient, grpcJs: typeof GrpcJs): ObservableClient {
  const start = patchedStart(grpcJs);
  // eslint-disable-next-line @typescript-eslint/unbound-method -- only its text is read
  const { makeUnaryRequest } = grpcJs.Client.prototype;
  if (start === undefined && !isPatched(makeUnaryRequest, 'checkOptionalUnaryResponseArguments')) return client;
  const calls = new SilentCalls(grpcJs, client.canonicalTarget, start);
  const setTelemetry = (telemetry: ClientTelemetry | undefined): void => {
    client.setTelemetry(telemetry?.contexts === undefined ? new AgentTelemetry(calls, telemetry) : telemetry);
  };
  setTelemetry(undefined);
  return Object.assign(Object.create(client) as ObservableClient, { setTelemetry });
}

/** True if `method` is not grpc-js's own function, whose text contains `name`, or if an agent has rewritten that function. */
function isPatched(method: unknown, name: string): boolean {
  const text = Function.prototype.toString.call(method);
  // A rewritten function publishes to a tracing channel of node:diagnostics_channel.
  return !text.includes(name) || text.includes('runStores');
}

/** Returns `start()` of grpc-js's calls if an agent, such as New Relic, has patched it. */
function patchedStart({ Channel, credentials, Metadata }: typeof GrpcJs): SilentCall['start'] | undefined {
  const channel = new Channel('localhost', credentials.createInsecure(), { 'grpc.enable_channelz': 0 });
  // eslint-disable-next-line @typescript-eslint/unbound-method -- becomes a method of silent calls
  const { start } = channel.createCall('/', Infinity, null, null, undefined);
  channel.close();
  if (!isPatched(start, 'getConfig')) return undefined;
  try {
    const listener = { onReceiveMetadata: ignore, onReceiveMessage: ignore, onReceiveStatus: ignore };
    const call = new SilentCall('/', { target: { path: '' } }, start);
    // The probe must not become a segment of a request that creates a client.
    runOutside(() => {
      call.start(new Metadata(), listener);
    });
    return start;
  } catch {
    // This release of grpc-js calls other methods.
    return undefined;
  }
}

/** Telemetry of a client that agents trace, in addition to `other` telemetry. */
class AgentTelemetry implements ClientTelemetry {
  readonly contexts = ASYNC_CONTEXTS;

  constructor(
    private readonly calls: SilentCalls,
    private readonly other: ClientTelemetry | undefined,
  ) {}

  begin(
    method: MethodDescriptor,
    scope: StreamScope | undefined,
    metadata: GrpcJs.Metadata | undefined,
  ): CallTelemetry | undefined {
    const other = this.other?.begin(method, scope, metadata);
    const call = this.calls.start(method, metadata);
    return call === undefined ? other : new AgentCall(call, method, other);
  }

  take(event: GrpcClientEvent): void {
    this.other?.take(event);
  }

  close(): void {
    this.other?.close();
  }
}

/** A call that agents trace by its silent call. */
class AgentCall implements CallTelemetry {
  constructor(
    private readonly call: SilentCall,
    private readonly method: MethodDescriptor,
    private readonly other: CallTelemetry | undefined,
  ) {}

  nextIs(kind: AttemptKind): void {
    this.other?.nextIs(kind);
  }

  within<T>(work: () => T): T {
    return this.call.within(work);
  }

  attempt(shared: GrpcJs.Metadata): AttemptTelemetry {
    const metadata = shared.clone();
    for (const [key, values] of this.call.headers) {
      metadata.remove(key);
      for (const value of values) metadata.add(key, value);
    }
    const other = this.other?.attempt(metadata);
    return {
      metadata,
      sent: (bytes) => other?.sent(bytes),
      received: (bytes) => other?.received(bytes),
      end: (code, details, peer) => {
        if (peer !== undefined) this.call.peer = peer;
        other?.end(code, details, peer);
      },
    };
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    this.other?.waited(outcome, waitedMs);
  }

  answered(headers: GrpcJs.Metadata): void {
    this.call.listener.onReceiveMetadata(headers);
  }

  end(code: StatusCode, details: string, trailers: GrpcJs.Metadata): void {
    this.other?.end(code, details, trailers);
    // New Relic notes the error in the active segment.
    this.call.within(() => {
      this.call.end({ code, details, metadata: trailers }, code === StatusCode.OK && !this.method.responseStream);
    });
  }
}
