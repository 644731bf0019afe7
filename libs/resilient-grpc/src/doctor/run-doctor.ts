import { duration } from '../telemetry/log/log-text.js';
import type { CheckResult } from './check-result.js';
import { readArguments, type Env } from './doctor-options.js';
import { KEEPALIVE_PINGS } from './keepalive-pings.js';
import { HELP } from './help.js';
import { renderJson } from './render-json.js';
import { runChecks } from './run-checks.js';
import { plainPaint, renderCheck, renderSummary, terminalPaint } from './render-text.js';

/** The parts of `process` that the command uses. */
export interface Terminal {
  readonly env: Env;
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean; hasColors?(): boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

const OK = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** Runs `nestjs-resilient-grpc` with these arguments and returns its exit code. */
export async function runDoctor(args: readonly string[], { env, stdout, stderr }: Terminal): Promise<number> {
  const read = readArguments(args);
  if (read.kind === 'help') {
    stdout.write(`${HELP}\n`);
    return OK;
  }
  if (read.kind === 'wrong') {
    for (const { path, message } of read.problems) stderr.write(`${path}: ${message}\n`);
    stderr.write('see nestjs-resilient-grpc --help\n');
    return WRONG_USAGE;
  }
  const { options } = read;
  const paint = stdout.isTTY === true && stdout.hasColors?.() !== false ? terminalPaint : plainPaint;
  // The pings may take a minute, so announce the wait on a terminal.
  if (options.keepaliveMs !== undefined && stderr.isTTY === true) {
    stderr.write(`sending keepalive pings for ${duration(KEEPALIVE_PINGS * options.keepaliveMs)}\n`);
  }
  const results: CheckResult[] = [];
  for await (const result of runChecks(options, env)) {
    results.push(result);
    if (!options.json) stdout.write(renderCheck(result, paint));
  }
  stdout.write(options.json ? renderJson(options.target, results) : renderSummary(results, paint));
  return results.some(({ status }) => status === 'failed') ? FAILED : OK;
}
