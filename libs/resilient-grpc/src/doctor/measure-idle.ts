import type { IdleSession, PeerEnd } from './idle-session.js';
import { within } from './time-budget.js';

/** A finding about idle connections. Times are in milliseconds since a connection first became idle. */
export type IdleOutcome =
  /** All connections answered a ping, up to the longest idle time. */
  | { readonly kind: 'kept'; readonly idleMs: number }
  /** The peer ends idle connections, but not those in use. */
  | { readonly kind: 'closed'; readonly idleMs: number; readonly end: PeerEnd }
  /**
   * Idle connections silently stop working. A connection that was idle for `answeredMs` still answered. A connection that was idle for
   * `lostMs` did not answer (`silent`) or was reset (`reset`). `answeredMs` is 0 if no connection answered.
   */
  | {
      readonly kind: 'dropped';
      readonly answeredMs: number;
      readonly lostMs: number;
      readonly how: 'silent' | 'reset';
    }
  /** The peer ended the connection in use. */
  | { readonly kind: 'ended-in-use'; readonly afterMs: number; readonly end: PeerEnd }
  /** The connection in use received no response. */
  | { readonly kind: 'unresponsive'; readonly afterMs: number }
  /** A connection could not be opened. */
  | { readonly kind: 'not-opened'; readonly message: string };

/** State of a measurement. */
export interface IdleProgress {
  readonly elapsedMs: number;
  readonly limitMs: number;
  /** Number of connections that are still idle. */
  readonly idle: number;
  /** Longest idle time after which a connection still answered; 0 if none has answered. */
  readonly answeredMs: number;
}

/** Parameters of a measurement. */
export interface IdleParameters {
  /** Opens one connection, or returns the reason for the failure. */
  readonly open: () => Promise<IdleSession | string>;
  /** Longest idle time to measure. */
  readonly limitMs: number;
  /** Time to wait for the response to a ping or a call. */
  readonly answerTimeoutMs: number;
  /** Called about once a second. */
  readonly onProgress?: ((progress: IdleProgress) => void) | undefined;
}

/**
 * Number of idle connections. Each is used once, at its own age, because using a connection restarts its idle timers on the server and on
 * each proxy.
 */
const CONNECTIONS = 12;
/** Ratio between the ages of two successive connections. */
const STEP = Math.SQRT2;
/** Interval between two calls on the connection in use, as a share of the first age. */
const USE_SHARE = 0.25;
const MIN_USE_INTERVAL_MS = 250;
const MAX_USE_INTERVAL_MS = 10_000;
/**
 * Time to wait, as a share of the measured time, to see whether the connection in use ends, too. The wait is necessary because maximum
 * connection ages vary by up to 10%.
 */
const CONFIRMATION_SHARE = 0.25;
const MIN_CONFIRMATION_MS = 1_000;
const MAX_CONFIRMATION_MS = 30_000;
const PROGRESS_INTERVAL_MS = 1_000;

type IdleFinding =
  | { readonly kind: 'ended'; readonly end: PeerEnd; readonly wasUsed: boolean }
  | { readonly kind: 'silent'; readonly lostMs: number }
  | { readonly kind: 'kept' };

/**
 * Measures how long a peer keeps idle connections. A ping at each age finds connections that were dropped silently. One more connection is
 * used continuously, so that a maximum connection age, a restart, or a stuck server is not mistaken for an idle timeout. Ends with the
 * first finding.
 */
export async function measureIdle(parameters: IdleParameters): Promise<IdleOutcome> {
  const opened = await Promise.all(Array.from({ length: CONNECTIONS + 1 }, parameters.open));
  const sessions = opened.filter((one) => typeof one !== 'string');
  try {
    const failure = opened.find((one) => typeof one === 'string');
    const [used, ...idle] = sessions;
    if (failure !== undefined || used === undefined) return { kind: 'not-opened', message: failure ?? 'no connection' };
    return await new IdleMeasurement(parameters, used, idle).run();
  } finally {
    // Ends all pending waits.
    for (const session of sessions) session.close();
  }
}

function endOf({ end }: IdleSession, wasUsed: boolean): IdleFinding | undefined {
  return end && { kind: 'ended', end, wasUsed };
}

class IdleMeasurement {
  private answeredMs = 0;

  constructor(
    private readonly parameters: IdleParameters,
    private readonly used: IdleSession,
    private readonly idle: readonly IdleSession[],
  ) {}

  async run(): Promise<IdleOutcome> {
    const inUse = this.useUntilEnd();
    const first = this.firstFinding();
    const either = Promise.race([first, inUse]);
    void this.reportUntil(either);
    const finding = await either;
    if (typeof finding === 'string') return this.outcomeOfUsed(finding);
    switch (finding.kind) {
      case 'kept':
        return { kind: 'kept', idleMs: this.parameters.limitMs };
      case 'silent': {
        const { lostMs } = finding;
        const answer = await this.used.call(this.parameters.answerTimeoutMs);
        if (answer !== 'answered') return this.outcomeOfUsed(answer);
        return { kind: 'dropped', answeredMs: this.answeredMs, lostMs, how: 'silent' };
      }
      case 'ended':
        return this.outcomeOfEnded(finding, inUse);
    }
  }

  private async outcomeOfEnded(
    { end, wasUsed }: Extract<IdleFinding, { kind: 'ended' }>,
    inUse: Promise<'ended' | 'silent'>,
  ): Promise<IdleOutcome> {
    const share = end.afterMs * CONFIRMATION_SHARE;
    const waitMs = Math.min(Math.max(share, MIN_CONFIRMATION_MS), MAX_CONFIRMATION_MS);
    const other = await within(waitMs, inUse, undefined);
    if (other !== undefined) return this.outcomeOfUsed(other);
    // If other connections are still idle, the reset does not indicate an idle timeout of the peer, which would have closed them, too.
    const isReset = wasUsed && end.how !== 'goaway' && this.idle.some(({ isIdle }) => isIdle);
    if (isReset) return { kind: 'dropped', answeredMs: this.answeredMs, lostMs: end.afterMs, how: 'reset' };
    return { kind: 'closed', idleMs: end.afterMs, end };
  }

  private outcomeOfUsed(how: 'ended' | 'silent'): IdleOutcome {
    const { end, idleMs: afterMs } = this.used;
    // If the peer closed the connection before the first call of the measurement, its idle timeout is shorter than the interval between
    // calls.
    if (end !== undefined && this.used.isUnused) return { kind: 'closed', idleMs: end.afterMs, end };
    if (how === 'silent' || end === undefined) return { kind: 'unresponsive', afterMs };
    return { kind: 'ended-in-use', afterMs: end.afterMs, end };
  }

  /** Makes calls at a fixed interval. Resolves when the connection ends or a call receives no response. */
  private async useUntilEnd(): Promise<'ended' | 'silent'> {
    const everyMs = Math.min(Math.max(this.ageOf(0) * USE_SHARE, MIN_USE_INTERVAL_MS), MAX_USE_INTERVAL_MS);
    for (;;) {
      await within(everyMs, this.used.ended, undefined);
      const answer = await this.used.call(this.parameters.answerTimeoutMs);
      if (answer !== 'answered') return answer;
    }
  }

  /** Resolves with the finding of the first connection that ends or does not answer, or with 'kept' when all connections have answered. */
  private async firstFinding(): Promise<IdleFinding> {
    const all = this.idle.map((session, index) => this.watch(session, this.ageOf(index)));
    const found = all.map((one) => one.then((finding) => finding ?? new Promise<never>(() => undefined)));
    return Promise.race([...found, Promise.all(all).then((): IdleFinding => ({ kind: 'kept' }))]);
  }

  private async watch(session: IdleSession, ageMs: number): Promise<IdleFinding | undefined> {
    await within(ageMs - session.idleMs, session.ended, undefined);
    const ended = endOf(session, false);
    if (ended !== undefined) return ended;
    const { idleMs } = session;
    const answer = await session.ping(this.parameters.answerTimeoutMs);
    if (answer === 'answered') {
      this.answeredMs = Math.max(this.answeredMs, idleMs);
      session.close();
      return undefined;
    }
    return endOf(session, true) ?? { kind: 'silent', lostMs: idleMs };
  }

  /** Returns the age at which connection `index` is used. The ages increase up to the limit. */
  private ageOf(index: number): number {
    return this.parameters.limitMs / STEP ** (CONNECTIONS - 1 - index);
  }

  private async reportUntil(over: Promise<unknown>): Promise<void> {
    const { limitMs, onProgress } = this.parameters;
    if (onProgress === undefined) return;
    const ended = over.then(() => true);
    do {
      const idle = this.idle.filter(({ isIdle }) => isIdle).length;
      onProgress({ elapsedMs: this.used.idleMs, limitMs, idle, answeredMs: this.answeredMs });
    } while (!(await within(PROGRESS_INTERVAL_MS, ended, false)));
  }
}
