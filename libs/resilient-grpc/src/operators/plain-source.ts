import type { Observable } from 'rxjs';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { StoppableRun } from './stoppable-run.js';

/** Messages that are held for a reader who has enough. */
export const MAX_HELD = 1_000;

/** Of what has no flow control, and so no say in it. */
export const PLAIN_PREFETCH = 16;

/**
 * An Observable as a source of a stream. It cannot be slowed: what comes while the sink has enough is held, up to a bound. What
 * came before its end is handed over before that.
 */
export class PlainSource<T> implements StreamSource {
  readonly prefetch = PLAIN_PREFETCH;

  private readonly run = new StoppableRun<T>();
  private readonly held: T[] = [];
  private end: (() => void) | undefined;
  private isWanted = true;
  private isGiving = false;

  constructor(
    private readonly observable: Observable<T>,
    private readonly sink: StreamSink<T>,
    /** More came than can be held; nothing comes any more. */
    private readonly overflow: () => void,
  ) {}

  begin(): void {
    this.run.start(this.observable, {
      next: (message) => {
        this.take(message);
      },
      error: (error: unknown) => {
        this.endWith(() => {
          this.sink.error(error);
        });
      },
      complete: () => {
        this.endWith(() => {
          this.sink.complete();
        });
      },
    });
  }

  readOn(): void {
    this.isWanted = true;
    this.give();
  }

  unsubscribe(): void {
    this.held.length = 0;
    this.end = undefined;
    this.run.stop();
  }

  private take(message: T): void {
    this.held.push(message);
    this.give();
    if (this.held.length <= MAX_HELD) return;
    this.unsubscribe();
    this.overflow();
  }

  private endWith(end: () => void): void {
    this.end = end;
    this.give();
  }

  /** Not from within itself: a sink that makes its source emit gets that next, in order, and the stack stays flat. */
  private give(): void {
    if (this.isGiving) return;
    this.isGiving = true;
    while (this.isWanted && this.held.length > 0) {
      // True: there is one, as the length says.
      this.isWanted = this.sink.next(this.held.shift() as T) !== false;
    }
    this.isGiving = false;
    if (this.held.length > 0) return;
    const { end } = this;
    this.end = undefined;
    end?.();
  }
}
