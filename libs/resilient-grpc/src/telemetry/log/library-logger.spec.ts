import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { LibraryLogger } from './library-logger.js';
import { LogLine } from './log-line.js';

afterEach(() => {
  Logger.overrideLogger(new ConsoleLogger());
  vi.restoreAllMocks();
});

const line = new LogLine('warn', 'outage: lost', { event: 'outage' });

describe('LibraryLogger', () => {
  it('accepts only log lines with an event (checked by the type checker)', () => {
    type Parameter = Parameters<LibraryLogger['debug' | 'log' | 'warn' | 'error']>;
    expectTypeOf<Parameter>().toEqualTypeOf<[line: LogLine]>();
    expectTypeOf<ConstructorParameters<typeof LogLine>[2]>().toExtend<{ readonly event: string }>();
  });
});

describe('application logger that throws', () => {
  it('emits one process warning and throws nothing if the application logger throws', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const fail = () => {
      throw new TypeError('no text');
    };
    Logger.overrideLogger({ log: fail, warn: fail, error: fail, debug: fail } satisfies LoggerService);
    const logger = new LibraryLogger('ResilientGrpc:orders');
    for (const level of ['warn', 'log', 'error', 'debug'] as const) logger[level](line);
    expect(warned.mock.calls).toEqual([
      [
        expect.stringMatching(
          /^The application's logger threw TypeError: no text; nestjs-resilient-grpc loses log lines until you fix the logger\. First lost line: outage: lost$/,
        ),
      ],
    ]);
  });
});

describe('LibraryLogger', () => {
  it('passes each log line with its context to the logger method of its level', () => {
    const got: unknown[] = [];
    const keep =
      (level: string) =>
      (...args: unknown[]) => {
        got.push([level, ...args.filter((arg) => arg !== undefined)]);
      };
    Logger.overrideLogger({ log: keep('log'), warn: keep('warn'), error: keep('error'), debug: keep('debug') });
    const logger = new LibraryLogger('ResilientGrpc:orders');
    const levels = ['warn', 'log', 'error', 'debug'] as const;
    for (const level of levels) logger[level](line);
    expect(got).toEqual(levels.map((level) => [level, line, 'ResilientGrpc:orders']));
  });
});
