import { describe, expect, it } from 'vitest';
import { readArguments, type DoctorOptions } from './doctor-options.js';

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
    [['doctor', 'a:1', '--keepalve', '10s'], "arguments: Unknown option '--keepalve'"],
    [['doctor', 'a:1', '--ca'], "arguments: Option '--ca <value>' argument missing"],
  ])('rejects invalid doctor arguments: %j', (args, problem) => {
    expect(problemsIn(...args)).toEqual([problem]);
  });

  it.each([
    [['--service-config', 'a.json', '--ca', 'ca.pem'], '--ca', 'requires a target; write doctor <host:port>'],
    [
      ['--service-config', 'a.json', '--keepalive', '20s'],
      '--keepalive',
      'requires a target; write doctor <host:port>',
    ],
    [['orders:50051', '--proto', 'a.proto'], '--proto', 'requires --service-config FILE'],
  ])('rejects a doctor argument that would have no effect: %j', (args, path, message) => {
    expect(readArguments(['doctor', ...args])).toEqual({
      kind: 'wrong',
      problems: [{ path, message: expect.stringContaining(message) }],
    });
  });

  it('reports all problems of the doctor arguments at once', () => {
    expect(problemsIn('doctor', 'a:1', '--timeout', '1', '--idle', 'x')).toHaveLength(2);
  });

  it.each([[[]], [['--help']], [['help']], [['doctor', '-h']]])('returns the help for the arguments %j', (args) => {
    expect(readArguments(args).kind).toBe('help');
  });
});
