import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { DiagLogLevel, diag, metrics, trace } from '@opentelemetry/api';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, type Sampler, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { EACH_METHOD, callOnce, failureOf } from '../calls/support.js';
import { collectTelemetry, serveInstrumented } from './collected-telemetry.js';
import { instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

let thrown = 0;
const fail = (): never => {
  thrown += 1;
  throw new Error('thrown by the SDK');
};
const noop = (): void => undefined;

function registerTracers(parts: { sampler?: Sampler; processor?: Partial<SpanProcessor> }): void {
  trace.disable();
  const idle = { forceFlush: () => Promise.resolve(), shutdown: () => Promise.resolve() };
  const { sampler, processor } = parts;
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({
      ...(sampler === undefined ? {} : { sampler }),
      spanProcessors: [{ onStart: noop, onEnd: noop, ...idle, ...processor }],
    }),
  );
}

/** Functions that register an SDK, by the part of it that throws. */
const PLACES: Readonly<Record<string, () => void>> = {
  'a sampler': () => {
    registerTracers({ sampler: { shouldSample: fail, toString: () => 'throws' } });
  },
  'onStart of a span processor': () => {
    registerTracers({ processor: { onStart: fail } });
  },
  'onEnd of a span processor': () => {
    registerTracers({ processor: { onEnd: fail } });
  },
  'a metric view': () => {
    metrics.disable();
    metrics.setGlobalMeterProvider(
      new MeterProvider({ views: [{ instrumentName: '*', attributesProcessors: [{ process: fail }] }] }),
    );
  },
  'getMeter of a meter provider': () => {
    metrics.disable();
    metrics.setGlobalMeterProvider({ getMeter: fail });
  },
};

/** Registers an SDK with a part that throws; returns the errors that the diagnostic logger of OpenTelemetry receives. */
function registerThrowingSdk(breakSdk: () => void): readonly string[] {
  const reported: string[] = [];
  collectTelemetry();
  thrown = 0;
  breakSdk();
  const error = (text: string) => void reported.push(text);
  diag.setLogger({ error, warn: noop, info: noop, debug: noop, verbose: noop }, DiagLogLevel.ERROR);
  onTestFinished(() => {
    diag.disable();
  });
  return reported;
}

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get') get({ id }: { id: string }) {
    return { id };
  }
}

describe.each(Object.entries(PLACES))('%s that throws', (_place, breakSdk) => {
  it('does not change the outcome of client calls or keep a call active if the SDK throws', async () => {
    const reported = registerThrowingSdk(breakSdk);
    const { client, echo, server } = await instrumentedScene({ maxConcurrentCalls: 1 });
    for (const method of EACH_METHOD)
      await lastValueFrom(callOnce(echo, method, { timeoutMs: 20_000 }), { defaultValue: undefined });
    server.script('UnsafeUnary', { status: 'NOT_FOUND' });
    await expect(failureOf(echo.unsafeUnary({}))).resolves.toMatchObject({ reason: 'server', code: 5 });
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0 ? { status: 'UNAVAILABLE' } : { message: { number: 1 } },
    );
    await lastValueFrom(echo.unary({}));
    expect(client.snapshot()).toMatchObject({ active: 0, limits: [{ running: 0, queued: 0 }] });
    expect(thrown).toBeGreaterThan(0);
    // Only an upper bound: the library logs each kind of error once per process, so an earlier test may have logged some errors.
    expect(reported.length).toBeLessThan(5);
  });

  it('does not change the outcome of served calls if the SDK throws', async () => {
    registerThrowingSdk(breakSdk);
    const { client } = await serveInstrumented(OrdersController);
    for (const id of ['1', '2']) {
      const answer = await new Promise((resolve, reject) => {
        client.get!({ id }, { deadline: Date.now() + 20_000 }, (error: Error | null, message: unknown) => {
          if (error === null) resolve(message);
          else reject(error);
        });
      });
      expect(answer).toMatchObject({ id });
    }
    expect(thrown).toBeGreaterThan(0);
  });
});
