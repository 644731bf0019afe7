import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest } from '../../call/attempt.js';

/**
 * Base class of a stage between an attempt and its listener. Forwards every operation and event; a stage overrides those that it changes.
 */
export abstract class StagedAttempt implements Attempt, AttemptListener {
  protected abstract readonly inner: Attempt;

  constructor(
    protected readonly request: AttemptRequest,
    private readonly listener: AttemptListener,
  ) {}

  get peer(): string | undefined {
    return this.inner.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.inner.authContext;
  }

  get unsentBecause(): string | undefined {
    return this.inner.unsentBecause;
  }

  startRead(): void {
    this.inner.startRead();
  }

  send(message: unknown, written?: () => void): void {
    this.inner.send(message, written);
  }

  halfClose(): void {
    this.inner.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    this.inner.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.stop();
    this.inner.abandon(because);
  }

  onHeaders(headers: Metadata): void {
    this.listener.onHeaders(headers);
  }

  onMessage(message: unknown): void {
    this.listener.onMessage(message);
  }

  onEnd(end: AttemptEnd): void {
    this.stop();
    this.listener.onEnd(end);
  }

  /** Called when the attempt ends or is abandoned. */
  protected stop(): void {
    // A stage without timers has nothing to stop.
  }
}
