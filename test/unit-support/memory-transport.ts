import { Metadata } from '@grpc/grpc-js';
import type {
  Attempt,
  AttemptEnd,
  AttemptListener,
  AttemptRequest,
} from '../../libs/resilient-grpc/src/call/attempt.js';
import type { CallTransport, ReadBarrier, Waiter } from '../../libs/resilient-grpc/src/call/call-transport.js';
import type { WireEvidence } from '../../libs/resilient-grpc/src/policy/evidence/classify.js';
import { failureByText } from '../../libs/resilient-grpc/src/policy/evidence/local-failure.js';
import { StatusCode } from '../../libs/resilient-grpc/src/status/status-code.js';
import type { Timer } from '../../libs/resilient-grpc/src/time/clock.js';
import type { VirtualClock } from './virtual-clock.js';

/** Ways in which the server or the network ends an attempt. */
export const ENDS = {
  ok: { code: 0, details: '', contentType: 'application/grpc' },
  busy: { code: 14, details: 'busy', contentType: 'application/grpc' },
  'busy, retry now': { code: 14, details: 'busy', contentType: 'application/grpc', pushback: '0' },
  'busy, retry in 2 s': { code: 14, details: 'busy', contentType: 'application/grpc', pushback: '2000' },
  'busy, do not retry': { code: 14, details: 'busy', contentType: 'application/grpc', pushback: '-1' },
  'not found': { code: 5, details: 'no', contentType: 'application/grpc' },
  'forced stop': { code: 1, details: 'Call cancelled', wire: { resetCode: 8, acceptsNoStreams: true } },
  dropped: { code: 14, details: 'Connection dropped', wire: { acceptsNoStreams: true } },
  refused: { code: 14, details: 'Stream refused by server', wire: { resetCode: 7 } },
  rejected: { code: 14, details: 'Stream refused by server', wire: { unprocessed: 'rejected', goawayCode: 0 } },
  queued: { code: 14, details: 'Connection dropped', wire: { unprocessed: 'never-sent', acceptsNoStreams: true } },
  'not picked': { code: 14, details: 'No connection established', picked: false },
  gateway: { code: 14, details: 'Received HTTP status code 503', wire: { httpStatus: 503 } },
  nonsense: { code: 99, details: 'what?', contentType: 'application/grpc' },
} as const;
/** The evidence of a stream without a response, on a connection that is still open. */
export const NOTHING_SEEN: WireEvidence = {
  unprocessed: undefined,
  httpStatus: undefined,
  resetCode: undefined,
  lacksTrailers: false,
  closedHere: false,
  goawayCode: undefined,
  acceptsNoStreams: false,
  timedOut: false,
};
/** A key of `ENDS`. */
export type EndName = keyof typeof ENDS;

/** An in-memory attempt. The test triggers its events, except its end after a cancellation or at the deadline. */
export class MemoryAttempt implements Attempt {
  peer: string | undefined = '10.0.0.1:1';
  open = true;
  /** True if the client has cancelled the attempt. Only its end may follow. */
  cancelled = false;
  unsent = false;
  /** True if a GOAWAY rejected the attempt. The first such attempt does not count toward the call's maximum number of attempts. */
  rejected = false;
  private headersReceived = false;
  private messagesReceived = 0;
  private written: (() => void) | undefined;
  private reads = 0;
  private listener: AttemptListener | undefined;
  private readonly deadlineTimer: Timer | undefined;

  constructor(
    readonly request: AttemptRequest,
    listener: AttemptListener,
    private readonly transport: MemoryTransport,
  ) {
    this.listener = listener;
    const { clock } = transport;
    if (request.deadline !== Infinity) {
      const ended = { code: 4, details: 'Deadline exceeded after 1s', endedHere: 'deadline' } as const;
      this.deadlineTimer = clock.setTimer(() => this.end(ended), request.deadline - clock.epoch());
    }
  }

  startRead(): void {
    if (!this.open) return;
    this.reads += 1;
    if (this.reads > 1) this.transport.violations.push('a read started while another was pending');
  }

  send(_message: unknown, written?: () => void): void {
    if (this.written !== undefined) this.transport.violations.push('a message was sent while another was in flight');
    this.written = written;
  }

  halfClose(): void {
    /* the in-memory server does not track half-closes */
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (!this.open || this.cancelled) return;
    this.cancelled = true;
    this.transport.clock.defer(() => this.end({ code, details, endedHere: why }));
  }

  abandon(): void {
    this.listener = undefined;
    this.cancel('cancel', StatusCode.CANCELLED, 'Cancelled on client');
  }

  // ── events triggered by the test ──

  acknowledge(): void {
    const { written } = this;
    this.written = undefined;
    if (this.takesMore()) written?.();
  }

  headers(): void {
    if (!this.takesMore() || this.headersReceived) return;
    this.headersReceived = true;
    this.listener?.onHeaders({ metadata: new Metadata(), contentType: undefined });
  }

  message(): void {
    if (!this.takesMore() || this.reads === 0) return;
    this.headers();
    // Checks again, because the listener may have cancelled the attempt in `onHeaders`.
    if (!this.takesMore()) return;
    this.reads -= 1;
    this.messagesReceived += 1;
    this.listener?.onMessage('answer');
  }

  private takesMore(): boolean {
    return this.open && !this.cancelled;
  }

  end(how: {
    code: number;
    details: string;
    contentType?: string;
    pushback?: string;
    picked?: boolean;
    wire?: Partial<WireEvidence>;
    endedHere?: AttemptEnd['endedHere'];
  }): void {
    if (!this.open) return;
    this.open = false;
    this.deadlineTimer?.clear();
    const { endedHere = 'no', picked = true, pushback } = how;
    const channelReady = this.transport.ready;
    this.unsent = !picked || how.wire?.unprocessed === 'never-sent';
    this.rejected = how.wire?.unprocessed === 'rejected';
    const metadata = new Metadata();
    if (pushback !== undefined) metadata.set('grpc-retry-pushback-ms', pushback);
    const end: AttemptEnd = {
      code: how.code,
      details: how.details,
      metadata,
      peer: this.peer,
      connection: this.transport.connection,
      picked,
      wire: picked ? { ...NOTHING_SEEN, ...how.wire } : undefined,
      channelReady,
      endedHere,
      failure: endedHere === 'no' ? failureByText(how.code, how.details) : undefined,
      headersReceived: this.headersReceived,
      messagesReceived: this.messagesReceived,
      contentType: how.contentType,
    };
    // Reports an end whose properties are all inherited, so that tests detect code that spreads the end. A `WireAttempt` reports itself as
    // the end, and spread syntax would omit its getters, which are on its prototype.
    this.listener?.onEnd(Object.create(end) as AttemptEnd);
  }
}

/** An in-memory transport. Attempts stay pending until the test ends them, the client cancels them, or their deadlines expire. */
export class MemoryTransport implements CallTransport {
  readonly target = 'memory';
  readonly doctorCommand = undefined;
  readonly remedy = undefined;
  ready = true;

  get isConnected(): boolean {
    return this.ready;
  }

  /** True if a call must wait for the read barrier before it starts. */
  mustAwaitRead = false;
  readonly attempts: MemoryAttempt[] = [];
  readonly waiters = new Set<Waiter>();
  connection = {};
  /** Violations of the contracts of `CallTransport` and `Attempt`. Not thrown, because the code under test may catch errors. */
  readonly violations: string[] = [];

  constructor(
    readonly clock: VirtualClock,
    private readonly onStart: (request: AttemptRequest) => void,
  ) {}

  get open(): readonly MemoryAttempt[] {
    return this.attempts.filter(({ open }) => open);
  }

  start(request: AttemptRequest, listener: AttemptListener): Attempt {
    if (!this.ready) this.violations.push('an attempt started on a channel that is not READY');
    this.onStart(request);
    const attempt = new MemoryAttempt(request, listener, this);
    this.attempts.push(attempt);
    return attempt;
  }

  get readBarrier(): ReadBarrier {
    return {
      isDue: this.mustAwaitRead,
      whenRead: (task) => {
        this.clock.defer(task);
      },
    };
  }

  wait(waiter: Waiter): void {
    if (this.waiters.has(waiter)) this.violations.push('a call was queued twice');
    this.waiters.add(waiter);
  }

  dequeue(waiter: Waiter): void {
    this.waiters.delete(waiter);
  }

  answered(): void {
    /* a real channel would end an outage here */
  }

  releasedCallEnded(): void {
    /* a real channel would adjust the release rate here */
  }

  whyNotReady(): string {
    return 'not connected';
  }

  release(): void {
    this.ready = true;
    for (const waiter of [...this.waiters]) {
      if (this.waiters.delete(waiter)) waiter.release();
    }
  }

  refuse(): void {
    for (const waiter of [...this.waiters]) {
      const refusal = { reason: 'outage', details: 'down', retryAfterMs: 100 } as const;
      if (this.waiters.delete(waiter)) waiter.refuse(refusal);
    }
  }

  disconnect(): void {
    this.ready = false;
    const lost = this.open;
    this.connection = {};
    for (const attempt of lost) attempt.end(ENDS.dropped);
  }
}
