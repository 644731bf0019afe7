import { counted, duration } from '../telemetry/log/log-text.js';
import type { IdleProgress } from './measure-idle.js';

/** A terminal line that each update overwrites. */
export class ProgressLine {
  private isShown = false;

  constructor(private readonly stderr: { write(text: string): unknown }) {}

  readonly show = ({ elapsedMs, limitMs, idle, answeredMs }: IdleProgress): void => {
    const lastAnswer = answeredMs === 0 ? '' : `; last answer after ${duration(answeredMs)}`;
    const elapsed = `${duration(Math.floor(elapsedMs / 1_000) * 1_000)} of ${duration(limitMs)}`;
    this.stderr.write(`${ERASE}idle for ${elapsed}: ${counted(idle, 'connection')} left${lastAnswer}`);
    this.isShown = true;
  };

  erase(): void {
    if (this.isShown) this.stderr.write(ERASE);
    this.isShown = false;
  }
}

const ERASE = '\r\u001b[2K';
