import type { Subscription } from 'rxjs';
import type { Connectivity } from '../call/connectivity.js';
import type { InternalGrpcClient, AuxiliaryStream } from '../client/internal-grpc-client.js';
import { HTTP_STATUS } from '../policy/evidence/grpc-js-texts.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { servingStatusOf, WATCH } from './health-service.js';
import type { ServingAnswer } from './serving-check.js';
import { nextWatch, WATCH_PACE } from './watch-pace.js';

/** Part of a client that a watch needs. */
export type WatchedClient = Pick<InternalGrpcClient, 'connectivity' | 'connectivity$' | 'openStream'>;

/** External dependencies of a watch. */
export interface WatchDependencies {
  readonly clock: Clock;
  readonly random: Random;
}

/** One Watch call, from start to end. */
interface Begun {
  readonly at: number;
  answered: boolean;
  stream: AuxiliaryStream | undefined;
}

/**
 * Maintains one Watch of grpc.health.v1 while the channel is READY, by the rules of gRFC A17. The stream is bound to a connection. It does
 * not wake an idle channel or keep a channel from going idle. It ends when its connection accepts no more calls, and restarts on the next
 * connection.
 */
export class ServingWatch {
  private subscription: Subscription | undefined;
  private begun: Begun | undefined;
  private again: Timer | undefined;
  /** `undefined` before the first response. */
  private answer: ServingAnswer | undefined;
  private failures = 0;
  private closed = false;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly client: WatchedClient,
    private readonly service: string,
    private readonly dependencies: WatchDependencies,
  ) {
    this.subscription = client.connectivity$.subscribe({
      next: ({ state }) => {
        this.stateIs(state);
      },
      complete: () => {
        this.close();
      },
    });
  }

  /**
   * Returns the server's last status; waits up to `timeoutMs` for the first one. `undefined` if no connection is READY, because then no
   * server was checked.
   */
  async ask(timeoutMs: number): Promise<ServingAnswer | undefined> {
    if (this.answer === undefined && this.isReady) await this.firstWord(timeoutMs);
    if (this.answer === undefined && this.isReady) return { kind: 'unanswered', afterMs: timeoutMs };
    return this.answer;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.subscription?.unsubscribe();
    this.leave();
  }

  private get isReady(): boolean {
    return !this.closed && this.client.connectivity.state === 'READY';
  }

  private async firstWord(timeoutMs: number): Promise<void> {
    const { clock } = this.dependencies;
    await new Promise<void>((resolve) => {
      const over = (): void => {
        timer.clear();
        this.waiting.delete(over);
        resolve();
      };
      // Exact, because the probe has a timeout of its own; `defer` lets a pending response be read first.
      const timer = clock.setTimer(() => clock.defer(over), timeoutMs, true);
      this.waiting.add(over);
    });
  }

  private stateIs(state: Connectivity['state']): void {
    if (state !== 'READY') this.leave();
    // An answer without a Watch is UNIMPLEMENTED: Watch is not called again on this connection.
    else if (this.begun === undefined && this.again === undefined && this.answer === undefined) this.begin();
  }

  /** Discards the state of a lost connection. */
  private leave(): void {
    const { begun, again } = this;
    this.begun = undefined;
    begun?.stream?.cancel();
    again?.clear();
    this.again = undefined;
    this.failures = 0;
    this.know(undefined);
  }

  private begin(): void {
    const begun: Begun = { at: this.dependencies.clock.now(), answered: false, stream: undefined };
    this.begun = begun;
    this.client
      .openStream(
        WATCH,
        { service: this.service },
        {
          onMessage: (message) => {
            if (this.begun !== begun) return;
            begun.answered = true;
            this.know({ kind: 'status', status: servingStatusOf(message) });
          },
          onEnd: (end) => {
            if (this.begun !== begun) return;
            if (end === undefined) this.beginAgain(WATCH_PACE.atOnceMs * this.dependencies.random());
            else this.ended(begun, end);
          },
        },
      )
      .then(
        (stream) => {
          if (this.begun !== begun) stream?.cancel();
          // The channel is READY but has no connection for the stream.
          else if (stream === undefined) this.ended(begun);
          else begun.stream = stream;
        },
        () => {
          // The client's metadata function failed.
          if (this.begun === begun) this.ended(begun, { code: StatusCode.INTERNAL, details: '' });
        },
      );
  }

  private ended(begun: Begun, end?: { readonly code: number; readonly details: string }): void {
    if (end?.code === StatusCode.UNIMPLEMENTED && !HTTP_STATUS.test(end.details)) {
      this.begun = undefined;
      this.know({ kind: 'unimplemented' });
      return;
    }
    const { clock, random } = this.dependencies;
    const { answered, at } = begun;
    const next = nextWatch({ answered, livedMs: clock.now() - at, failures: this.failures }, random);
    this.failures = next.failures;
    // If the Watch restarts immediately, checks wait for its response.
    const isNews = end !== undefined && next.failures > 0;
    this.beginAgain(next.delayMs, isNews ? { kind: 'failed', method: 'Watch', code: end.code } : undefined);
  }

  private beginAgain(delayMs: number, answer?: ServingAnswer): void {
    this.begun = undefined;
    this.know(answer);
    if (!this.isReady) return;
    this.again = this.dependencies.clock.setTimer(() => {
      this.again = undefined;
      if (this.isReady) this.begin();
    }, delayMs);
  }

  private know(answer: ServingAnswer | undefined): void {
    this.answer = answer;
    if (answer === undefined && this.isReady) return;
    for (const over of [...this.waiting]) over();
  }
}
