import type { OnceReply } from '../../policy/once/next-once.js';
import { ONCE_MARK, type OnceMark } from '../../policy/once/once-fields.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import { AbortError } from '../../errors/library-error.js';
import { isThenable } from '../../call/iterator-source.js';
import { errorMessage } from '../../errors/error-message.js';
import { StatusCode } from '../../status/status-code.js';
import type { GrpcServerCall } from '../../nest/inbound/grpc-inbound-call.js';
import { NOTHING_DONE } from '../errors/grpc-exception.js';
import type { CallHost, ServedMethod } from '../calls/served-call.js';
import { UnaryCall } from '../calls/unary-call.js';
import { errorOf, type AnswerCallback, type StatusLike, type WireCall } from '../calls/wire-call.js';
import { decodeEnd, KeptMessage, type KeptEnd } from './kept-end.js';
import type { OnceRequest } from './once-request.js';
import { marked, type OnceOutcome, type OnceServer } from './once-server.js';
import type { OnceRun } from './once-run.js';
import type { Awaitable } from './once-store.js';

/** Pause before a key that runs in another process is asked for again, in milliseconds; up to half more at random. */
const BUSY_PUSHBACK_MS = 250;

const NO_BYTES = new Uint8Array();
/** What callers get that do not get the end of a handler. */
const STATUSES = {
  running: [StatusCode.ABORTED, 'The write runs in another process of the server'],
  'in-doubt': [StatusCode.UNKNOWN, 'Nobody knows whether the write was done'],
  late: [StatusCode.DEADLINE_EXCEEDED, 'The write came too late, and has not run'],
  unknown: [StatusCode.NOT_FOUND, 'No write with this idempotency-key has begun'],
  closed: [StatusCode.NOT_FOUND, 'The write has not run, and will not'],
} as const satisfies Partial<Record<OnceMark, readonly [StatusCode, string]>>;
const LOST_STORE: StatusLike = {
  code: StatusCode.UNAVAILABLE,
  details: 'The store of keys was lost after the handler had ended',
};
const ROLLED_BACK: StatusLike = {
  code: StatusCode.INTERNAL,
  details: 'The handler has called once.commit(), and its transaction was not committed; nothing was done',
};
/** Maximum time for which a request waits for a store that is away, in milliseconds; half of the time to its deadline if that is shorter. */
const STORE_GRACE_MS = 5_000;
/** Time to the deadline below which it does not wait, in milliseconds: its caller is to learn that nothing has run. */
const MIN_LEFT_MS = 2_000;
/** Mark of an end that frees the key. */
const RELEASED = 'released' satisfies OnceMark;

/**
 * A unary call with a key. After the guards, `admit` decides whether its handler runs, or what became of the key is sent. While the handler
 * runs, neither its caller nor the connection can end it.
 */
export class OnceCall extends UnaryCall {
  /** True once the request has passed the interceptors of a handler with pipes, and once it has reached that handler. */
  isPiped = false;
  hasBegun = false;
  private execution: OnceRun | undefined;
  /** True while the call waits for the end of another one's handler, or for the store. */
  private isHeld = false;
  /** When the call stops waiting for a store that is away, in monotonic milliseconds. */
  private graceEndsAt: number | undefined;
  /** True if the handler has ended. */
  private isKept = false;
  /** True if the handler has called `commit`, so that the record alone says whether it was done. */
  private commits = false;
  /** True if the caller can no longer be answered, and the handler goes on. */
  private isLost = false;

  constructor(
    wire: WireCall,
    method: ServedMethod,
    host: CallHost,
    onDone: (() => void) | undefined,
    callback: AnswerCallback | undefined,
    private readonly request: OnceRequest,
    private readonly once: OnceServer,
  ) {
    super(wire, method, host, onDone, callback);
  }

  get key(): string {
    return this.request.key;
  }

  // ── before the handler ──

  /** Called after the guards. Returns true if the handler runs; otherwise, the call has its end, and the promise does not settle. */
  admit(): Awaitable<true> {
    const { once, request, method, wire } = this;
    const id = once.idOf(wire.metadata, method.path, request.key);
    if (request.asks !== undefined) return this.ask(id, request.asks === 'close').then(() => this.turnedAway());
    const begins = this.joinOrBegin(id, once.hashOf(method.path, request, wire.request));
    if (isThenable(begins)) return begins.then((isBegun) => (isBegun ? true : this.turnedAway()));
    return begins ? true : this.turnedAway();
  }

  private turnedAway(): Promise<true> {
    // The caller may be gone, and then nothing else ends the call.
    if (this.over) this.release();
    return new Promise(() => undefined);
  }

  private async ask(id: string, close: boolean): Promise<void> {
    const { once } = this;
    let reply: OnceReply = { is: 'running', own: true };
    try {
      if (once.runs.get(id)?.isRunning !== true) reply = await once.apply(id, { type: 'ask', close });
    } catch (error) {
      this.finish(storeFailure(error));
      return;
    }
    // Without its scope, a store that may have lost data cannot tell that a write never ran.
    const isSure = once.commits || this.request.scope !== undefined;
    this.answerFrom(reply.is === 'closed' && !isSure ? { is: 'unknown' } : reply);
  }

  private joinOrBegin(id: string, hash: string): Awaitable<boolean> {
    return this.once.runs.has(id) ? this.join(id, hash) : this.begin(id, hash);
  }

  /** Waits for the end of another request's handler. Begins if it has ended without one that others get. */
  private async join(id: string, hash: string): Promise<boolean> {
    const { once } = this;
    for (let joined = once.runs.get(id); joined !== undefined && !this.over; joined = once.runs.get(id)) {
      if (joined.hash !== hash) {
        this.finish(mismatch(joined.hash, hash));
        return false;
      }
      joined.extend(this.deadline);
      this.isHeld = true;
      const outcome = await joined.over;
      this.isHeld = false;
      if (outcome === undefined) continue;
      once.note(this.method.path, 'joined', this.key);
      this.finish(outcome.end, outcome.mark);
      return false;
    }
    return !this.over && this.begin(id, hash);
  }

  /** Returns true if the handler runs. Nothing waits if the store replies at once. */
  private begin(id: string, hash: string): Awaitable<boolean> {
    const { once } = this;
    const run = once.newRun(id, hash);
    let reply: Awaitable<OnceReply>;
    try {
      reply = once.begin(run, this.request);
    } catch (error) {
      return this.beginFailed(run, error);
    }
    if (!isThenable(reply)) return this.begun(run, reply);
    return reply.then(
      (one) => this.begun(run, one),
      (error: unknown) => this.beginFailed(run, error),
    );
  }

  /** Waits for the store a little, so that a short outage of it fails no write, then tries again. */
  private async beginFailed(run: OnceRun, error: unknown): Promise<boolean> {
    const { once } = this;
    once.beginFailed(run);
    const now = once.clock.now();
    const leftMs = this.deadline - now;
    this.graceEndsAt ??= leftMs < MIN_LEFT_MS ? now : now + Math.min(STORE_GRACE_MS, leftMs / 2);
    this.isHeld = true;
    const isBack =
      !(error instanceof RangeError) && this.graceEndsAt > now && (await once.storeIsBack(this.graceEndsAt));
    this.isHeld = false;
    if (this.over) return false;
    if (isBack) return this.joinOrBegin(run.id, run.hash);
    this.finish(storeFailure(error));
    return false;
  }

  private begun(run: OnceRun, reply: OnceReply): Awaitable<boolean> {
    const { once } = this;
    if (reply.is !== 'begin') {
      once.closeRun(run);
      if (reply.is === 'mismatch') this.finish(mismatch(reply.hash, run.hash));
      else this.answerFrom(reply);
      return false;
    }
    // The caller may have gone meanwhile.
    if (this.over) return this.abandon(run);
    this.execution = run;
    run.isRunning = true;
    run.extend(this.deadline);
    if (this.inboundCall !== undefined) this.watchSignal();
    return true;
  }

  private async abandon(run: OnceRun): Promise<false> {
    await this.once.record(run, undefined);
    this.once.closeRun(run);
    return false;
  }

  private answerFrom(reply: OnceReply): void {
    const { path } = this.method;
    if (this.request.asks === undefined && reply.is === 'done') this.once.note(path, 'replayed', this.key);
    else if (reply.is === 'in-doubt') this.once.note(path, 'in-doubt', this.key);
    if (reply.is === 'done') this.finish(decodeEnd(reply.end), 'replayed');
    else if (reply.is === 'elsewhere') this.finish(this.once.elsewhere());
    // Anything else is no answer to an attempt or a question.
    else this.finish(this.statusOf(isStatus(reply.is) ? reply.is : 'in-doubt'));
  }

  /** Ends a call whose handler does not run. */
  private finish(end: StatusLike | KeptEnd, mark?: OnceMark): void {
    // The caller may be gone.
    if (this.done) return;
    this.done = true;
    this.reply(mark === undefined ? end : marked(end, mark), 'bytes' in end ? end.bytes : undefined);
    this.notifyDone();
  }

  private reply(status: StatusLike, bytes: Uint8Array | undefined): void {
    if (this.over) return;
    this.responded = true;
    if (!this.isLost) {
      if (bytes !== undefined) {
        this.sent = 1;
        this.callback?.(null, new KeptMessage(bytes), status.metadata);
      } else this.callback?.(errorOf(status));
    }
    this.end(status.code);
  }

  // ── while the handler runs ──

  protected override inboundWire(): GrpcServerCall {
    const { wire } = this;
    this.watchSignal();
    // The end of the connection does not end the handler.
    return { metadata: wire.metadata, cancelled: false, getDeadline: () => wire.getDeadline(), once: () => undefined };
  }

  /** Aborts the signal of the handler when no caller waits any longer. Called only if somebody looks at it. */
  private watchSignal(): void {
    const { once } = this;
    this.execution?.watch(once.clock, once.options.maxRunMs, () => {
      this.inbound.stop(new AbortError('No caller waits for the write any longer'));
    });
  }

  protected override onWireEnd(): void {
    if (this.execution !== undefined) {
      this.isLost = true;
      return;
    }
    super.onWireEnd();
    // No handler runs.
    if (this.isHeld) this.release();
  }

  override stop(status: StatusLike): void {
    if (this.execution === undefined) {
      super.stop(status);
      return;
    }
    if (!this.isLost) this.callback?.(errorOf(status));
    this.isLost = true;
    this.inbound.stop(new AbortError(status.details));
  }

  protected override answer(value: unknown): void {
    const { execution } = this;
    if (execution === undefined) {
      // After its first end, a handler has no other.
      if (!this.isKept) super.answer(value);
      return;
    }
    try {
      const bytes = this.method.serialize(value);
      this.keep(execution, { code: StatusCode.OK, details: 'OK', metadata: this.okTrailers, bytes });
    } catch {
      // Reported when the response is serialized again.
      this.keep(
        execution,
        { code: StatusCode.INTERNAL, details: 'Error serializing response', bytes: undefined },
        value,
      );
    }
  }

  protected override send(status: StatusLike): void {
    if (this.execution !== undefined) this.keep(this.execution, { ...this.withTrailers(status), bytes: undefined });
    // Before the handler: the status of a guard, which may have forwarded one with a mark.
    else if (!this.isKept) super.send(marked(status, 'guarded'));
  }

  /** Keeps the end of the handler, then answers the caller. */
  private keep(run: OnceRun, end: KeptEnd, unserializable?: unknown): void {
    this.execution = undefined;
    this.isKept = true;
    this.responded = true;
    const { once } = this;
    const isRefusedByPipe = this.isPiped && !this.hasBegun;
    const isFree = end.code !== StatusCode.OK && (isRefusedByPipe || end.metadata?.get(ONCE_MARK)[0] === NOTHING_DONE);
    const recorded = (reply: OnceReply | undefined): void => {
      const problem = this.problemOf(run, end, reply);
      const kept = reply?.is === 'done' ? decodeEnd(reply.end) : end;
      // What a store that commits has not written, was not done.
      const mark = isFree || (once.commits && kept.code !== StatusCode.OK) ? RELEASED : 'kept';
      if (problem === undefined) once.note(this.method.path, this.outcomeOf(mark, end, kept, reply), this.key);
      once.closeRun(
        run,
        problem !== undefined || isFree ? undefined : { end: kept, mark: mark === 'kept' ? 'replayed' : mark },
      );
      if (problem?.details === ROLLED_BACK.details) once.report(this.method.path, new Error(problem.details));
      if (problem !== undefined) this.reply(problem, undefined);
      else if (unserializable !== undefined && kept === end) super.answer(unserializable);
      // A success needs no mark.
      else this.reply(kept.code === StatusCode.OK ? kept : marked(kept, mark), kept.bytes);
    };
    const settled = (given: OnceReply | undefined): void => {
      try {
        recorded(given);
      } catch (error) {
        // The store returned what it was not given.
        once.report(this.method.path, error);
        once.closeRun(run);
        this.reply(once.commits ? LOST_STORE : this.statusOf('in-doubt'), undefined);
      }
    };
    const reply = once.record(run, isFree || this.commits ? undefined : end);
    if (isThenable(reply)) void reply.then(settled);
    else settled(reply);
  }

  /** Returns what the caller gets instead of the end, which the store has not taken; `undefined` if it has. */
  private problemOf(run: OnceRun, end: KeptEnd, reply: OnceReply | undefined): StatusLike | undefined {
    // The run has lost its lease, done nothing, and another one with the same key has ended.
    if (reply?.is === 'done' && reply.hash !== run.hash) return mismatch(reply.hash, run.hash);
    if (reply?.is === 'running' || reply?.is === 'in-doubt') return this.statusOf(reply.is);
    // Nobody knows whether the transaction was committed, and a repeat will find out.
    if (reply === undefined) return this.once.commits ? LOST_STORE : undefined;
    return this.commits && end.code === StatusCode.OK && reply.is !== 'done'
      ? marked(ROLLED_BACK, RELEASED)
      : undefined;
  }

  private outcomeOf(mark: 'kept' | 'released', end: KeptEnd, kept: KeptEnd, reply: OnceReply | undefined): OnceOutcome {
    if (!this.once.commits || end.code !== StatusCode.OK) return mark;
    if (reply?.is !== 'done') return 'uncommitted';
    return isSame(kept, end) ? mark : 'changed';
  }

  private statusOf(is: keyof typeof STATUSES): StatusLike {
    const [given, details] = STATUSES[is];
    const code = is === 'closed' && this.request.asks === undefined ? StatusCode.FAILED_PRECONDITION : given;
    const status = marked({ code, details }, is);
    const pushbackMs = BUSY_PUSHBACK_MS * (1 + this.once.random() / 2);
    if (is === 'running') status.metadata.set(PUSHBACK_KEY, String(Math.trunc(pushbackMs)));
    return status;
  }

  /** Writes the response with the key in the transaction of `client`. */
  async commit(client: unknown, response: unknown): Promise<void> {
    const { once, method, execution } = this;
    // What is left of a handler that has ended, perhaps with an error, must not have an effect.
    if (execution === undefined)
      throw new Error('once.commit() came after the handler had ended; roll the transaction back');
    const end = { code: StatusCode.OK, details: 'OK', metadata: this.okTrailers, bytes: method.serialize(response) };
    this.commits ||= once.commits;
    await once.commit(client, execution, end);
  }
}

function isSame(kept: KeptEnd, { code, bytes }: KeptEnd): boolean {
  return kept.code === code && Buffer.compare(kept.bytes ?? NO_BYTES, bytes ?? NO_BYTES) === 0;
}

function isStatus(is: string): is is keyof typeof STATUSES {
  return is in STATUSES;
}

function mismatch(first: string, second: string): StatusLike {
  const details = `The idempotency-key belongs to another request (${first.slice(0, 8)}, not ${second.slice(0, 8)})`;
  return marked({ code: StatusCode.INVALID_ARGUMENT, details }, 'mismatch');
}

/** Status of a request whose record could not be read, so that its handler has not run. */
export function storeFailure(error: unknown): StatusLike {
  const isFull = error instanceof RangeError;
  const code = isFull ? StatusCode.RESOURCE_EXHAUSTED : StatusCode.UNAVAILABLE;
  const details = isFull ? 'The store of keys is full' : `The store of keys is unavailable: ${errorMessage(error)}`;
  return marked({ code, details: `${details}; this attempt has not run` }, 'not-run');
}
