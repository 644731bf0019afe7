import { aging } from './sections/aging.mjs';
import { bidi, stream, unary, upload } from './sections/calls.mjs';
import { firstCall } from './sections/first-call.mjs';
import { overloadSection } from './sections/overload.mjs';
import { recovery } from './sections/recovery.mjs';
import { server, serverStart } from './sections/server.mjs';
import { foreign } from './sections/foreign.mjs';
import { openStreams } from './sections/streams.mjs';

/**
 * A benchmark. Its options are `defaults`, changed by the command line, and the `entries` that it compares.
 *
 * @typedef {object} BenchSection
 * @property {boolean} [inTable] True for a benchmark of the overall table.
 * @property {Readonly<Record<string, any>>} defaults
 * @property {(options: any) => readonly any[]} entriesOf
 * @property {(options: any) => import('./report.mjs').Outline} outlineOf
 * @property {(options: any) => Promise<readonly import('./report.mjs').Row[]>} measure
 */

/** The benchmarks by name, in the order of the overall table. @type {Readonly<Record<string, BenchSection>>} */
export const SECTIONS = {
  unary,
  stream,
  upload,
  bidi,
  'open-streams': openStreams,
  recovery,
  'first-call': firstCall,
  aging,
  server,
  foreign,
  'server-start': serverStart,
  overload: overloadSection,
};
