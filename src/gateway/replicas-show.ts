import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { GrpcClients } from 'nestjs-resilient-grpc';
import type { ContenderName } from '../contenders/contender.js';
import type { CallRate } from '../load/due-calls.js';
import { type ReplicaState, ReplicasRun } from '../load/replicas-run.js';
import { replicasReport, type ReplicasReport } from '../report/replicas-figures.js';
import type { ServerKind } from '../upstream/server-kind.js';

/** Duration of the load in a run. */
export const REPLICAS_SECONDS = 32;

/** The part of the page's state that describes a run with three replicas. */
export interface ReplicasLiveState {
  readonly isRunning: boolean;
  /** The last progress message, or the outcome of the run. */
  readonly text: string;
  readonly states: readonly ReplicaState[];
  readonly results: readonly ReplicasResult[];
}

/** The figures of one contender's calls to the replicas. */
interface ReplicasResult extends ReplicasReport {
  readonly name: ContenderName;
}

/**
 * Runs the scenario `replicas` for the page. During a run, our client for the replicas is one of the gateway's clients, so that the
 * dashboard shows it.
 */
@Injectable()
export class ReplicasShow implements BeforeApplicationShutdown {
  private live: ReplicasLiveState | undefined;
  private current: ReplicasRun | undefined;
  private running: Promise<void> | undefined;
  private stopping = false;

  constructor(private readonly clients: GrpcClients) {}

  /** Returns the state of the current or last run; `undefined` before the first run and after {@link stop}. */
  state(): ReplicasLiveState | undefined {
    if (this.current && this.live) this.live = { ...this.live, ...figuresOf(this.current) };
    return this.live;
  }

  /** Starts a run. `onLoad` is called when the replicas have started and the load begins. Resolves when the run ends. */
  async run(server: ServerKind, rate: CallRate, onLoad: () => void): Promise<void> {
    this.stopping = false;
    this.running = this.perform(server, rate, onLoad);
    await this.running;
  }

  /** Ends a run and discards its figures. Resolves when its processes have exited. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.current?.stop();
    await this.running;
    this.live = undefined;
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  private async perform(server: ServerKind, rate: CallRate, onLoad: () => void): Promise<void> {
    this.live = { isRunning: true, text: 'starting three replicas', states: [], results: [] };
    let end = 'finished';
    try {
      const run = await ReplicasRun.start({
        clients: this.clients,
        server,
        rate,
        seconds: REPLICAS_SECONDS,
        report: (text) => this.live && (this.live = { ...this.live, text }),
      });
      this.current = run;
      try {
        if (!this.stopping) {
          onLoad();
          await run.perform();
        }
      } finally {
        this.state();
        this.current = undefined;
        await run.close();
      }
    } catch (error) {
      end = this.stopping ? 'stopped' : `the run failed: ${String(error)}`;
    }
    this.live = { ...this.live, isRunning: false, text: end };
  }
}

function figuresOf(run: ReplicasRun): Pick<ReplicasLiveState, 'states' | 'results'> {
  return {
    states: [...run.states],
    results: run.results().map((result) => ({ name: result.name, ...replicasReport(result) })),
  };
}
