import { CircuitBreaker, breakCircuit } from 'nestjs-resilient-grpc/operators';
import { NEVER, VirtualTimeScheduler, firstValueFrom, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf, rejection, scene, startClient, startServer, type EchoService } from '../calls/support.js';
import { pageText } from './markdown.js';

/** Checks the statements in the docs that no program on their page demonstrates. */
describe('docs', () => {
  it('wraps a configuration error, but not the error of a request source, in a GrpcCallError, as the docs state', async () => {
    for (const page of ['README.md', 'docs/policies.md'])
      expect(pageText(page)).toContain('only an error from your own request source is passed on unchanged');
    const { echo } = await scene();
    const broken = new Error('broken');
    expect(await rejection(echo.clientStream(throwError(() => broken)))).toBe(broken);
    expect(await rejection(echo.unary({ text: 'x' }, { timeout: 1 } as never))).toMatchObject({
      name: 'GrpcCallError',
      reason: 'not-sent',
      cause: { name: 'GrpcConfigurationError' },
    });
  });

  it.each([99, Number.NaN])(
    'converts the status code %d, which gRPC does not define, to UNKNOWN, as the docs state',
    async (status) => {
      const sentence = 'gRPC does not define, such as 99, becomes';
      expect(pageText('docs/policies.md')).toContain(sentence);
      expect(pageText('docs/differences.md')).toContain(sentence);
      const { echo } = await scene({}, { scripts: { Unary: { status, details: 'odd' } } });
      expect(await failureOf(echo.unary({ text: 'x' }))).toMatchObject({ code: 2 });
    },
  );

  it('starts the outage grace period with the first call after the server has stopped, as the docs state', async () => {
    expect(pageText('docs/index.md')).toContain('waits up to 5 s, regardless of how long the service has been down');
    const server = await startServer();
    const client = await startClient({ url: server.url, outageGraceMs: 300 });
    const echo = client.getService<EchoService>('Echo');
    await firstValueFrom(echo.unary({ text: 'x' }));
    await server.close();
    const first = await failureOf(echo.unary({ text: 'x' }));
    expect(first).toMatchObject({ reason: 'outage', reachedServer: 'no' });
    const [, seconds] = /unreachable for ([\d.]+) s/.exec(first.details) ?? [];
    expect(Number(seconds)).toBeGreaterThanOrEqual(0.2);
    // Shows that the configured grace period applied, not the default of 5 s.
    expect(Number(seconds)).toBeLessThan(4);
    const second = await failureOf(echo.unary({ text: 'x' }));
    expect(second).toMatchObject({ reason: 'outage' });
  });

  it('replaces a circuit breaker probe without a result after breakDurationMs, as the docs state', () => {
    expect(pageText('docs/call-lifecycle/circuit-breaker.md')).toContain(
      'If a probe has no result after `breakDurationMs`, the next attempt becomes the probe.',
    );
    const scheduler = new VirtualTimeScheduler();
    const breaker = new CircuitBreaker({ minimumThroughput: 1, breakDurationMs: 50, random: () => 0.5, scheduler });
    throwError(() => new Error('down'))
      .pipe(breakCircuit(breaker))
      .subscribe({ error: () => undefined });
    const admitted: number[] = [];
    for (let ms = 1; ms <= 110; ms++)
      scheduler.schedule(() => {
        NEVER.pipe(breakCircuit(breaker)).subscribe({ error: () => admitted.push(-ms) });
        if (admitted.at(-1) !== -ms) admitted.push(ms);
      }, ms);
    scheduler.flush();
    expect(admitted.filter((ms) => ms > 0)).toEqual([50, 100]);
  });
});
