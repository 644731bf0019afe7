import type { AttemptEnd } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import { judgeOnce, noteOnce, type OnceDecision, type OnceProgress } from '../../policy/once/decide-once.js';
import {
  ASKS_SCOPE,
  ONCE_BEFORE,
  ONCE_KEY,
  ONCE_MARK,
  ONCE_SCOPE,
  type OnceMark,
} from '../../policy/once/once-fields.js';
import { StatusCode } from '../../status/status-code.js';
import { pushbackOf, type Judgment } from '../attempts/attempt-history.js';
import type { ClientContext } from '../call-context.js';
import type { OnceMethod } from './once-method.js';

/** Kinds of ends with a status; proxies send headers before some. */
const IS_STATUS: ReadonlySet<Verdict['kind']> = new Set(['server', 'committed', 'refused']);
/** Statuses that say nothing of the path. */
const TRANSIENT: ReadonlySet<StatusCode> = new Set([
  StatusCode.CANCELLED,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.UNAVAILABLE,
]);
/** HTTP statuses with which proxies refuse a path. */
const REFUSED_HTTP: ReadonlySet<number | undefined> = new Set([403, 404]);
const IN_DOUBT =
  'The server may have done the write, and can no longer know: the process or the store was lost in between';

/** Delay before a call waits for another process again, in milliseconds, if the server names none. */
const BUSY_DELAY_MS = 250;
const RESEND: Judgment['decision'] = { retry: true, kind: 'wait', delayMs: 0, because: 'refused' };

/** What follows the end of an attempt, and its verdict with what the server has said of the key. */
export interface AttemptJudgment {
  readonly decision: OnceDecision;
  readonly verdict: Verdict;
  /** What the caller gets if no attempt follows. */
  readonly shown: Verdict;
  readonly isInDoubt: boolean;
}

/** The attempts of one call with a key. */
export class OnceAttempts {
  private progress: OnceProgress = { scope: undefined, mayHaveRun: false, rescopes: 0 };
  /** The last begin on the clock of the store that the attempts name. One value for all of them, so that if one came too late, all have. */
  private before: { readonly scope: string; readonly at: string } | undefined;
  /** Start of the first attempt, in monotonic milliseconds. */
  private beganAt: number | undefined;
  /** True if an attempt has ended otherwise than by a refusal, and may have run. */
  private isLost = false;

  constructor(
    private readonly once: OnceMethod,
    readonly key: string,
    /** Milliseconds since 1970, or `Infinity`. */
    private readonly deadline: number,
    private readonly client: ClientContext,
  ) {}

  /** The store that the latest attempt has named. */
  get scope(): string | undefined {
    return this.progress.scope;
  }

  get method(): MethodDescriptor {
    return this.once.method;
  }

  /** True if the next attempt may run a handler. */
  get namesStore(): boolean {
    this.begin();
    return this.progress.scope !== undefined;
  }

  /** Begins the first attempt. It names the store that the servers have named by now: another one may have come while the call waited. */
  private begin(): void {
    if (this.beganAt !== undefined) return;
    this.beganAt = this.client.clock.now();
    this.progress = { ...this.progress, scope: this.once.servers.scope };
  }

  /** Names and values of the metadata of an attempt, in turn. */
  get fields(): readonly string[] {
    this.begin();
    const { key, scope } = this;
    if (scope === undefined) return [ONCE_KEY, key, ONCE_SCOPE, ASKS_SCOPE];
    return [ONCE_KEY, key, ONCE_SCOPE, scope, ONCE_BEFORE, this.beforeIn(scope)];
  }

  private beforeIn(scope: string): string {
    if (this.before?.scope !== scope)
      this.before = { scope, at: String(Math.trunc(this.once.servers.storeTime(this.lastBegin))) };
    return this.before.at;
  }

  /** Time after which no attempt may begin: half the time for which the end is kept, so that it is still there then. */
  private get lastBegin(): number {
    const { clock } = this.client;
    return Math.min(this.deadline - clock.epoch() + clock.now(), this.keptUntil);
  }

  private get keptUntil(): number {
    return (this.beganAt ?? this.client.clock.now()) + this.once.servers.ttlMs / 2;
  }

  /** Judges the end of an attempt. May be called again for the same attempt. */
  judge(end: AttemptEnd, given: Verdict): AttemptJudgment {
    const { progress, client } = this;
    const mark = markOf(end);
    const refused =
      mark === undefined && (progress.scope === undefined ? isUnknown(end, given) : isPathRefused(end, given));
    const isOver = client.clock.now() >= this.keptUntil;
    const seen = { mark, reached: given.reachedServer, isPathRefused: refused };
    const { decision, reached } = judgeOnce(progress, seen, isOver);
    const isInDoubt = decision === 'in-doubt' || mark === 'in-doubt';
    let verdict: Verdict = { ...given, reachedServer: reached };
    if (decision === 'in-doubt') verdict = { ...verdict, code: StatusCode.UNKNOWN, details: IN_DOUBT };
    if (decision === 'refused') verdict = { ...verdict, kind: 'refused', code: StatusCode.UNAVAILABLE };
    // Each end of the server has trailers: this one was cut off on its way, and the next attempt gets it. A status after headers is none, because
    // proxies send headers before those with which a server refuses a call, too.
    const isCutOff = decision === 'by-policy' && given.lacksTrailers === true;
    if (isCutOff) verdict = { ...verdict, kind: 'connection-lost', code: StatusCode.UNAVAILABLE };
    // The caller knows nothing of the path for keys, but of a proxy that refuses its calls.
    const isOfPath = given.kind !== 'http' && given.code === StatusCode.UNIMPLEMENTED;
    const isAsGiven = isCutOff || (decision === 'refused' && !this.isLost && !isOfPath);
    return { decision, verdict, shown: isAsGiven ? given : verdict, isInDoubt };
  }

  /** Decides what follows the end of an attempt; `undefined` if the policies of the method decide. */
  follow(end: AttemptEnd, judged: AttemptJudgment): Judgment['decision'] | undefined {
    this.note(end, judged);
    const { registry, clock, budget } = this.client;
    const drainMs = registry.accepting === 'closed' ? 0 : registry.drainUntil - clock.now();
    const leftMs = Math.min(this.deadline - clock.epoch(), drainMs);
    switch (judged.decision) {
      case 'plain':
      case 'rescope':
        return leftMs > 0 ? RESEND : { retry: false, because: 'deadline' };
      case 'wait': {
        const pushback = pushbackOf(end);
        const delayMs = pushback.kind === 'delay' ? pushback.ms : BUSY_DELAY_MS;
        if (delayMs >= leftMs) return { retry: false, because: 'deadline' };
        if (this.once.servers.waitCosts() && !budget.current.tryRetry(clock.now()))
          return { retry: false, because: 'throttled' };
        return { retry: true, kind: 'policy', delayMs, because: 'pushback' };
      }
      case 'final':
        return { retry: false, because: 'fatal-status' };
      case 'in-doubt':
        return { retry: false, because: 'in-doubt' };
      case 'refused':
      case 'by-policy':
        return undefined;
    }
  }

  /** Takes over what the end of an attempt has shown. Called once for each. */
  note(end: AttemptEnd, { decision, verdict }: AttemptJudgment): void {
    const { servers } = this.once;
    const { scope } = this.progress;
    const mark = markOf(end);
    this.isLost ||= decision === 'by-policy' && verdict.reachedServer !== 'no';
    if (mark === 'elsewhere') servers.learn(end.metadata);
    this.progress = noteOnce(this.progress, mark, { decision, reached: verdict.reachedServer }, servers.scope);
    // The next call asks again, if this one has only met an old server, or another time of the store.
    if (scope === undefined && decision === 'plain' && isPathRefused(end, verdict))
      servers.foundWithout(verdict.code === StatusCode.UNIMPLEMENTED);
    else if (decision === 'plain' || decision === 'refused' || mark === 'late' || mark === 'in-doubt')
      servers.scope = undefined;
  }

  /** Other attempts were cancelled, and may run. */
  noteOthers(): void {
    this.progress = { ...this.progress, mayHaveRun: this.progress.mayHaveRun || this.scope !== undefined };
  }
}

function markOf({ metadata }: AttemptEnd): OnceMark | undefined {
  // Safe cast: marks of later versions are as final as those that are known.
  return metadata.get(ONCE_MARK)[0]?.toString() as OnceMark | undefined;
}

/** True if the peer has no such path, or a proxy does not pass it. */
function isPathRefused({ wire }: AttemptEnd, { kind, code }: Verdict): boolean {
  if (kind === 'http') return REFUSED_HTTP.has(wire?.httpStatus);
  return IS_STATUS.has(kind) && (code === StatusCode.UNIMPLEMENTED || code === StatusCode.PERMISSION_DENIED);
}

/** True if a question for the scope has another answer than a server with the feature gives, before its guards, and a later one may differ. */
function isUnknown(end: AttemptEnd, verdict: Verdict): boolean {
  return isPathRefused(end, verdict) || (IS_STATUS.has(verdict.kind) && !TRANSIENT.has(verdict.code));
}
