import type { EventHub } from '../../call/event-hub.js';
import {
  decideReplacement,
  type Distrust,
  type Replacements,
  nextSuspicion,
  NOT_SUSPECTED,
  type SuspicionEvent,
  type SuspicionState,
  SUSPICION as POLICY,
} from '../../policy/suspicion/next-suspicion.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { Wire } from '../wire/wire.js';
import type { LivenessProbe } from './liveness-probe.js';

/** Action requested for the channel that replaces a channel with a dead connection. */
export type ReplacementRequest =
  /** Create the replacement, or reconnect an existing one that has lost its connection. */
  | 'create'
  /** Close the replacement, which is no longer needed. */
  | 'close'
  /** Send new calls to the replacement from now on. */
  | 'use';

interface Suspect {
  readonly connection: SubchannelConnection;
  state: SuspicionState;
  probe: LivenessProbe | undefined;
  /** Bytes that the other connections had received when the probe began. */
  othersRead: ReadonlyMap<SubchannelConnection, number>;
}

/** Interval of the checks in milliseconds while a connection is suspected. */
const POLL_INTERVAL_MS = 250;
/**
 * Maximum delay of a check, in milliseconds. A longer delay shows that the event loop was blocked. The silence is then not counted against
 * a connection.
 */
const MAX_CHECK_DELAY_MS = 500;

/**
 * Finds connections of the current channel that are dead although TCP has not reported their end. The timer starts when a call times out,
 * and runs while a connection is suspected.
 */
export class SuspicionWatch {
  private readonly suspects = new Map<string, Suspect>();
  private replacements: Replacements = [];
  private timer: Timer | undefined;
  private dueAt = 0;
  /** Number of dead connections that other connections replaced. */
  replacedByOthers = 0;

  constructor(
    private readonly current: () => Wire,
    private readonly request: (request: ReplacementRequest) => void,
    private readonly isReplacementReady: () => boolean,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly events: EventHub,
  ) {}

  /** Reports that a call on `connection`, or a call that waited for a stream, timed out on the client after `waitedMs`. */
  timedOut(connection: SubchannelConnection, waitedMs: number): void {
    let suspect = this.suspects.get(connection.address);
    if (suspect?.connection !== connection) {
      // A previous connection to the address ended without a report, so its suspicion ends here.
      this.ended(connection.address);
      if (this.current().probe(connection.address) === undefined) return;
      suspect = { connection, state: NOT_SUSPECTED, probe: undefined, othersRead: new Map() };
      this.suspects.set(connection.address, suspect);
    }
    this.apply(suspect, { type: 'timed-out', at: this.clock.now(), bytesRead: connection.bytesRead, waitedMs });
    this.scheduleCheck();
  }

  ended(address: string): void {
    const suspect = this.suspects.get(address);
    if (suspect === undefined) return;
    suspect.probe?.end();
    this.suspects.delete(address);
    this.closeUnneededReplacement();
  }

  /**
   * Reports that another channel carries new calls. Closes the dead connections of the previous channel, so that the calls that hang on
   * these connections end.
   */
  replaced(): void {
    const suspects = [...this.suspects.values()];
    this.forget();
    for (const { connection, state } of suspects) {
      if (!isDead(state)) continue;
      this.report(connection, state, 'new-channel');
      connection.destroy();
    }
  }

  /** Clears all suspicions and closes the replacement, for example because the channel is no longer READY. */
  forget(): void {
    for (const { probe } of this.suspects.values()) probe?.end();
    this.suspects.clear();
    this.timer?.clear();
    this.timer = undefined;
    this.request('close');
  }

  private scheduleCheck(): void {
    if (this.timer !== undefined) return;
    this.dueAt = this.clock.now() + POLL_INTERVAL_MS;
    this.timer = this.clock.setTimer(() => {
      this.timer = undefined;
      const late = this.clock.now() - this.dueAt > MAX_CHECK_DELAY_MS;
      // In a turn of the event loop, timers run before sockets are read. The check therefore waits for the data that is read in this turn.
      this.clock.defer(() => {
        this.check(late);
      });
    }, POLL_INTERVAL_MS);
  }

  private check(late: boolean): void {
    const at = this.clock.now();
    for (const suspect of this.suspects.values()) {
      const { bytesRead } = suspect.connection;
      this.apply(suspect, { type: 'check', at, bytesRead, late, otherReady: this.isReplacementReady() });
    }
    const states = [...this.suspects.values()].map(({ state }) => state.kind);
    if (states.includes('dead')) this.request('create');
    if (states.some((kind) => kind !== 'trusted')) this.scheduleCheck();
  }

  private apply(suspect: Suspect, event: SuspicionEvent): void {
    const before = suspect.state;
    const after = nextSuspicion(before, event, this.random);
    suspect.state = after;
    if (before.kind === after.kind) return;
    if (after.kind === 'probed') {
      this.probe(suspect);
    } else if (after.kind === 'pinged') {
      suspect.probe?.ping();
    } else if (suspect.probe !== undefined) {
      suspect.probe.end();
      suspect.probe = undefined;
      if (after.kind === 'dead') this.handleDead(suspect, after);
    } else if (after.kind === 'abandoned') {
      this.request('use');
    } else if (isDead(before) && !isDead(after)) {
      this.closeUnneededReplacement();
    }
  }

  private probe(suspect: Suspect): void {
    const { connection } = suspect;
    suspect.probe = this.current().probe(connection.address);
    if (suspect.probe === undefined) {
      this.ended(connection.address);
      return;
    }
    suspect.othersRead = new Map(this.othersOf(connection).map((other) => [other, other.bytesRead]));
    suspect.probe.check(POLICY.probeMs);
  }

  private othersOf(connection: SubchannelConnection): readonly SubchannelConnection[] {
    return this.current().histories.ready.filter((other) => other !== connection);
  }

  private handleDead(suspect: Suspect, state: Distrust): void {
    const decision = decideReplacement(this.replacements, this.clock.now());
    this.replacements = decision.replacements;
    const { connection, othersRead } = suspect;
    if (!decision.replace) {
      this.apply(suspect, { type: 'cleared' });
    } else if (this.othersOf(connection).some((other) => other.bytesRead !== othersRead.get(other))) {
      // Another connection receives data, so no new channel is needed. A new channel would reconnect all working connections, too. The
      // load-balancing policy skips this address until it is connected again.
      this.suspects.delete(connection.address);
      this.replacedByOthers += 1;
      this.report(connection, state, 'other-connections');
      connection.destroy();
    } else if (this.events.wanted) {
      this.events.emit({ type: 'dead-connection', ...this.silenceOf(connection, state) });
    }
  }

  private closeUnneededReplacement(): void {
    if (![...this.suspects.values()].some(({ state }) => isDead(state))) this.request('close');
  }

  private report(connection: SubchannelConnection, state: Distrust, by: 'new-channel' | 'other-connections'): void {
    if (!this.events.wanted) return;
    this.events.emit({ type: 'connection-replaced', reason: 'suspicion', ...this.silenceOf(connection, state), by });
  }

  private silenceOf({ address }: SubchannelConnection, { evidence: { since, timeouts } }: Distrust) {
    return { address, silentMs: this.clock.now() - since, timeouts };
  }
}

function isDead(state: SuspicionState): state is Distrust {
  return state.kind === 'dead' || state.kind === 'replaceable' || state.kind === 'abandoned';
}
