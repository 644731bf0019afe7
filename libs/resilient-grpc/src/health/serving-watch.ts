import type { Subscription } from 'rxjs';
import type { Connectivity } from '../call/connectivity.js';
import type { InnerClient, SideStream } from '../client/inner-client.js';
import { HTTP_STATUS } from '../policy/evidence/grpc-js-texts.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { servingStatusOf, WATCH } from './health-service.js';
import type { ServingAnswer } from './serving-health.js';
import { nextWatch, WATCH_PACE } from './watch-pace.js';

/** What of a client a watch needs. */
export type WatchedClient = Pick<InnerClient, 'connectivity' | 'connectivity$' | 'openStream'>;

/** What a watch needs from outside. */
export interface WatchSeams {
  readonly clock: Clock;
  readonly random: Random;
}

/** One Watch of the server, from its begin to its end. */
interface Begun {
  readonly at: number;
  answered: boolean;
  stream: SideStream | undefined;
}

/**
 * One Watch of grpc.health.v1, kept by the rules of gRFC A17 while the channel is READY. It is bound to a connection: it wakes no
 * channel, keeps none from going idle, and ends when its connection takes no more calls, to be begun on the next one.
 */
export class ServingWatch {
  private subscription: Subscription | undefined;
  private begun: Begun | undefined;
  private again: Timer | undefined;
  /** undefined: asked, and not answered yet. */
  private answer: ServingAnswer | undefined;
  private failures = 0;
  private closed = false;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly client: WatchedClient,
    private readonly service: string,
    private readonly seams: WatchSeams,
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

  /** What the server said last; waits `timeoutMs` for its first word. undefined: no connection is READY, so that nobody was asked. */
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
    const { clock } = this.seams;
    await new Promise<void>((resolve) => {
      const over = (): void => {
        clock.clearTimer(timer);
        this.waiting.delete(over);
        resolve();
      };
      // The probe that asks has a timeout of its own, so this one is exact; an answer that is pending is read first.
      const timer = clock.setTimer(() => clock.defer(over), timeoutMs, true);
      this.waiting.add(over);
    });
  }

  private stateIs(state: Connectivity['state']): void {
    if (state !== 'READY') this.leave();
    // An answer without a Watch is UNIMPLEMENTED: this connection is not asked again.
    else if (this.begun === undefined && this.again === undefined && this.answer === undefined) this.begin();
  }

  /** What was known was of a connection that is gone. */
  private leave(): void {
    const { begun, again } = this;
    this.begun = undefined;
    begun?.stream?.cancel();
    if (again !== undefined) this.seams.clock.clearTimer(again);
    this.again = undefined;
    this.failures = 0;
    this.know(undefined);
  }

  private begin(): void {
    const begun: Begun = { at: this.seams.clock.now(), answered: false, stream: undefined };
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
            if (end === undefined) this.beginAgain(WATCH_PACE.atOnceMs * this.seams.random());
            else this.ended(begun, end);
          },
        },
      )
      .then(
        (stream) => {
          if (this.begun !== begun) stream?.cancel();
          // The channel is READY, and yet has no connection to ask.
          else if (stream === undefined) this.ended(begun);
          else begun.stream = stream;
        },
        () => {
          // The client's function for metadata failed.
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
    const { clock, random } = this.seams;
    const { answered, at } = begun;
    const next = nextWatch({ answered, livedMs: clock.now() - at, failures: this.failures }, random);
    this.failures = next.failures;
    // What comes at once can be waited for.
    const isNews = end !== undefined && next.failures > 0;
    this.beginAgain(next.delayMs, isNews ? { kind: 'failed', method: 'Watch', code: end.code } : undefined);
  }

  private beginAgain(delayMs: number, answer?: ServingAnswer): void {
    this.begun = undefined;
    this.know(answer);
    if (!this.isReady) return;
    this.again = this.seams.clock.setTimer(() => {
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
