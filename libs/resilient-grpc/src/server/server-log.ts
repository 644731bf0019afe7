import type { GrpcServerEvent } from '../call/server-event.js';
import { describeValue } from '../policy/options/describe-value.js';
import { LogLine, type LogFields, type LogLevel, type LogSink } from '../telemetry/log/log-line.js';
import { counted, duration, oneLine, stackOf } from '../telemetry/log/log-text.js';
import { LogDeduplicator } from '../telemetry/log/log-deduplicator.js';
import { untestedVersionLine } from '../telemetry/log/untested-version-line.js';
import type { Clock } from '../time/clock.js';

type EventOf<T extends GrpcServerEvent['type']> = Extract<GrpcServerEvent, { readonly type: T }>;

const SUMMARY_MS = 60_000;
const PULLED = 'return an async generator, which is pulled as the client reads';

/**
 * Writes server events to the log. A handler fault is a warning, or an error if it is reported nowhere else. An effect of an option,
 * such as an idle timeout of a stream, is an informational line. Each event is logged at most once a minute per method, with the
 * number of repetitions. Ends of connections are logged at debug level. `ServerLifecycle` logs the drain.
 */
export class ServerLog {
  private readonly repeats: LogDeduplicator<() => LogLine>;

  /** @param debugs returns true if the debug level is enabled */
  constructor(
    private readonly sink: LogSink,
    clock: Clock,
    private readonly debugs: () => boolean,
  ) {
    this.repeats = new LogDeduplicator(clock, SUMMARY_MS, (build, repeats) => {
      const { level, msg, fields } = build();
      // The stack was logged with the first occurrence.
      const { stack: _shown, ...others } = fields;
      sink[level](new LogLine(level, `${msg} (${String(repeats)} more in the last minute)`, { ...others, repeats }));
    });
  }

  take(event: GrpcServerEvent): void {
    switch (event.type) {
      case 'handler-failed':
        this.failed(event);
        return;
      case 'handler-leak':
        this.say(
          'warn',
          event,
          `handler still running ${duration(event.overMs)} after the call ended; stop it with @CallSignal(), ` +
            'Observable teardown or `finally`',
          { overMs: Math.round(event.overMs) },
        );
        return;
      case 'responses-overflow':
        this.say(
          'warn',
          event,
          `stream ended: its Observable was ${String(event.bytes)} bytes ahead of the client ` +
            `(maxQueuedResponseBytes); ${PULLED}`,
          { bytes: event.bytes },
        );
        return;
      case 'responses-burst':
        this.say(
          'warn',
          event,
          `an Observable emitted ${counted(event.messages, 'response')} at once, all buffered in memory; ${PULLED}`,
          { messages: event.messages },
        );
        return;
      case 'extra-response':
        this.say('warn', event, 'unary handler emitted another value after its response; the value was dropped');
        return;
      case 'stream-idle':
        this.say(
          'log',
          event,
          `stream from ${event.peer} ended: no message for ${duration(event.idleMs)} (streamIdleTimeoutMs)`,
          { peer: event.peer, idleMs: Math.round(event.idleMs) },
        );
        return;
      case 'connection-end': {
        const { type, peer, reason } = event;
        if (!this.debugs()) return;
        this.sink.debug(
          new LogLine('debug', `connection from ${peer} ended: ${ENDS[reason]}`, { event: type, peer, reason }),
        );
        return;
      }
      case 'untested-version':
        this.sink.warn(untestedVersionLine(event));
        return;
      case 'call-start':
      case 'call-end':
      case 'drain':
        return;
    }
  }

  /** Writes pending summary lines and clears the timers. */
  close(): void {
    this.repeats.close();
  }

  private say(
    level: LogLevel,
    event: { readonly type: string; readonly path: string },
    text: string,
    fields: LogFields = {},
  ): void {
    this.sayBuilt(event, () => lineOf(level, event, text, fields));
  }

  /** Builds lines lazily: only for lines that are written, because there may be thousands of failures per second. */
  private sayBuilt({ type, path }: { readonly type: string; readonly path: string }, build: () => LogLine): void {
    this.repeats.say(`${path} ${type}`, build, () => {
      const line = build();
      this.sink[line.level](line);
    });
  }

  private failed(event: EventOf<'handler-failed'>): void {
    this.sayBuilt(event, () => {
      const { error } = event;
      const what = error instanceof Error ? `${error.name}: ${error.message}` : textOf(error);
      const stack =
        error instanceof Error && error.stack !== undefined ? stackOf(what, error.message, error.stack) : undefined;
      return lineOf('error', event, `handler failed: ${oneLine(what)}`, {
        error: oneLine(what),
        stack,
      });
    });
  }
}

function lineOf(
  level: LogLevel,
  { type, path }: { readonly type: string; readonly path: string },
  text: string,
  fields: LogFields,
): LogLine {
  return new LogLine(level, `${path}: ${text}`, { event: type, path, ...fields });
}

const ENDS: Readonly<Record<EventOf<'connection-end'>['reason'], string>> = {
  age: 'maximum age reached (maxConnectionAgeMs)',
  'age-grace': 'calls still open after maxConnectionAgeGraceMs',
  idle: 'no calls for connectionIdleTimeoutMs',
  keepalive: 'keepalive ping not answered',
  'incomplete-request': 'only incomplete requests open at the drain',
};

/** Describes a thrown value that is not an Error: a string as is, others only by their kind, because values may be secrets. */
function textOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : describeValue(thrown);
}
