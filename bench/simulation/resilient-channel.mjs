import {
  AddressHistories,
  CallRelease,
  DEFAULT_CLIENT_SETTINGS,
  EventHub,
  MAX_BACKOFF_MS,
  ManagedChannel,
  OUTAGE_GRACE_JITTER,
  connectFailure,
  firstBackoffMs,
  jitter,
} from './internals.mjs';
import { Subchannel } from './subchannel.mjs';

/** @typedef {import('./fleet.mjs').Fleet} Fleet */

const TARGET = 'fleet:50051';

/** The library's channel with all of its decisions, on top of a model of grpc-js's channel. */
export class SimulatedChannel extends ManagedChannel {
  /**
   * @param {Fleet} fleet
   * @param {import('./policies.mjs').Constants} constants
   */
  static open(fleet, constants) {
    const { clock, random } = fleet;
    const { outageGraceMs, ...defaults } = DEFAULT_CLIENT_SETTINGS;
    const { boundGraces, minBoundMs } = constants.release;
    const withinMs = Math.max(outageGraceMs * boundGraces, minBoundMs);
    const settings = {
      ...defaults,
      target: TARGET,
      outageGraceMs: Math.round(jitter(outageGraceMs, OUTAGE_GRACE_JITTER, random)),
      releaseWithinMs: withinMs,
      maxConnectionAgeMs: undefined,
      credentials: { current: undefined, watch: () => () => undefined, close: () => undefined },
      fleet,
    };
    const events = new EventHub({ client: 'simulated' }, () => clock.epoch());
    const channel = new SimulatedChannel(settings, { clock, random, events, changed: () => undefined });
    const { waiting, load } = channel;
    const usable = () => channel.ready;
    const hasFreeStream = () => true;
    const { release: policy } = constants;
    channel.release = new CallRelease(waiting, { load, clock, usable, hasFreeStream, withinMs, policy });
    return channel;
  }

  createWire() {
    const timeoutMs = this.nextConnectTimeoutMs.bind(this);
    return new SimulatedWire(this.settings.fleet, this.handle.bind(this), this.dependencies, timeoutMs);
  }
}

/** Replaces channel/wire/socket-wire.ts: behaves like grpc-js's channel with pick_first. */
class SimulatedWire {
  /** @type {import('./internals.mjs').ConnectivityState} */
  state = 'IDLE';
  #subchannel;
  #histories;
  #connection;

  constructor(fleet, handle, { clock, random }, timeoutMs) {
    this.fleet = fleet;
    this.handle = handle;
    this.clock = clock;
    this.timeoutMs = timeoutMs;
    const none = () => undefined;
    this.#histories = new AddressHistories(clock, random, none);
    // A response also counts as bytes received on the connection.
    this.histories = {
      ready: [],
      answered: () => {
        this.#histories.answered();
        if (this.#connection !== undefined) this.#connection.bytesRead++;
      },
    };
    const backoff = { firstMs: () => firstBackoffMs(MAX_BACKOFF_MS, random), maxMs: MAX_BACKOFF_MS };
    this.#subchannel = new Subchannel(backoff, this, fleet.network, clock, random);
  }

  get ready() {
    return this.state === 'READY';
  }

  /** Always true, because the simulated servers do not limit streams. */
  get hasFreeStream() {
    return true;
  }

  get server() {
    return this.#subchannel.server;
  }

  get connection() {
    return this.#connection;
  }

  connect() {
    if (this.state !== 'IDLE') return;
    this.#enter('CONNECTING');
    const holdOffMs = this.#histories.holdOffMs(TARGET);
    if (holdOffMs <= 0) {
      this.#subchannel.connect();
      return;
    }
    this.clock.setTimer(() => {
      if (this.state === 'CONNECTING') this.#subchannel.connect();
    }, holdOffMs);
  }

  probe() {
    return this.#connection?.probe();
  }

  endBackoff() {
    this.#subchannel.endBackoff();
  }

  nextAttemptAt() {
    const at = this.#subchannel.backoffUntil;
    return at === undefined ? undefined : this.clock.epoch() + at - this.clock.now();
  }

  timedOut(startedAt, waitedMs) {
    const connection = this.#connection;
    if (connection === undefined || startedAt < connection.readyAt) return;
    this.handle(this, { type: 'call-timed-out', connection, waitedMs });
  }

  retire() {
    this.close();
  }

  close() {
    this.state = 'SHUTDOWN';
    this.#subchannel.close();
  }

  connectionLost() {
    this.#subchannel.lost();
    this.#connection = undefined;
    const ended = this.#histories.disconnected(TARGET);
    this.handle(this, { type: 'ended', ended });
    this.handle(this, { type: 'judged', ended });
    this.#enter('IDLE');
  }

  // ── as owner of the subchannel ──

  connectTimeoutMs() {
    return this.timeoutMs(this.#histories.timeouts(TARGET));
  }

  onReady() {
    this.#histories.entered(TARGET, 'READY');
    this.#connection = new SimulatedConnection(this.fleet, this.#subchannel.server);
    this.#histories.connected(TARGET, this.#connection);
    this.handle(this, { type: 'connected', address: TARGET });
    this.#enter('READY');
  }

  /** @param {import('./subchannel.mjs').FailureKind} kind */
  onFailed(kind) {
    const failure = connectFailure(kind, TARGET, undefined);
    this.#histories.connectFailed(TARGET, kind === 'silent');
    this.handle(this, { type: 'connect-failed', address: TARGET, failure });
    this.#enter('TRANSIENT_FAILURE', failure.message);
  }

  #enter(state, cause) {
    if (this.state === 'SHUTDOWN') return;
    this.state = state;
    this.handle(this, { type: 'state', state, error: cause });
  }
}

/** A connection for channel/connection/suspicion-watch.ts. */
class SimulatedConnection {
  address = TARGET;
  end = 'unknown';
  isOpen = false;
  bytesRead = 0;

  constructor(fleet, server) {
    this.fleet = fleet;
    this.server = server;
    this.readyAt = fleet.clock.now();
  }

  probe() {
    return {
      check: () => {
        this.fleet.probe(this.server, () => {
          this.bytesRead++;
        });
      },
      ping: () => undefined,
      end: () => undefined,
    };
  }

  whenClosed() {
    // The policy reports the end.
  }

  destroy() {
    // Not needed, because its channel is replaced and closed.
  }
}
