import { ConsoleLogger, Logger } from '@nestjs/common';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { systemClock } from '../time/clock.js';
import { OpenTelemetry } from './open-telemetry.js';
import { ResilientGrpcTelemetryModule } from './resilient-grpc-telemetry.module.js';

describe('ResilientGrpcTelemetryModule.forRoot', () => {
  it.each([
    [undefined],
    [{}],
    [{ metrics: false }],
    [{ metrics: undefined, traces: true }],
    [{ traces: { client: false } }],
  ])('accepts the telemetry options %o', (options) => {
    expect(ResilientGrpcTelemetryModule.forRoot(options)).toMatchObject({ module: ResilientGrpcTelemetryModule });
  });

  it('reports every invalid telemetry option', () => {
    const options = { metrics: 'yes', trace: false, spans: true, traces: { server: 1, clients: true } } as object;
    expect(() => ResilientGrpcTelemetryModule.forRoot(options)).toThrow(
      new GrpcConfigurationError([
        {
          path: 'ResilientGrpcTelemetryModule.forRoot.traces.clients',
          message: "unknown option; did you mean 'client'?",
        },
        {
          path: 'ResilientGrpcTelemetryModule.forRoot.trace',
          message: "unknown option; did you mean 'traces'?",
        },
        {
          path: 'ResilientGrpcTelemetryModule.forRoot.spans',
          message: 'unknown option',
        },
        { path: 'ResilientGrpcTelemetryModule.forRoot.metrics', message: 'expected boolean, got "yes"' },
        { path: 'ResilientGrpcTelemetryModule.forRoot.traces.server', message: 'expected boolean, got 1' },
      ]),
    );
  });
});

describe('ResilientGrpcTelemetryModule', () => {
  it('starts the telemetry module without a registered SDK even if the logger of the application throws, and emits a process warning', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const fail = () => {
      throw new TypeError('no text');
    };
    Logger.overrideLogger({ log: fail, warn: fail, error: fail });
    onTestFinished(() => {
      Logger.overrideLogger(new ConsoleLogger());
      vi.restoreAllMocks();
    });
    const telemetry = new OpenTelemetry({ metrics: true, traces: { client: true, server: true } }, systemClock);
    new ResilientGrpcTelemetryModule(telemetry).onApplicationBootstrap();
    expect(warned.mock.calls).toEqual([
      [
        expect.stringMatching(
          /^The application's logger threw TypeError: no text; .*: no OpenTelemetry SDK is registered/,
        ),
      ],
    ]);
  });
});
