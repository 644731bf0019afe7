import { describeValue } from '../client/settings/describe-value.js';
import type { LogSink } from '../telemetry/client-log.js';
import { counted, duration, oneLine } from '../telemetry/log-text.js';
import { RepeatLimit } from '../telemetry/repeat-limit.js';
import type { Clock } from '../time/clock.js';
import type { GrpcServerEvent } from '../call/server-event.js';

/** Where lines of a server go; Nest's logger is one. */
export interface ServerLogSink extends LogSink {
  error(message: string, stack?: string): void;
}

type EventOf<T extends GrpcServerEvent['type']> = Extract<GrpcServerEvent, { readonly type: T }>;

const SUMMARY_MS = 60_000;
const PULLED = 'answer with an async generator, which is pulled as the client reads';

/**
 * What a server writes to the log. A fault of a handler is a warning, one that nobody else tells an error; what an option asked for
 * (a stream that was idle for too long) is a line. Each is told once a minute by method, with how often more it was. Ends of
 * connections are there for who looks for them. The drain has a line of its own, from where it is run.
 */
export class ServerLog {
  private readonly errors: RepeatLimit;
  private readonly warnings: RepeatLimit;
  private readonly lines: RepeatLimit;

  constructor(
    private readonly sink: ServerLogSink,
    clock: Clock,
  ) {
    const limit = (write: (line: string) => void) =>
      new RepeatLimit(clock, SUMMARY_MS, (text, count) => {
        write(`${text} (${String(count)} more in the last minute)`);
      });
    this.errors = limit((line) => {
      sink.error(line);
    });
    this.warnings = limit((line) => {
      sink.warn(line);
    });
    this.lines = limit((line) => {
      sink.log(line);
    });
  }

  take(event: GrpcServerEvent): void {
    switch (event.type) {
      case 'handler-failed':
        this.failed(event);
        return;
      case 'handler-leak':
        this.warn(
          event,
          `its handler still runs ${duration(event.overMs)} after the call ended; end it by @CallSignal(), or by what ` +
            'Observables and async generators do when they are left',
        );
        return;
      case 'responses-overflow':
        this.warn(
          event,
          `an Observable ran ${String(event.bytes)} bytes ahead of its client, and its stream was ended ` +
            `(maxQueuedResponseBytes); ${PULLED}`,
        );
        return;
      case 'responses-at-once':
        this.warn(
          event,
          `an Observable pushed ${counted(event.messages, 'response')} at once, which are held in memory; ${PULLED}`,
        );
        return;
      case 'extra-response':
        this.warn(event, 'a handler that answers once emitted again after its answer, which was dropped');
        return;
      case 'stream-idle':
        this.lines.say(
          event.path,
          `${event.path}: stream of ${event.peer} ended, as no message passed for ${duration(event.idleMs)} (streamIdleTimeoutMs)`,
          (line) => {
            this.sink.log(line);
          },
        );
        return;
      case 'connection-end':
        this.sink.debug(`connection of ${event.peer} ended: ${ENDS[event.because]}`);
        return;
      case 'call-start':
      case 'call-end':
      case 'drain':
        return;
    }
  }

  /** Writes what was counted and not yet said, and leaves no timer behind. */
  close(): void {
    this.errors.close();
    this.warnings.close();
    this.lines.close();
  }

  private warn({ type, path }: { readonly type: string; readonly path: string }, text: string): void {
    this.warnings.say(`${path} ${type}`, `${path}: ${text}`, (line) => {
      this.sink.warn(line);
    });
  }

  private failed({ path, error }: EventOf<'handler-failed'>): void {
    const what = error instanceof Error ? `${error.name}: ${error.message}` : textOf(error);
    this.errors.say(path, `${path}: its handler failed: ${oneLine(what)}`, (line) => {
      this.sink.error(line, error instanceof Error ? error.stack : undefined);
    });
  }
}

const ENDS: Readonly<Record<EventOf<'connection-end'>['because'], string>> = {
  age: 'it was old enough (maxConnectionAgeMs)',
  'age-grace': 'calls on it outlasted maxConnectionAgeGraceMs',
  idle: 'it had no call for connectionIdleTimeoutMs',
  keepalive: 'it did not answer a ping (keepalive)',
  'half-request': 'it had begun a request and sent no more of it when the server drained',
};

/** What was thrown in place of an error: a text, or what kind of thing it is, as its values may be secrets. */
function textOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : describeValue(thrown);
}
