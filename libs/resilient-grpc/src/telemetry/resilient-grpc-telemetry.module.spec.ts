import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { ResilientGrpcTelemetryModule } from './resilient-grpc-telemetry.module.js';

describe('ResilientGrpcTelemetryModule.forRoot', () => {
  it.each([[undefined], [{}], [{ metrics: false }], [{ metrics: undefined, traces: true }]])(
    'accepts the telemetry options %o',
    (options) => {
      expect(ResilientGrpcTelemetryModule.forRoot(options)).toMatchObject({ module: ResilientGrpcTelemetryModule });
    },
  );

  it('reports every invalid telemetry option', () => {
    const options = { metrics: 'yes', trace: false, spans: true } as object;
    expect(() => ResilientGrpcTelemetryModule.forRoot(options)).toThrow(
      new GrpcConfigurationError([
        {
          path: 'ResilientGrpcTelemetryModule.forRoot.trace',
          message: "unknown key; did you mean 'traces'?",
        },
        {
          path: 'ResilientGrpcTelemetryModule.forRoot.spans',
          message: 'unknown key; known keys: metrics, traces, endpointMetrics',
        },
        { path: 'ResilientGrpcTelemetryModule.forRoot.metrics', message: 'expected true or false, got "yes"' },
      ]),
    );
  });
});
