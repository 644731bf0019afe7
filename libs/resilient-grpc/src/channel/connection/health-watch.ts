import type { EndpointSnapshot } from '../../call/connectivity.js';
import { nextWatch } from '../../policy/reconnect/reconnect-times.js';
import { readFields, writeField } from '../../errors/protobuf-fields.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import type { ConnectionStream, StreamEnd, StreamOpening } from './connection-stream.js';
import type { Metadata } from '@grpc/grpc-js';

/** Health of one connection (gRFC A17). 'pending': the server has not reported it yet. */
export type EndpointHealth = NonNullable<EndpointSnapshot['health']>;

export interface HealthWatchDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Full name of the service whose health is watched; '' for the server as a whole. */
  readonly service: string;
  /** Returns the metadata for a Watch, such as a token. */
  readonly metadata: () => Promise<Metadata>;
}

const PATH = '/grpc.health.v1.Health/Watch';
const SERVICE_FIELD = 1;
const STATUS_FIELD = 1;
const SERVING = 1n;
const SERVICE_UNKNOWN = 3n;
/**
 * Maximum time in milliseconds from the start of a Watch to its first response. After that time without a response, the health becomes
 * 'unanswered'; until then, the health is unchanged.
 */
const FIRST_RESPONSE_TIMEOUT_MS = 5_000;

/**
 * Watches the health of one connection while it is READY. A Watch that ends is reopened: within 100 ms if it received a response and lasted
 * at least a second, otherwise after a backoff. A server without the health service counts as healthy, and its Watch is not reopened.
 */
export class HealthWatch {
  private stream: ConnectionStream | undefined;
  private timer: Timer | undefined;
  private firstResponseTimer: Timer | undefined;
  private failures = 0;
  private isStopped = false;

  constructor(
    private readonly open: (opening: StreamOpening) => ConnectionStream | undefined,
    private readonly report: (health: EndpointHealth) => void,
    private readonly dependencies: HealthWatchDependencies,
  ) {
    this.start();
  }

  /** Ends the Watch, because the connection is no longer READY or is released. */
  stop(): void {
    this.isStopped = true;
    this.timer?.clear();
    this.firstResponseTimer?.clear();
    this.stream?.cancel();
  }

  private start(): void {
    const { clock, service, metadata } = this.dependencies;
    const startedAt = clock.now();
    this.firstResponseTimer = clock.setTimer(() => {
      this.report('unanswered');
    }, FIRST_RESPONSE_TIMEOUT_MS);
    let answered = false;
    const ended = (end: StreamEnd): void => {
      if (!this.isStopped) this.ended(answered, clock.now() - startedAt, end);
    };
    const opening = {
      path: PATH,
      request: service === '' ? Buffer.alloc(0) : writeField(SERVICE_FIELD, Buffer.from(service)),
      onMessage: (bytes: Uint8Array) => {
        answered = true;
        this.answer(healthIn(bytes));
      },
      onEnd: ended,
    };
    metadata().then(
      (sent) => {
        if (this.isStopped) return;
        this.stream = this.open({ ...opening, metadata: sent });
        // No stream: the connection is ending and its state changes next, or the installed grpc-js cannot bind a call to a connection.
        if (this.stream === undefined) ended({ code: StatusCode.UNAVAILABLE, details: 'no stream' });
      },
      () => {
        ended({ code: StatusCode.INTERNAL, details: 'the metadata function failed' });
      },
    );
  }

  private ended(answered: boolean, livedMs: number, end: StreamEnd): void {
    const { clock, random } = this.dependencies;
    const next = nextWatch({ answered, livedMs, failures: this.failures, end }, random);
    if (next.kind === 'unimplemented') {
      this.answer('unimplemented');
      return;
    }
    this.failures = next.failures;
    if (next.kind === 'retry') this.answer('failed');
    this.timer = clock.setTimer(() => {
      this.start();
    }, next.delayMs);
  }

  private answer(health: EndpointHealth): void {
    this.firstResponseTimer?.clear();
    this.firstResponseTimer = undefined;
    this.report(health);
  }
}

/** Reads a `HealthCheckResponse`. Unreadable bytes count as not serving. */
function healthIn(bytes: Uint8Array): EndpointHealth {
  try {
    const status = readFields(bytes).findLast(({ number }) => number === STATUS_FIELD)?.value;
    if (status === SERVING) return 'serving';
    return status === SERVICE_UNKNOWN ? 'unknown-service' : 'not-serving';
  } catch {
    return 'not-serving';
  }
}
