import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { DiagLogLevel, diag, metrics, trace } from '@opentelemetry/api';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, type Sampler, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { EACH_METHOD, callOnce, failureOf } from '../calls/support.js';
import { collectTelemetry, serveTold } from './collected-telemetry.js';
import { toldScene } from './told-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const fail = (): never => {
  throw new Error('thrown by the SDK');
};
const nothing = (): void => undefined;

function tracers(parts: { sampler?: Sampler; processor?: Partial<SpanProcessor> }): void {
  trace.disable();
  const idle = { forceFlush: () => Promise.resolve(), shutdown: () => Promise.resolve() };
  const { sampler, processor } = parts;
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({
      ...(sampler === undefined ? {} : { sampler }),
      spanProcessors: [{ onStart: nothing, onEnd: nothing, ...idle, ...processor }],
    }),
  );
}

/** Where an SDK may throw. */
const PLACES: Readonly<Record<string, () => void>> = {
  'a sampler': () => {
    tracers({ sampler: { shouldSample: fail, toString: () => 'throws' } });
  },
  'onStart of a processor of spans': () => {
    tracers({ processor: { onStart: fail } });
  },
  'onEnd of a processor of spans': () => {
    tracers({ processor: { onEnd: fail } });
  },
  'a view of metrics': () => {
    metrics.disable();
    metrics.setGlobalMeterProvider(
      new MeterProvider({ views: [{ instrumentName: '*', attributesProcessors: [{ process: fail }] }] }),
    );
  },
  'a meter that makes no instruments': () => {
    metrics.disable();
    metrics.setGlobalMeterProvider({ getMeter: fail });
  },
};

/** The SDK with something in it that throws; what it has told of that. */
function throwingSdk(breakIt: () => void): readonly string[] {
  const told: string[] = [];
  collectTelemetry();
  breakIt();
  const error = (text: string) => void told.push(text);
  diag.setLogger({ error, warn: nothing, info: nothing, debug: nothing, verbose: nothing }, DiagLogLevel.ERROR);
  onTestFinished(() => {
    diag.disable();
  });
  return told;
}

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get') get({ id }: { id: string }) {
    return { id };
  }
}

describe.each(Object.entries(PLACES))('%s that throws', (_place, breakIt) => {
  it('ends no call of a client in another way, and nothing is left of one', async () => {
    const told = throwingSdk(breakIt);
    const { client, echo, server } = await toldScene({ maxConcurrentCalls: 1 });
    for (const method of EACH_METHOD)
      await lastValueFrom(callOnce(echo, method, { timeoutMs: 20_000 }), { defaultValue: undefined });
    server.script('UnsafeUnary', { status: 'NOT_FOUND' });
    await expect(failureOf(echo.unsafeUnary({}))).resolves.toMatchObject({ reason: 'server', code: 5 });
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0 ? { status: 'UNAVAILABLE' } : { message: { number: 1 } },
    );
    await lastValueFrom(echo.unary({}));
    expect(client.snapshot()).toMatchObject({ active: 0, limits: [{ running: 0, queued: 0 }] });
    // Once for each kind, and some of them in an earlier test.
    expect(told.length).toBeLessThan(5);
  });

  it('ends no call that a server serves in another way', async () => {
    throwingSdk(breakIt);
    const { client } = await serveTold(OrdersController);
    for (const id of ['1', '2']) {
      const answer = await new Promise((resolve, reject) => {
        client.get!({ id }, { deadline: Date.now() + 20_000 }, (error: Error | null, message: unknown) => {
          if (error === null) resolve(message);
          else reject(error);
        });
      });
      expect(answer).toMatchObject({ id });
    }
  });
});
