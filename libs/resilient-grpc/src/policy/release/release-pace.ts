import { DEFAULT_RELEASE_POLICY, type ReleasePolicy } from './release-policy.js';

/** What the pace of a release starts from. */
export interface ReleasePaceInput {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** Calls per second of this client before the outage; 0 when there were none. */
  readonly usualCallsPerSecond: number;
  /** Median latency before the outage; 0 when none is known, then the first answer sets it. */
  readonly usualLatencyMs: number;
}

/** What a released call is, as far as its answer goes. */
export type ReleasedKind =
  /** An answer is due. */
  | 'unary'
  /** None is: a quiet feed sends nothing for hours, and servers on grpc-js no headers before the first message. */
  | 'stream';

/**
 * The pace at which waiting calls are released to a server that came back: slow at first, faster while it answers as usual,
 * half as fast when it does not. A stream that did not fail is as good as an answer. One object a release.
 */
export class ReleasePace {
  readonly #start: number;
  #perSecond: number;
  #slowAboveMs: number | undefined;
  /** Calls that may go now; a fraction is the way to the next one. */
  #credit = 1;
  #creditedAt: number;
  #stepEndsAt: number;
  #halvedAt = -Infinity;
  #good = 0;
  #slow = 0;
  #failed = 0;
  #excusedUntil = -Infinity;
  #outstanding = 0;
  /** Streams let out in this step that have neither been answered nor failed. */
  #opened = 0;
  /** Those of the step before. By now a server that refuses them has done so. */
  #quiet = 0;

  constructor(
    input: ReleasePaceInput,
    private readonly policy: ReleasePolicy = DEFAULT_RELEASE_POLICY,
  ) {
    const usual = input.usualCallsPerSecond;
    const { startShare, startAtLeast, startWithoutUsual } = policy;
    this.#perSecond = usual === 0 ? startWithoutUsual : Math.max(usual * startShare, startAtLeast);
    this.#start = this.#perSecond;
    this.#slowAboveMs = input.usualLatencyMs > 0 ? slowAbove(input.usualLatencyMs) : undefined;
    this.#creditedAt = input.now;
    this.#stepEndsAt = input.now + this.policy.stepMs;
  }

  /** Calls per second at present. */
  get callsPerSecond(): number {
    return this.#perSecond;
  }

  /** How many of `waiting` calls may be released now; they count as released. */
  take(now: number, waiting = Infinity): number {
    this.#advance(now);
    const released = Math.max(Math.min(Math.floor(this.#credit), waiting), 0);
    this.#credit -= released;
    this.#outstanding += released;
    return released;
  }

  /** One of those that were released just now is a stream: no answer of it is outstanding. */
  opened(): void {
    this.#outstanding--;
    this.#opened++;
  }

  /** A released call got an answer. */
  answered(latencyMs: number, now: number, kind: ReleasedKind = 'unary'): void {
    this.#advance(now);
    this.#slowAboveMs ??= slowAbove(latencyMs);
    this.#heardOf(kind);
    if (latencyMs <= this.#slowAboveMs) this.#good++;
    else if (now >= this.#excusedUntil) this.#slow++;
  }

  /** A released call failed. */
  failed(now: number, kind: ReleasedKind = 'unary'): void {
    this.#advance(now);
    this.#heardOf(kind);
    this.#failed++;
  }

  /** This process itself was late: what is slow just now says nothing of the server. */
  excuse(now: number): void {
    this.#slow = 0;
    this.#excusedUntil = now + this.policy.stepMs;
  }

  /** Milliseconds until `take` gives at least one. */
  msUntilNext(now: number): number {
    this.#advance(now);
    return this.#credit >= 1 ? 0 : Math.ceil(((1 - this.#credit) / this.#perSecond) * 1_000);
  }

  #heardOf(kind: ReleasedKind): void {
    if (kind === 'unary') this.#outstanding--;
    else if (this.#opened > 0) this.#opened--;
    else if (this.#quiet > 0) this.#quiet--;
  }

  #advance(now: number): void {
    while (now >= this.#stepEndsAt) {
      this.#earn(this.#stepEndsAt);
      this.#step(this.#stepEndsAt);
      // A process that slept must not make up for it: neither growth nor credit is due for that time.
      this.#stepEndsAt = Math.max(this.#stepEndsAt, now - this.policy.stepMs) + this.policy.stepMs;
    }
    this.#earn(now);
  }

  #earn(until: number): void {
    const elapsedMs = until - this.#creditedAt;
    if (elapsedMs <= 0) return;
    this.#creditedAt = until;
    const mostAtOnce = Math.max((this.#perSecond * this.policy.stepMs) / 1_000, 1);
    this.#credit = Math.min(this.#credit + (this.#perSecond * elapsedMs) / 1_000, mostAtOnce);
  }

  #step(at: number): void {
    const { badShare, halveAtMostEachMs, slowestShare, growth } = this.policy;
    const bad = this.#slow + this.#failed;
    // Streams that are quiet tell of no failure. How fast the server is they cannot tell.
    const tooMany =
      bad > (this.#good + this.#quiet + bad) * badShare || this.#slow > (this.#good + this.#slow) * badShare;
    if (tooMany) {
      if (at - this.#halvedAt >= halveAtMostEachMs) {
        this.#halvedAt = at;
        this.#perSecond = Math.max(this.#perSecond / 2, this.#failed > 0 ? this.#start * slowestShare : this.#start);
      }
    } else if (this.#good > 0 || this.#outstanding <= 0) {
      // Without an answer since the last step nothing is known of calls still out, so there is no reason to send more.
      this.#perSecond *= growth;
    }
    this.#good = 0;
    this.#slow = 0;
    this.#failed = 0;
    this.#quiet = this.#opened;
    this.#opened = 0;
  }
}

function slowAbove(usualLatencyMs: number): number {
  return 2 * usualLatencyMs + 20;
}
