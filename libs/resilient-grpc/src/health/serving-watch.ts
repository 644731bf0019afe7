import type { Subscription } from 'rxjs';
import type { Connectivity } from '../call/connectivity.js';
import type { AuxiliaryStream, AuxiliaryStreamEnd, InternalGrpcClient } from '../client/create-client.js';
import { nextWatch, restartDelayMs } from '../policy/reconnect/reconnect-times.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { Wait } from '../time/wait.js';
import { servingStatusOf, WATCH, type ServingAnswer } from './serving-check.js';

export type WatchedClient = Pick<InternalGrpcClient, 'connectivity' | 'connectivity$' | 'openStream'>;

/** One Watch call, from its start to its end or, after UNIMPLEMENTED, to the end of its connection. */
interface WatchCall {
  readonly startedAt: number;
  answered: boolean;
  stream: AuxiliaryStream | undefined;
}

/**
 * Maintains one Watch of grpc.health.v1 while the channel is READY, as gRFC A17 specifies. The stream is bound to a connection. It does not
 * wake an idle channel or keep a channel from going idle. It ends when its connection accepts no more calls or is replaced, and restarts on
 * the next connection. After UNIMPLEMENTED, Watch is called again only on the next connection.
 */
export class ServingWatch {
  private subscription: Subscription | undefined;
  private call: WatchCall | undefined;
  private restart: Timer | undefined;
  /** Result of the latest Watch; `undefined` while checks wait for a response, and while no connection is READY. */
  private answer: ServingAnswer | undefined;
  private failures = 0;
  private closed = false;
  private readonly waiting = new Set<Wait>();

  constructor(
    private readonly client: WatchedClient,
    private readonly service: string,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {
    this.subscription = client.connectivity$.subscribe({
      next: ({ state }) => this.stateChanged(state),
      complete: () => this.close(),
    });
  }

  /** Returns the result of the latest Watch; waits up to `timeoutMs` if the Watch has no result yet. */
  async status(timeoutMs: number): Promise<ServingAnswer | undefined> {
    if (this.answer === undefined && this.isReady) await this.firstAnswer(timeoutMs);
    if (this.answer === undefined && this.isReady) return { kind: 'unanswered', afterMs: timeoutMs };
    return this.answer;
  }

  close(): void {
    this.closed = true;
    this.subscription?.unsubscribe();
    this.reset();
  }

  private get isReady(): boolean {
    return !this.closed && this.client.connectivity.state === 'READY';
  }

  private async firstAnswer(timeoutMs: number): Promise<void> {
    // Pending data is read before the wait ends, so that a response that arrived in time is used.
    const wait = new Wait(this.clock, timeoutMs, true);
    this.waiting.add(wait);
    await wait.over;
    this.waiting.delete(wait);
  }

  private stateChanged(state: Connectivity['state']): void {
    if (state !== 'READY') this.reset();
    else if (this.call === undefined && this.restart === undefined) this.start();
  }

  private reset(): void {
    this.discardCall();
    this.restart?.clear();
    this.restart = undefined;
    this.failures = 0;
    this.setAnswer(undefined);
  }

  private discardCall(): void {
    const { call } = this;
    this.call = undefined;
    call?.stream?.cancel();
  }

  private start(): void {
    const call: WatchCall = { startedAt: this.clock.now(), answered: false, stream: undefined };
    this.call = call;
    this.client
      .openStream(
        WATCH,
        { service: this.service },
        {
          onMessage: (message) => {
            if (this.call !== call) return;
            call.answered = true;
            this.setAnswer({ kind: 'status', status: servingStatusOf(message) });
          },
          onEnd: (end) => {
            if (this.call !== call) return;
            if (end === undefined) this.startAfter(restartDelayMs(this.random));
            else this.ended(call, end);
          },
          onConnectionEnd: () => {
            if (this.call === call) this.startAfter(restartDelayMs(this.random));
          },
        },
      )
      .then(
        (stream) => {
          if (this.call !== call) stream?.cancel();
          // The channel is READY but has no connection for the stream.
          else if (stream === undefined) this.ended(call);
          else call.stream = stream;
        },
        () => {
          // The client's metadata function failed.
          if (this.call === call) this.ended(call, { code: StatusCode.INTERNAL, details: '' });
        },
      );
  }

  /** Schedules the next Watch, except after UNIMPLEMENTED. */
  private ended({ answered, startedAt }: WatchCall, end?: AuxiliaryStreamEnd): void {
    const livedMs = this.clock.now() - startedAt;
    const next = nextWatch({ answered, livedMs, failures: this.failures, end }, this.random);
    if (next.kind === 'unimplemented') {
      // The call is kept, because its stream reports the end of the connection.
      this.setAnswer({ kind: 'unimplemented' });
      return;
    }
    this.failures = next.failures;
    // If the Watch did not fail, checks wait for the response to the next Watch.
    const isFailure = next.kind === 'retry' && end !== undefined;
    this.startAfter(next.delayMs, isFailure ? failedAnswer(end) : undefined);
  }

  private startAfter(delayMs: number, answer?: ServingAnswer): void {
    this.discardCall();
    this.setAnswer(answer);
    if (!this.isReady) return;
    this.restart = this.clock.setTimer(() => {
      this.restart = undefined;
      if (this.isReady) this.start();
    }, delayMs);
  }

  private setAnswer(answer: ServingAnswer | undefined): void {
    this.answer = answer;
    if (answer === undefined && this.isReady) return;
    for (const wait of this.waiting) wait.end();
  }
}

function failedAnswer({ code, http }: AuxiliaryStreamEnd): ServingAnswer {
  return http === undefined ? { kind: 'failed', method: 'Watch', code } : { kind: 'http', details: http };
}
