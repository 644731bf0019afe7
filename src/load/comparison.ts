import type { Observable } from 'rxjs';
import type { UpstreamEvent } from '../chaos/upstream-process.js';
import type { Contender, ContenderName } from '../contenders/contender.js';
import { epochMs } from '../epoch.js';
import { LogFollower } from '../upstream/log-follower.js';
import { type Entrant, Load } from './load.js';
import { Measurement, type MeasurementSnapshot } from './measurement.js';
import { WriteLedger } from './write-ledger.js';

/** The figures of one contender, from its calls and the log. */
export interface ContenderResult extends MeasurementSnapshot {
  readonly name: ContenderName;
  readonly duplicatedWrites: number;
  readonly lostWrites: number;
}

/** The upstream of a comparison, or several upstreams that share a log. */
export interface ComparedUpstream {
  readonly logPath: string;
  readonly events$: Observable<UpstreamEvent>;
}

/** Runs all contenders under the same load and the same faults, and measures each. */
export class Comparison {
  readonly load: Load;
  private readonly entrants: readonly Entrant[];
  private readonly log: LogFollower;

  constructor(contenders: readonly Contender[], upstream: ComparedUpstream) {
    this.entrants = contenders.map((contender) => ({
      contender,
      measurement: new Measurement(),
      ledger: new WriteLedger(),
    }));
    this.load = new Load(this.entrants);
    this.log = new LogFollower(upstream.logPath, 'end');
    upstream.events$.subscribe(({ type, atMs }) => {
      if (type === 'listening') this.serverReachable(atMs);
      else this.connectionsLost(atMs);
    });
  }

  /** Records that all connections of all contenders were lost. */
  connectionsLost(atMs: number): void {
    for (const { measurement } of this.entrants) measurement.connectionsLost(atMs);
  }

  /** Records that calls can succeed again. */
  serverReachable(atMs: number): void {
    for (const { measurement } of this.entrants) measurement.serverReachable(atMs);
  }

  /** Stops the load until `load.start` is called. The pause does not count as recovery. */
  pause(): void {
    this.load.stop();
    const nowMs = epochMs();
    for (const { measurement } of this.entrants) measurement.paused(nowMs);
  }

  /** Stops the load, waits up to `timeoutMs` for open calls, and counts the calls that are still open as failed. */
  async finish(timeoutMs: number): Promise<void> {
    this.load.stop();
    await this.load.settled(timeoutMs);
    for (const { measurement } of this.entrants) measurement.abandonOpenCalls(epochMs());
  }

  /** Returns the current figures of all contenders. */
  results(): readonly ContenderResult[] {
    const ledgers = new Map<string, WriteLedger>(
      this.entrants.map(({ contender, ledger }) => [contender.name, ledger]),
    );
    for (const { requestId } of this.log.read())
      ledgers.get(requestId.slice(0, requestId.indexOf('/')))?.applied(requestId);
    const nowMs = epochMs();
    return this.entrants.map(({ contender, measurement, ledger }) => ({
      ...measurement.snapshot(nowMs),
      name: contender.name,
      duplicatedWrites: ledger.duplicated,
      lostWrites: ledger.lost,
    }));
  }

  close(): void {
    this.load.stop();
    this.log.close();
  }
}
