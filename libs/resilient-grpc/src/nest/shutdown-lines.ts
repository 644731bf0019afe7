import type { EventFields } from '../telemetry/log/log-line.js';
import { COMPLETE_STREAMS, duration } from '../telemetry/log/log-text.js';
import type { ResolvedDrain } from './module-options.js';

/** Module with the `drain` options of a server or of the clients. */
type DrainedModule = 'ResilientGrpcModule' | 'ResilientGrpcServerModule';

/**
 * Returns the line for the start of a shutdown.
 *
 * @param open description of the running calls, such as '2 calls to /orders.v1.Orders/Get'
 */
export function shutdownLine(
  open: string,
  { timeoutMs, readinessDelayMs }: ResolvedDrain,
  module: DrainedModule,
): readonly [text: string, fields: EventFields] {
  const delay =
    readinessDelayMs === 0 ? '' : `; new calls are accepted for ${duration(readinessDelayMs)} (readinessDelayMs)`;
  const end =
    timeoutMs === 0 && module === 'ResilientGrpcModule'
      ? 'before Nest has closed its servers'
      : `within ${duration(timeoutMs)}`;
  const limit = `calls that do not end ${end} (drain.timeoutMs of ${module}${timeoutMs === 0 ? ' is 0' : ''}) are cut off`;
  const streams = module === 'ResilientGrpcServerModule' ? "; streams end earlier unless onDrain is 'finish'" : '';
  const text = `shutdown started with ${open} running; ${limit}${streams}${delay}`;
  return [text, { event: 'drain-start', open, timeoutMs, readinessDelayMs }];
}

const STREAM_REMEDIES: Readonly<Record<DrainedModule, string>> = {
  ResilientGrpcModule: COMPLETE_STREAMS,
  ResilientGrpcServerModule: "set onDrain: 'fail' or 'complete'",
};

/**
 * Returns the remedy for calls that were cut off at the timeout; '' if a second SIGINT cut them off earlier.
 *
 * @param durationMs time since the shutdown started
 * @param hasStream true if a response stream with `onDrain: 'finish'` was cut off; more time does not help a stream without an end
 */
export function cutOffRemedy(durationMs: number, timeoutMs: number, module: DrainedModule, hasStream: boolean): string {
  if (durationMs < timeoutMs) return '';
  const streams = hasStream ? `for streams without an end, ${STREAM_REMEDIES[module]}; ` : '';
  const others = hasStream ? 'other calls' : 'calls';
  return `; ${streams}to give ${others} more time, raise drain.timeoutMs (${duration(timeoutMs)}) of ${module}.forRoot()`;
}
