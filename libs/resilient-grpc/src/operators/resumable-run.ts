import type { Observable } from 'rxjs';
import type { StreamScope } from '../call/stream-scope.js';
import type { StreamSink } from '../call/stream-source.js';
import type { ResumeError } from '../errors/resume-error.js';
import { CursorTrack, type CompareCursors } from '../policy/resume/cursor-track.js';
import type { EndedCall } from '../policy/resume/decide-resume.js';
import type { StatusCode } from '../status/status-code.js';
import { CallSequence, type SequenceSettings } from './call-sequence.js';
import { cannotPlace, poisoned } from './resume-failures.js';

/** Options of `resumable` with defaults applied. */
export interface ResumeSettings<T, C> extends SequenceSettings {
  readonly factory: (cursor: C, attempt: number) => Observable<T>;
  readonly cursor: (message: T) => C;
  readonly seed: C;
  readonly compare: CompareCursors<C>;
  readonly heartbeat: ((message: T) => boolean) | undefined;
  readonly onError: ((error: unknown, cursor: C) => EndedCall['asked']) | undefined;
  readonly resumesCompleted: boolean;
}

/** Runs one resumable stream, pushed or pulled, and delivers the new messages of each call. */
export class ResumableRun<T, C> extends CallSequence<T> {
  protected override readonly operator = 'resumable';

  private readonly track: CursorTrack<C>;

  constructor(
    private readonly settings: ResumeSettings<T, C>,
    sink: StreamSink<T>,
    outer?: StreamScope,
  ) {
    super(settings, sink, outer);
    this.track = new CursorTrack(settings.seed, settings.compare);
  }

  protected override get hasProgressed(): boolean {
    return this.track.progressed;
  }

  protected override make(): Observable<T> {
    this.track.callBegan();
    return this.settings.factory(this.track.cursor, this.resumes + 1);
  }

  protected override take(message: T): void {
    // Delivered even if the call ended meanwhile: the next call starts after this message.
    if (this.isNew(message) && !this.over()) this.handOver(message);
  }

  protected override endedInOrder(): void {
    if (this.settings.resumesCompleted) this.startNextCall(undefined);
    else this.succeed();
  }

  protected override ask(error: unknown): EndedCall['asked'] {
    return this.settings.onError?.(error, this.track.cursor);
  }

  protected override poisoned(error: unknown, code: StatusCode | undefined): ResumeError {
    return poisoned(error, code, this.track.cursor);
  }

  /** True if `message` must be delivered. Fails the stream if the position of its cursor is invalid. */
  private isNew(message: T): boolean {
    const { settings, track } = this;
    try {
      const isHeartbeat = settings.heartbeat?.(message) ?? false;
      const cursor = settings.cursor(message);
      if (isHeartbeat) {
        track.beat(cursor);
        return false;
      }
      const place = track.take(cursor);
      if (place === 'newer' || place === 'same') return true;
      if (place !== 'overlap') this.fail(cannotPlace(place, cursor, track.cursor));
    } catch (error) {
      this.fail(error);
    }
    return false;
  }
}
