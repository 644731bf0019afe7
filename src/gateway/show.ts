import {
  Inject,
  Injectable,
  type OnApplicationShutdown,
  type OnApplicationBootstrap,
  type BeforeApplicationShutdown,
} from '@nestjs/common';
import { defer, finalize, map, merge, type Observable, share, Subject, takeUntil, timer } from 'rxjs';
import { UpstreamProcess, type UpstreamState } from '../chaos/upstream-process.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS } from '../contenders/contenders.module.js';
import { epochMs } from '../epoch.js';
import { Comparison, type ContenderResult } from '../load/comparison.js';
import type { CallRate } from '../load/load.js';
import { warmUp } from '../load/warm-up.js';
import { PATIENCE } from '../patience.js';
import { CapturedLogger, type LogLine } from '../report/captured-logger.js';

/** The state sent to the page. */
interface LiveState {
  readonly atMs: number;
  readonly upstream: UpstreamState;
  /**
   * `opening`: the server is killed in `phaseEndsInMs`. `killed`: it listens again in `phaseEndsInMs`. `free`: the visitor causes faults.
   */
  readonly phase: 'idle' | 'opening' | 'killed' | 'free';
  readonly phaseEndsInMs: number | undefined;
  readonly results: readonly ContenderResult[];
  readonly log: readonly LogLine[];
}

/** Load of each contender: 200 calls per second, divided by {@link PATIENCE}. */
const RATE: CallRate = { reads: 160 / PATIENCE, writes: 40 / PATIENCE };
const KILL_AFTER_MS = 5_000;
const DOWN_MS = 3_000;
const LIVE_INTERVAL_MS = 250;
/** Time in milliseconds for which the load continues after the last page is closed, so that reloading a page does not stop the load. */
const LINGER_MS = 5_000;
const SHOWN_LOG_LINES = 12;
/** Maximum time for open calls to finish at shutdown. */
const SETTLE_MS = 2_000;

/** `opening`: the server is killed at `endsAtMs`. `killed`: it listens again at `endsAtMs`. `idle`: no page has been opened yet. */
type Phase = { readonly name: 'opening' | 'killed'; readonly endsAtMs: number } | { readonly name: 'idle' | 'free' };

/**
 * Runs the live comparison for the page. The comparison starts when the first page is opened. Load starts immediately; the server is killed
 * after 5 s and listens again 3 s later. After that, the visitor causes the faults. This load stops 5 s after the last page is closed.
 */
@Injectable()
export class Show implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown {
  /** Emits the state four times per second. The first subscriber receives it immediately. */
  readonly live$: Observable<LiveState>;
  private readonly closing = new Subject<void>();
  private readonly log: LogLine[] = [];
  private comparison: Comparison;
  private phase: Phase = { name: 'idle' };
  private nextPhase: NodeJS.Timeout | undefined;
  private lingering: NodeJS.Timeout | undefined;
  private hasVisitors = false;
  private ended = false;

  constructor(
    @Inject(CONTENDERS) private readonly contenders: readonly Contender[],
    private readonly upstream: UpstreamProcess,
    logger: CapturedLogger,
  ) {
    this.comparison = new Comparison(contenders, upstream);
    this.live$ = defer(() => {
      this.visitorsCame();
      return timer(0, LIVE_INTERVAL_MS).pipe(map(() => this.state()));
    }).pipe(
      finalize(() => this.visitorsLeft()),
      share(),
      takeUntil(this.closing),
    );
    merge(logger.lines$, upstream.lines$)
      .pipe(takeUntil(this.closing))
      .subscribe(({ level, context, message, atMs }) => {
        this.log.push({ level, context, message, atMs });
        if (this.log.length > SHOWN_LOG_LINES) this.log.shift();
      });
  }

  async onApplicationBootstrap(): Promise<void> {
    await warmUp(this.contenders);
  }

  /** Performs the action of a button of the page. Returns false if there is no such action. */
  async perform(action: string): Promise<boolean> {
    if (action === 'keep-down' || action === 'start') this.endScriptedPhase();
    if (action === 'kill') await this.kill();
    else if (action === 'keep-down') await this.upstream.kill();
    else if (action === 'freeze') this.upstream.freeze();
    else if (action === 'drain') await this.upstream.restartGracefully();
    else if (action === 'start') await this.upstream.listen();
    else return false;
    return true;
  }

  /** Ends this show for the next one, with the server back, so that open calls end. Returns false if it has ended already. */
  async end(): Promise<boolean> {
    if (this.ended) return false;
    this.ended = true;
    this.stop();
    await this.upstream.listen();
    return true;
  }

  /** Stops the load, ends the event streams of open pages, and waits up to 2 s for open calls. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stop();
    this.closing.next();
    await this.comparison.load.settled(SETTLE_MS);
  }

  onApplicationShutdown(): void {
    this.comparison.close();
  }

  private stop(): void {
    clearTimeout(this.nextPhase);
    clearTimeout(this.lingering);
    this.comparison.load.stop();
  }

  private visitorsCame(): void {
    clearTimeout(this.lingering);
    if (this.ended) return;
    this.hasVisitors = true;
    if (this.phase.name === 'idle') this.open();
    else this.comparison.load.start(RATE);
  }

  private visitorsLeft(): void {
    clearTimeout(this.lingering);
    this.lingering = setTimeout(() => {
      this.hasVisitors = false;
      this.comparison.pause();
    }, LINGER_MS);
  }

  private open(): void {
    this.comparison.close();
    this.comparison = new Comparison(this.contenders, this.upstream);
    this.comparison.load.start(RATE);
    this.enter({ name: 'opening', endsAtMs: epochMs() + KILL_AFTER_MS }, KILL_AFTER_MS, async () => {
      await this.kill();
    });
  }

  /** Kills the server and restarts it after DOWN_MS. */
  private async kill(): Promise<void> {
    this.endScriptedPhase();
    const { name } = this.phase;
    this.enter({ name: 'killed', endsAtMs: epochMs() + DOWN_MS }, DOWN_MS, async () => {
      // In phase 'idle', no page has been opened, so the opening must still be shown to the first visitor.
      this.phase = { name: name === 'idle' ? name : 'free' };
      await this.upstream.listen();
      if (this.phase.name === 'idle' && this.hasVisitors) this.open();
    });
    await this.upstream.kill();
  }

  /** Ends the scripted phase. After that, only the visitor causes faults. */
  private endScriptedPhase(): void {
    clearTimeout(this.nextPhase);
    if (this.phase.name !== 'idle') this.phase = { name: 'free' };
  }

  private enter(phase: Phase, lengthMs: number, next: () => Promise<void>): void {
    this.phase = phase;
    this.nextPhase = setTimeout(() => void next(), lengthMs);
  }

  private state(): LiveState {
    const nowMs = epochMs();
    return {
      atMs: nowMs,
      upstream: this.upstream.state,
      phase: this.phase.name,
      phaseEndsInMs: 'endsAtMs' in this.phase ? Math.max(0, this.phase.endsAtMs - nowMs) : undefined,
      results: this.comparison.results(),
      log: this.log,
    };
  }
}
