import { describe, expect, it } from 'vitest';
import { readArguments, type DoctorOptions, shutdownCheck, type ShutdownTimes } from './doctor-options.js';

function optionsOf(...args: string[]): DoctorOptions {
  const read = readArguments(['doctor', ...args]);
  if (read.kind !== 'run') throw new Error(JSON.stringify(read));
  return read.options;
}

function problemsIn(...args: string[]): readonly string[] {
  const read = readArguments(args);
  return read.kind === 'wrong' ? read.problems.map(({ path, message }) => `${path}: ${message}`) : [];
}

describe('doctor arguments', () => {
  it('reads the target of the doctor and applies the default options', () => {
    expect(optionsOf('orders:50051')).toEqual({
      target: 'orders:50051',
      tls: undefined,
      service: undefined,
      keepaliveMs: undefined,
      idleMs: undefined,
      timeoutMs: 20_000,
      connectTimeoutMs: 5_000,
      serviceConfigFile: undefined,
      protoFile: undefined,
      shutdown: undefined,
      json: false,
    });
  });

  it.each([
    [['--tls'], { ca: undefined }],
    [['--ca', 'ca.pem'], { ca: 'ca.pem' }],
    [['--server-name', 'orders'], { serverName: 'orders' }],
    [['--cert', 'c.pem', '--key', 'k.pem'], { cert: 'c.pem', key: 'k.pem' }],
  ])('enables TLS for the doctor arguments %j', (args, tls) => {
    expect(optionsOf('orders:50051', ...args).tls).toMatchObject(tls);
  });

  it('fills in the shutdown times that the doctor arguments omit, with the defaults of the library and of Kubernetes', () => {
    expect(optionsOf('--readiness-delay', '5s').shutdown).toEqual({
      drainMs: 8_000,
      readinessDelayMs: 5_000,
      gracePeriodMs: 30_000,
      preStopMs: 0,
    });
    expect(optionsOf('--drain', '0s').shutdown?.drainMs).toBe(0);
  });

  it('accepts doctor arguments with durations in minutes', () => {
    expect(optionsOf('orders:50051', '--idle', '10m', '--timeout', '1.5m')).toMatchObject({
      idleMs: 600_000,
      timeoutMs: 90_000,
    });
  });

  it('requires no doctor target for a service config file', () => {
    expect(optionsOf('--service-config', 'config.json')).toMatchObject({ target: undefined });
  });

  it.each([
    [['doctor'], 'target: expected a target, as in the url of a client, got nothing; write doctor orders:50051'],
    [['doctr', 'orders:50051'], `command: expected 'doctor' or 'migrate', got "doctr"; write doctor <target>`],
    [['doctor', 'a:1', 'b:1'], 'target: expected one target, got "a:1" and "b:1"'],
    [['doctor', 'a:1', '--keepalive', '10'], '--keepalive: expected a duration above 0 such as 30s or 10m, got "10"'],
    [['doctor', 'a:1', '--timeout', '500ms'], '--timeout: expected a duration above 0 such as 30s or 10m, got "500ms"'],
    [
      ['doctor', '--drain', '5 parsecs'],
      '--drain: expected a duration of 0 or more such as 30s or 10m, got "5 parsecs"',
    ],
    [['doctor', 'a:1', '--keepalve', '10s'], "arguments: Unknown option '--keepalve'"],
    [['doctor', 'a:1', '--ca'], "arguments: Option '--ca <value>' argument missing"],
  ])('rejects invalid doctor arguments: %j', (args, problem) => {
    expect(problemsIn(...args)).toEqual([problem]);
  });

  it.each([
    [['--service-config', 'a.json', '--ca', 'ca.pem'], '--ca', 'requires a target; write doctor <host:port>'],
    [['--drain', '10s', '--keepalive', '20s'], '--keepalive', 'requires a target; write doctor <host:port>'],
    [['orders:50051', '--proto', 'a.proto'], '--proto', 'requires --service-config FILE'],
  ])('rejects a doctor argument that would have no effect: %j', (args, path, message) => {
    expect(readArguments(['doctor', ...args])).toEqual({
      kind: 'wrong',
      problems: [{ path, message: expect.stringContaining(message) }],
    });
  });

  it('reports all problems of the doctor arguments at once', () => {
    expect(problemsIn('doctor', 'a:1', '--timeout', '1', '--drain', 'x')).toHaveLength(2);
  });

  it.each([[[]], [['--help']], [['help']], [['doctor', '-h']]])('returns the help for the arguments %j', (args) => {
    expect(readArguments(args).kind).toBe('help');
  });
});

const VALID_TIMES: ShutdownTimes = { drainMs: 20_000, readinessDelayMs: 5_000, gracePeriodMs: 30_000, preStopMs: 0 };

describe('shutdownCheck', () => {
  it('passes the shutdown check if preStop and the drain, which includes the readiness delay, end before SIGKILL', () => {
    expect(shutdownCheck(VALID_TIMES)).toMatchObject({
      status: 'ok',
      message: 'drain 20 s (including a readiness delay of 5 s); SIGKILL after 30 s',
      facts: { totalMs: 20_000, spareMs: 10_000 },
    });
  });

  it('fails the shutdown check if the drain does not end before SIGKILL, and suggests a grace period', () => {
    expect(shutdownCheck({ ...VALID_TIMES, preStopMs: 10_000 })).toMatchObject({
      status: 'failed',
      message:
        'the drain does not end before SIGKILL: preStop 10 s + drain 20 s (including a readiness delay of 5 s) = 30 s; SIGKILL after 30 s',
      remedy: 'set terminationGracePeriodSeconds to 32 or more, or reduce drain.timeoutMs',
    });
    expect(shutdownCheck({ ...VALID_TIMES, preStopMs: 5_000 }).status).toBe('ok');
  });

  it('fails the shutdown check if the readiness delay is as long as the whole drain', () => {
    const noTime = { status: 'failed', message: expect.stringContaining('the drain leaves no time') as string };
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 20_000 })).toMatchObject(noTime);
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0, drainMs: 0 })).toMatchObject(noTime);
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 19_999 })).toMatchObject({ status: 'ok' });
  });

  it('warns if neither a preStop hook nor a readiness delay waits until the pod is removed from its service', () => {
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...VALID_TIMES, readinessDelayMs: 0, preStopMs: 5_000 })).toMatchObject({ status: 'ok' });
  });

  it('warns if less than 2 s remain between the drain and SIGKILL for the shutdown hooks of the application', () => {
    expect(shutdownCheck({ ...VALID_TIMES, drainMs: 28_001 })).toMatchObject({ status: 'warning' });
    expect(shutdownCheck({ ...VALID_TIMES, drainMs: 28_000 })).toMatchObject({ status: 'ok' });
  });
});
