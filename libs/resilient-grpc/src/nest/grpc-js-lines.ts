import { redirectGrpcJsLog, type GrpcJsLogLevel } from '../channel/grpc-js-log.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import type { LogLevel } from '../telemetry/log/log-line.js';
import { oneLine } from '../telemetry/log/log-text.js';

const LEVELS: Readonly<Record<GrpcJsLogLevel, LogLevel>> = { error: 'error', info: 'log', debug: 'debug' };

/** The part of a trace before its text: time, version, process ID, and tracer. Nest's logger adds the time and the process ID itself. */
const TRACE_HEAD = /^\S+ \| v\S+ \d+ \| (\w+) \| /;

/** Maximum length of a line in characters. Traces contain the headers and the service config. */
const MAX_LENGTH = 1_000;

/** Writes the log of grpc-js to Nest's logger, one line per entry. Returns a function that stops the redirection. */
export function logGrpcJs(level: GrpcJsLogLevel): () => void {
  const logger = new LibraryLogger('ResilientGrpc:grpc-js');
  return redirectGrpcJsLog(level, (entryLevel, entry) => {
    const lineLevel = LEVELS[entryLevel];
    // Lines that Nest would drop are not formatted, because traces can have thousands of lines.
    if (lineLevel === 'debug' && !logger.isDebugEnabled) return;
    const [head = '', tracer] = TRACE_HEAD.exec(entry) ?? [];
    // Headers and settings are listed on further lines, which are indented.
    const text = oneLine(entry.slice(head.length).replace(/\n\s*/g, ' '), MAX_LENGTH);
    const message = tracer === undefined ? text : `${tracer}: ${text}`;
    logger.write(lineLevel, message, { event: 'grpc-js', tracer });
  });
}
