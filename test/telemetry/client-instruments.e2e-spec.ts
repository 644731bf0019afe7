import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { reset, startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { collectTelemetry } from './collected-telemetry.js';
import { LATENCY_BOUNDS_SECONDS, SIZE_BOUNDS_BYTES } from './grfc-bounds.js';
import { hedged, instrumentedClient, instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const SUM = 'counter';
const UP_DOWN = 'up-down counter';
const HISTOGRAM = 'histogram';

const METHOD = ['grpc.method', 'grpc.target'];
const STATUS = [...METHOD, 'grpc.status'];

/**
 * Instruments defined by the gRFCs: gRFC, name, kind, unit, labels, bounds.
 * A66 https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#client-per-attempt-instruments
 * A96 https://github.com/grpc/proposal/blob/master/A96-retry-otel-stats.md
 * A94 https://github.com/grpc/proposal/blob/master/A94-subchannel-otel-metrics.md, with the optional labels that the client can provide
 */
const GRFC_INSTRUMENTS = [
  ['A66', 'grpc.client.attempt.started', SUM, '{attempt}', METHOD, undefined],
  ['A66', 'grpc.client.attempt.duration', HISTOGRAM, 's', STATUS, LATENCY_BOUNDS_SECONDS],
  ['A66', 'grpc.client.attempt.sent_total_compressed_message_size', HISTOGRAM, 'By', STATUS, SIZE_BOUNDS_BYTES],
  ['A66', 'grpc.client.attempt.rcvd_total_compressed_message_size', HISTOGRAM, 'By', STATUS, SIZE_BOUNDS_BYTES],
  ['A66', 'grpc.client.call.duration', HISTOGRAM, 's', STATUS, LATENCY_BOUNDS_SECONDS],
  ['A96', 'grpc.client.call.retries', HISTOGRAM, '{retry}', METHOD, [1, 2, 3, 4, 5]],
  ['A96', 'grpc.client.call.transparent_retries', HISTOGRAM, '{transparent_retry}', METHOD, [1, 2, 3, 4, 5, 10]],
  ['A96', 'grpc.client.call.hedges', HISTOGRAM, '{hedge}', METHOD, [1, 2, 3, 4, 5]],
  ['A96', 'grpc.client.call.retry_delay', HISTOGRAM, 's', METHOD, LATENCY_BOUNDS_SECONDS],
  [
    'A94',
    'grpc.subchannel.disconnections',
    SUM,
    '{disconnection}',
    ['grpc.target', 'grpc.disconnect_error'],
    undefined,
  ],
  ['A94', 'grpc.subchannel.connection_attempts_succeeded', SUM, '{attempt}', ['grpc.target'], undefined],
  ['A94', 'grpc.subchannel.connection_attempts_failed', SUM, '{attempt}', ['grpc.target'], undefined],
  [
    'A94',
    'grpc.subchannel.open_connections',
    UP_DOWN,
    '{connection}',
    ['grpc.target', 'grpc.security_level'],
    undefined,
  ],
] as const;

/** Starts a server that resets the first stream with REFUSED_STREAM and responds to the others. */
async function startRefusingServer() {
  return startHttp2Server((stream, number) => {
    stream.resume();
    if (number === 1) reset(stream, 'NGHTTP2_REFUSED_STREAM');
    else succeed(stream);
  });
}

describe('client metrics', () => {
  it('defines the metrics of gRFCs A66, A96, and A94 with the names, kinds, units, labels, and bounds of the gRFCs', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server, close } = await instrumentedScene({ serviceConfig: hedged, outageGraceMs: 5_000 });
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0 ? { status: 'UNAVAILABLE' } : { message: { number: 1 } },
    );
    server.script('ServerStream', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { messages: [{ number: 1 }] },
    );
    await firstValueFrom(echo.unary({}));
    await lastValueFrom(echo.serverStream({}));
    // Causes a lost connection, failed connection attempts, and a successful connection attempt.
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const waitingCall = firstValueFrom(echo.unsafeUnary({}));
    await waitFor(async () => (await telemetry.count('grpc.subchannel.connection_attempts_failed')) > 0);
    await server.restart();
    await waitingCall;
    const refuser = await startRefusingServer();
    const other = await instrumentedClient(refuser.url, { trustRefusedStreams: true });
    await lastValueFrom(other.echo.unsafeUnary({}));
    const found = await telemetry.instruments();
    const seen = GRFC_INSTRUMENTS.map(([gRfc, name]) => [gRfc, name, ...shapeOf(found, name)]);
    expect(seen).toEqual(GRFC_INSTRUMENTS.map((row) => [...row.slice(0, 4), [...row[4]].sort(), row[5]]));
    expect(await telemetry.scopes()).toMatchObject([{ name: 'nestjs-resilient-grpc' }]);
    await close();
    await other.close();
    expect(await telemetry.count('grpc.subchannel.open_connections')).toBe(0);
  });
});

/** Kind, unit, labels, and bounds of an instrument, as the SDK collected them. */
function shapeOf(found: readonly MetricData[], name: string): unknown[] {
  const metric = found.find(({ descriptor }) => descriptor.name === name);
  if (metric === undefined) return ['missing'];
  const [point] = metric.dataPoints;
  const kind =
    metric.dataPointType === DataPointType.HISTOGRAM
      ? HISTOGRAM
      : metric.dataPointType === DataPointType.SUM && metric.isMonotonic
        ? SUM
        : UP_DOWN;
  const bounds =
    metric.dataPointType === DataPointType.HISTOGRAM ? metric.dataPoints[0]!.value.buckets.boundaries : undefined;
  return [kind, metric.descriptor.unit, Object.keys(point!.attributes).sort(), bounds];
}
