import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import { CONTENDER_NAMES, type ContenderName } from '../contenders/contender.js';
import { overload } from '../load/overload-run.js';
import { overloadReport, type OverloadReport } from '../report/overload-figures.js';

/** Duration of the load on each server. */
const SECONDS = 5;

/** The part of the page's state that describes a run with overloaded servers. */
export interface OverloadLiveState {
  readonly isRunning: boolean;
  /** The last progress message, or the outcome of the run. */
  readonly text: string;
  /** The figures of the servers that have been measured. */
  readonly results: readonly OverloadedServerResult[];
}

/** The figures of one server. */
interface OverloadedServerResult extends OverloadReport {
  readonly name: ContenderName;
}

/** Runs the scenario `overload` for the page. */
@Injectable()
export class OverloadShow implements BeforeApplicationShutdown {
  private live: OverloadLiveState | undefined;
  private stopping = new AbortController();
  private running: Promise<void> | undefined;

  /** Returns the state of the current or last run; `undefined` before the first run and after {@link stop}. */
  state(): OverloadLiveState | undefined {
    return this.live;
  }

  /** Starts a run. Resolves when the run ends. */
  async run(): Promise<void> {
    this.stopping = new AbortController();
    this.running = this.perform(this.stopping.signal);
    await this.running;
  }

  /** Ends a run and discards its figures. Resolves when its processes have exited. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    this.live = undefined;
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  private async perform(signal: AbortSignal): Promise<void> {
    const results: OverloadedServerResult[] = [];
    const show = (text: string, isRunning = true): void => {
      this.live = { isRunning, text, results };
    };
    show('starting a server');
    try {
      // The servers run one after another, because each needs a core.
      for (const name of CONTENDER_NAMES) {
        signal.throwIfAborted();
        results.push({ name, ...overloadReport(await overload(name, { seconds: SECONDS, report: show, signal })) });
      }
      show('finished', false);
    } catch (error) {
      show(signal.aborted ? 'stopped' : `the run failed: ${String(error)}`, false);
    }
  }
}
