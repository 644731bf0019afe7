import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { logVerbosity, experimental } from '@grpc/grpc-js';
import { Logger, type LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, type ResilientGrpcModuleOptions } from 'nestjs-resilient-grpc';
import { captureLeaks, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { bundled } from '../support/bundled.js';
import { freePort } from '../support/free-port.mjs';
import { ORDERS_PROTO } from '../nest/places.js';
import { CapturedLog } from '../support/captured-log.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

const CONTEXT = 'ResilientGrpc:grpc-js';
const APP = bundled(new URL('../support/grpc-js-log-app.mjs', import.meta.url));

interface WrittenLine {
  readonly level: string;
  readonly context: string;
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Runs an application in its own process. Returns stdout, the log lines of grpc-js, and stderr before and after the application closed.
 */
async function run(
  url: string,
  options: ResilientGrpcModuleOptions,
  env: Readonly<Record<string, string>>,
  timeoutMs = 500,
) {
  const args = [APP, url, JSON.stringify(options), String(timeoutMs)];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as WrittenLine);
  const [before, after] = stderr.split('--- closed\n');
  return { stdout, lines: lines.filter(({ context }) => context === CONTEXT), before, after };
}

describe('application with grpc-js traces', () => {
  // Only the connections of grpc-js write traces.
  const env = { GRPC_TRACE: 'subchannel', GRPC_VERBOSITY: 'DEBUG', NESTJS_RESILIENT_GRPC_TRANSPORT: 'grpc-js' };

  it('writes grpc-js traces of a refused connection to the logger, and to stderr after the application has closed', async () => {
    const url = `127.0.0.1:${await freePort()}`;
    const { lines, before, after } = await run(url, { grpcJsLog: 'debug' }, env);
    const refused = lines.find(({ text }) => text.includes('ECONNREFUSED'));
    expect(refused).toMatchObject({ level: 'debug', fields: { event: 'grpc-js', tracer: 'subchannel' } });
    expect(refused?.text).toMatch(/^subchannel: \(\d+\) /);
    expect(refused?.fields['msg']).toBe(refused?.text);
    expect(before).toBe('');
    expect(after).toMatch(/^D \S+ \| v\S+ \d+ \| subchannel \| .*ECONNREFUSED/m);
  });

  it('writes no grpc-js traces if grpcJsLog is info', async () => {
    const { lines, before } = await run(`127.0.0.1:${await freePort()}`, { grpcJsLog: 'info' }, env);
    expect([lines, before]).toEqual([[], '']);
  });

  it('leaves the grpc-js log on stderr if grpcJsLog is not set', async () => {
    const { lines, before } = await run(`127.0.0.1:${await freePort()}`, {}, env);
    expect(lines).toEqual([]);
    expect(before).toMatch(/^D .*ECONNREFUSED/m);
  });

  it('writes each grpc-js trace on one line and masks secrets in headers', async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
    onTestFinished(() => server.close());
    const { lines, stdout } = await run(server.url, { grpcJsLog: 'debug' }, { GRPC_TRACE: 'all' }, 60_000);
    expect(server.counts('Get').calls).toBe(1);
    expect(lines.length).toBeGreaterThan(20);
    expect(stdout).not.toContain('sesame');
    for (const { text } of lines) expect(text).not.toMatch(/\n|\\u000a/);
  });
});

/** Starts an application without clients. */
async function startApp(root: ResilientGrpcModuleOptions, logger: LoggerService) {
  const imports = [ResilientGrpcModule.forRoot(root)];
  return NestFactory.createApplicationContext({ module: class AppModule {}, imports }, { logger, abortOnError: false });
}

/** Logs one entry at each of the levels error, info, and debug through grpc-js. */
function logThroughGrpcJs(subject: string): void {
  experimental.log(logVerbosity.ERROR, `${subject} failed`, { code: 14 });
  experimental.log(logVerbosity.INFO, `${subject} informs`);
  experimental.log(logVerbosity.DEBUG, `${subject} debugs`);
}

const texts = (log: CapturedLog) =>
  log.lines.filter(({ context }) => context === CONTEXT).map(({ level, text }) => `${level} ${text}`);

describe('several applications in a process', () => {
  let stderr: string[];
  beforeEach(() => {
    stderr = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => stderr.push(String(chunk)) > 0);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    Logger.overrideLogger(false);
  });

  it('writes each grpc-js log entry once, filtered by the most verbose level of the open applications, until the last application closes', async () => {
    const log = new CapturedLog();
    const first = await startApp({ grpcJsLog: 'error' }, log);
    logThroughGrpcJs('one');
    const second = await startApp({ grpcJsLog: 'info' }, log);
    logThroughGrpcJs('two');
    await second.close();
    logThroughGrpcJs('three');
    await first.close();
    logThroughGrpcJs('four');
    expect(texts(log)).toEqual([
      'error one failed { code: 14 }',
      'error two failed { code: 14 }',
      'log two informs',
      'error three failed { code: 14 }',
    ]);
    expect(stderr).toEqual(['E four failed { code: 14 }\n']);
  });

  it('writes the grpc-js log to stderr again if the application fails to start', async () => {
    const log = new CapturedLog();
    const wrong = ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: '' }]);
    const imports = [ResilientGrpcModule.forRoot({ grpcJsLog: 'error' }), wrong];
    const start = NestFactory.createApplicationContext(
      { module: class AppModule {}, imports },
      { logger: log, abortOnError: false },
    );
    await expect(start).rejects.toThrow('url');
    logThroughGrpcJs('five');
    expect(texts(log)).toEqual([]);
    expect(stderr).toEqual(['E five failed { code: 14 }\n']);
  });

  it('does not write grpc-js log entries that the logger of the application causes', async () => {
    const log = new CapturedLog();
    vi.spyOn(log, 'error').mockImplementation((message, ...rest) => {
      CapturedLog.prototype.log.call(log, message, ...rest);
      experimental.log(logVerbosity.ERROR, 'the logger makes a gRPC call');
    });
    const app = await startApp({ grpcJsLog: 'error' }, log);
    logThroughGrpcJs('six');
    await app.close();
    expect(texts(log)).toEqual(['log six failed { code: 14 }']);
  });
});

describe('grpcJsLog', () => {
  it('fails at startup with an error that lists the known levels if the grpcJsLog level is unknown', async () => {
    const wrong: object = { grpcJsLog: 'trace' };
    await expect(startApp(wrong, new CapturedLog())).rejects.toThrow(
      `forRoot.grpcJsLog: expected ("error" | "info" | "debug"), got "trace"`,
    );
  });
});
