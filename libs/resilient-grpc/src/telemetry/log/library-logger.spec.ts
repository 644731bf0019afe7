import { ConsoleLogger, Logger, type LoggerService } from '@nestjs/common';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LibraryLogger } from './library-logger.js';
import { LogLine } from './log-line.js';

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
