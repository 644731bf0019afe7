import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LibraryLogger, LogLine } from './library-logger.js';
import { inspect } from 'node:util';

afterEach(() => {
  Logger.overrideLogger(new ConsoleLogger());
  vi.restoreAllMocks();
});

const LEVELS = ['warn', 'log', 'error', 'debug'] as const;

describe('LibraryLogger', () => {
  it('emits one process warning and throws nothing if the application logger throws', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const fail = () => {
      throw new TypeError('no text');
    };
    Logger.overrideLogger({ log: fail, warn: fail, error: fail, debug: fail } satisfies LoggerService);
    const logger = new LibraryLogger('ResilientGrpc:orders');
    for (const level of LEVELS) logger.write(level, 'outage: lost', { event: 'outage' });
    expect(warned.mock.calls).toEqual([
      [
        expect.stringMatching(
          /^The application's logger threw TypeError: no text; nestjs-resilient-grpc loses log lines until you fix the logger\. First lost line: outage: lost$/,
        ),
      ],
    ]);
  });

  it('passes each log line with its context to the logger method of its level', () => {
    const got: unknown[] = [];
    const keep =
      (level: string) =>
      (...args: unknown[]) => {
        got.push([level, ...args.filter((arg) => arg !== undefined)]);
      };
    Logger.overrideLogger({ log: keep('log'), warn: keep('warn'), error: keep('error'), debug: keep('debug') });
    const logger = new LibraryLogger('ResilientGrpc:orders');
    const fields = { event: 'outage' };
    for (const level of LEVELS) logger.write(level, 'outage: lost', fields);
    const line = (level: (typeof LEVELS)[number]) => new LogLine(level, 'outage: lost', fields);
    expect(got).toEqual(LEVELS.map((level) => [level, line(level), 'ResilientGrpc:orders']));
  });
});

const line = new LogLine('warn', 'outage: lost', { client: 'orders', event: 'outage', waiting: 3, peer: undefined });

describe('LogLine', () => {
  it('prints the message of a log line', () => {
    expect(String(line)).toBe('outage: lost');
    expect(inspect(line)).toBe('outage: lost');
    expect(inspect(line, { colors: true })).toBe('\u001b[33moutage: lost\u001b[39m');
    expect(line.message).toBe('outage: lost');
  });

  it('serializes a log line to its fields, with the message as msg', () => {
    const fields = { msg: 'outage: lost', client: 'orders', event: 'outage', waiting: 3 };
    expect(JSON.parse(JSON.stringify(line))).toEqual(fields);
    expect(Object.assign({}, line)).toEqual(fields);
  });

  it('makes a log line behave like a string in code that expects a string', () => {
    // Some loggers expect a string but receive a log line.
    const text = line as unknown as string;
    expect(text.replace('lost', 'back')).toBe('outage: back');
    expect(text.includes('lost') && text.startsWith('outage') && /^outage: lost$/.test(text)).toBe(true);
    expect([text.length, text.toUpperCase(), text.slice(0, 6), text.split(': ')]).toEqual([
      12,
      'OUTAGE: LOST',
      'outage',
      ['outage', 'lost'],
    ]);
    expect(Array.from(text).join('')).toBe('outage: lost');
    expect([`${text}!`, text + '!', [text, 'x'].join(' ')]).toEqual([
      'outage: lost!',
      'outage: lost!',
      'outage: lost x',
    ]);
  });

  it('enumerates only the fields of a log line', () => {
    const seen: string[] = [];
    for (const key in line) seen.push(key);
    expect(seen).toEqual(['msg', 'client', 'event', 'waiting']);
    expect(Object.keys(line)).toEqual(seen);
  });

  it('prints a log line as a plain object if it is nested in another object', () => {
    expect(inspect({ line }, { breakLength: Infinity })).toBe(
      "{ line: { msg: 'outage: lost', client: 'orders', event: 'outage', waiting: 3 } }",
    );
  });

  it('prints the stack of a log line below the message, as ConsoleLogger does', () => {
    const failed = new LogLine('error', 'failed', { event: 'handler-failed', stack: 'Error: x\n    at a.ts:1:1' });
    expect(inspect(failed)).toBe('failed\nError: x\n    at a.ts:1:1');
    expect(inspect(failed, { colors: true })).toBe('\u001b[31mfailed\u001b[39m\nError: x\n    at a.ts:1:1');
  });
});
