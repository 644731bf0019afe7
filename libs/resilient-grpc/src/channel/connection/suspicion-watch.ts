import type { EventHub } from '../../call/event-hub.js';
import { decideReplacement, type Replacements } from '../../policy/suspicion/decide-replacement.js';
import { nextSuspicion } from '../../policy/suspicion/next-suspicion.js';
import { DEFAULT_SUSPICION_POLICY as POLICY } from '../../policy/suspicion/suspicion-policy.js';
import { NOT_SUSPECTED, type SuspicionEvent, type SuspicionState } from '../../policy/suspicion/suspicion-state.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';

/** A connection as the watch sees it. */
export interface WatchedConnection {
  readonly address: string;
  readonly bytesRead: number;
  readonly others: readonly WatchedConnection[];
  probe(): WatchedProbe | undefined;
  destroy(): void;
}

/** A question to one connection. */
export interface WatchedProbe {
  check(timeoutMs: number): void;
  ping(): void;
  end(): void;
}

/** Makes the channel that takes the place of one with a dead connection. */
export interface SuspicionOwner {
  /** It is READY, and waits to be taken. */
  readonly successorReady: boolean;
  /** Makes it, unless there is one already: then it is asked to connect, in case it has lost its connection. */
  makeSuccessor(): void;
  /** It is not needed after all. */
  dropSuccessor(): void;
  /** New calls go to it from now on. */
  takeSuccessor(): void;
}

type Dead = Extract<SuspicionState, { readonly kind: 'dead' | 'replaceable' | 'given-up' }>;

interface Suspect {
  readonly connection: WatchedConnection;
  state: SuspicionState;
  probe: WatchedProbe | undefined;
  /** Bytes that the other connections had read when this one was probed. */
  othersRead: ReadonlyMap<WatchedConnection, number>;
}

/** While somebody is under suspicion, connections are looked at this often. */
const LOOK_MS = 250;
/** A look that comes later than this shows that our own event loop was busy. */
const LATE_MS = 500;

/**
 * Finds connections that are dead though TCP says nothing, among those of the channel that carries the calls. Asleep, without a
 * timer, until a call times out.
 */
export class SuspicionWatch {
  private readonly suspects = new Map<string, Suspect>();
  private replacements: Replacements = [];
  private timer: Timer | undefined;
  private dueAt = 0;
  /** Dead connections whose calls others took over. */
  replacedByOthers = 0;

  constructor(
    private readonly owner: SuspicionOwner,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly events: EventHub,
  ) {}

  /** A call on `connection` was ended on this side, `waitedMs` after it began, because it took too long. */
  timedOut(connection: WatchedConnection, waitedMs: number): void {
    let suspect = this.suspects.get(connection.address);
    if (suspect?.connection !== connection) {
      // A channel that was idle in between has not told the end of the one before.
      this.ended(connection.address);
      if (connection.probe() === undefined) return;
      suspect = { connection, state: NOT_SUSPECTED, probe: undefined, othersRead: new Map() };
      this.suspects.set(connection.address, suspect);
    }
    this.apply(suspect, { type: 'timed-out', at: this.clock.now(), bytesRead: connection.bytesRead, waitedMs });
    this.lookLater();
  }

  /** The connection to `address` ended by itself. */
  ended(address: string): void {
    const suspect = this.suspects.get(address);
    if (suspect === undefined) return;
    suspect.probe?.end();
    this.suspects.delete(address);
    this.dropSuccessorForNobody();
  }

  /** Another channel carries the calls: what is dead in the former ends, with what still hangs on it. */
  replaced(): void {
    const suspects = [...this.suspects.values()];
    this.forget();
    for (const { connection, state } of suspects) {
      if (!isDead(state)) continue;
      this.tell(connection, state, 'new-channel');
      connection.destroy();
    }
  }

  /** The channel is not READY any more, or closed: whatever was held against its connections is settled. */
  forget(): void {
    for (const { probe } of this.suspects.values()) probe?.end();
    this.suspects.clear();
    if (this.timer !== undefined) this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.owner.dropSuccessor();
  }

  private lookLater(): void {
    if (this.timer !== undefined) return;
    this.dueAt = this.clock.now() + LOOK_MS;
    this.timer = this.clock.setTimer(() => {
      this.timer = undefined;
      const late = this.clock.now() - this.dueAt > LATE_MS;
      // Timers come before sockets in a turn of the event loop: what a late one finds unread may be read in this very turn.
      this.clock.defer(() => {
        this.look(late);
      });
    }, LOOK_MS);
  }

  private look(late: boolean): void {
    const at = this.clock.now();
    for (const suspect of this.suspects.values()) {
      const { bytesRead } = suspect.connection;
      this.apply(suspect, { type: 'look', at, bytesRead, late, otherReady: this.owner.successorReady });
    }
    const states = [...this.suspects.values()].map(({ state }) => state.kind);
    if (states.includes('dead')) this.owner.makeSuccessor();
    if (states.some((kind) => kind !== 'trusted')) this.lookLater();
  }

  private apply(suspect: Suspect, event: SuspicionEvent): void {
    const before = suspect.state;
    const after = nextSuspicion(before, event, POLICY, this.random);
    suspect.state = after;
    if (before.kind === after.kind) return;
    if (after.kind === 'probed') {
      this.probe(suspect);
    } else if (after.kind === 'pinged') {
      suspect.probe?.ping();
    } else if (suspect.probe !== undefined) {
      suspect.probe.end();
      suspect.probe = undefined;
      if (after.kind === 'dead') this.condemned(suspect, after);
    } else if (after.kind === 'given-up') {
      this.owner.takeSuccessor();
    } else if (isDead(before) && !isDead(after)) {
      this.dropSuccessorForNobody();
    }
  }

  private probe(suspect: Suspect): void {
    const { connection } = suspect;
    suspect.probe = connection.probe();
    if (suspect.probe === undefined) {
      this.ended(connection.address);
      return;
    }
    suspect.othersRead = new Map(connection.others.map((other) => [other, other.bytesRead]));
    suspect.probe.check(POLICY.probeMs);
  }

  private condemned(suspect: Suspect, state: Dead): void {
    const decision = decideReplacement(this.replacements, this.clock.now(), POLICY);
    this.replacements = decision.replacements;
    const { connection, othersRead } = suspect;
    if (!decision.replace) {
      this.apply(suspect, { type: 'spared' });
    } else if (connection.others.some((other) => other.bytesRead !== othersRead.get(other))) {
      // One of several, and another is heard of: the balancing policy passes over this one until it is there again. A new
      // channel would cost those that are well a connection each.
      this.suspects.delete(connection.address);
      this.replacedByOthers += 1;
      this.tell(connection, state, 'other-connections');
      connection.destroy();
    }
  }

  private dropSuccessorForNobody(): void {
    if (![...this.suspects.values()].some(({ state }) => isDead(state))) this.owner.dropSuccessor();
  }

  private tell({ address }: WatchedConnection, state: Dead, by: 'new-channel' | 'other-connections'): void {
    if (!this.events.wanted) return;
    const { since, timeouts } = state.silence;
    const silentMs = this.clock.now() - since;
    this.events.emit({ type: 'connection-replaced', reason: 'suspicion', address, silentMs, timeouts, by });
  }
}

function isDead(state: SuspicionState): state is Dead {
  return state.kind === 'dead' || state.kind === 'replaceable' || state.kind === 'given-up';
}
