import { setTimeout as delay } from 'node:timers/promises';
import type { GrpcClients } from 'nestjs-resilient-grpc';
import { UpstreamGroup } from '../chaos/upstream-group.js';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import { ReplicaContenders } from '../contenders/replica-contenders.js';
import { PATIENCE } from '../patience.js';
import type { ServerKind } from '../upstream/server-kind.js';
import { Comparison, type ContenderResult } from './comparison.js';
import type { CallRate } from './due-calls.js';
import { warmUp } from './warm-up.js';

/** State of a replica. `restarting`: it has received SIGTERM, and another one takes its address. */
export type ReplicaState = 'running' | 'failing' | 'slow' | 'frozen' | 'restarting';

/** Options of a run. */
export interface ReplicasRunOptions {
  /** Clients of an application, to which our client is added. The dashboard of the application, if there is one, shows our client. */
  readonly clients: GrpcClients;
  readonly server: ServerKind;
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  /** Receives progress messages. */
  readonly report: (text: string) => void;
}

const REPLICAS = 3;
const READ_MS = 20;
const SLOW_FACTOR = 25;
const SETTLE_MS = 10_000 * PATIENCE;

/** Shares of the run. Each of the three replicas in turn is unhealthy and then healthy again; at the end, one is replaced. */
const SHARES = { before: 2 / 32, unhealthy: 4 / 32, healthy: 5 / 32, replaced: 3 / 32 };

/** A fault of one replica. */
interface Fault {
  readonly state: ReplicaState;
  readonly text: string;
  readonly start: (replica: UpstreamProcess) => void | Promise<void>;
}

const FAULTS: readonly Fault[] = [
  { state: 'failing', text: 'fails every call', start: (replica) => replica.workAs({ failing: true }) },
  {
    state: 'slow',
    text: `is ${SLOW_FACTOR} times slower`,
    start: (replica) => replica.workAs({ readMs: READ_MS * SLOW_FACTOR }),
  },
  { state: 'frozen', text: 'is frozen', start: (replica) => replica.freeze() },
];

/** Calls three replicas through all contenders, while one replica after another is unhealthy. */
export class ReplicasRun {
  private readonly closing = new AbortController();
  private readonly replicaStates: ReplicaState[] = Array.from({ length: REPLICAS }, () => 'running');

  private constructor(
    private readonly options: ReplicasRunOptions,
    private readonly replicas: UpstreamGroup,
    private readonly contenders: ReplicaContenders,
    private readonly comparison: Comparison,
  ) {}

  /** Starts the replicas and connects the contenders. The caller must close the run. */
  static async start(options: ReplicasRunOptions): Promise<ReplicasRun> {
    const { clients, server, seconds } = options;
    const replicas = await UpstreamGroup.start(REPLICAS, { server });
    // Somewhat longer than the time for which a replica is unhealthy. With the default of 30 s, the run would end before an ejected replica
    // received calls again.
    const ejectionMs = Math.round(seconds * 1_000 * (SHARES.unhealthy + SHARES.healthy / 8));
    const contenders = ReplicaContenders.create(clients, { url: replicas.url, ejectionMs });
    const run = new ReplicasRun(options, replicas, contenders, new Comparison(contenders.all, replicas));
    try {
      for (const replica of replicas.upstreams) await replica.workAs({ readMs: READ_MS });
      await warmUp(contenders.all);
    } catch (error) {
      await run.close();
      throw error;
    }
    return run;
  }

  /** Current states of the replicas. */
  get states(): readonly ReplicaState[] {
    return this.replicaStates;
  }

  /** Current figures of the contenders. */
  results(): readonly ContenderResult[] {
    return this.comparison.results();
  }

  /** Runs the load and the faults. Rejects if the run is stopped or closed first. */
  async perform(): Promise<void> {
    const { rate } = this.options;
    // Sends only reads. A write that reaches a failing replica fails with every client, because a write is not safe to repeat.
    this.comparison.load.start({ reads: rate.reads + rate.writes, writes: 0 });
    await this.pass(SHARES.before);
    for (const [index, fault] of FAULTS.entries()) await this.injectFault(index, fault);
    await this.replaceFirst();
    await this.comparison.finish(SETTLE_MS);
  }

  /** Makes {@link perform} reject. */
  stop(): void {
    this.closing.abort();
  }

  /** Ends the run, kills the replicas, and closes the clients. */
  async close(): Promise<void> {
    this.stop();
    this.comparison.close();
    await this.contenders.close();
    await this.replicas.stop();
  }

  private async injectFault(index: number, { state, text, start }: Fault): Promise<void> {
    const replica = this.replica(index);
    this.enter(index, state, `replica ${index + 1} ${text}`);
    await start(replica);
    await this.pass(SHARES.unhealthy);
    await replica.listen();
    await replica.workAs({ readMs: READ_MS });
    this.enter(index, 'running', `replica ${index + 1} has recovered`);
    await this.pass(SHARES.healthy);
  }

  private async replaceFirst(): Promise<void> {
    const replica = this.replica(0);
    const replaced = this.pass(SHARES.replaced);
    this.enter(0, 'restarting', 'replica 1 receives SIGTERM');
    await replica.restartGracefully(0);
    await replica.workAs({ readMs: READ_MS });
    this.enter(0, 'running', 'another replica has taken the address of replica 1');
    await replaced;
  }

  private enter(index: number, state: ReplicaState, text: string): void {
    this.replicaStates[index] = state;
    this.options.report(text);
  }

  private replica(index: number): UpstreamProcess {
    const replica = this.replicas.upstreams[index];
    if (!replica) throw new RangeError(`no replica ${index}`);
    return replica;
  }

  private async pass(share: number): Promise<void> {
    await delay(this.options.seconds * 1_000 * share, undefined, { signal: this.closing.signal });
  }
}
