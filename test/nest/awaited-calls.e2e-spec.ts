import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Controller, Get, Injectable, UseInterceptors, type CallHandler, type NestInterceptor } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import type { INestApplication } from '@nestjs/common';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { delay, firstValueFrom, from, lastValueFrom, of, switchMap } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';
import { CapturedLog } from '../support/captured-log.js';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';

const SCRIPT = join(import.meta.dirname, 'awaited-script.mjs');

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
});

@Injectable()
class SlowInterceptor implements NestInterceptor {
  intercept(_context: unknown, next: CallHandler) {
    return of(0).pipe(
      delay(20),
      switchMap(() => next.handle()),
    );
  }
}

@Controller()
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get('direct') direct() {
    return this.orders.get({ id: '7' });
  }

  @Get('async') async asynchronous() {
    return this.orders.get({ id: '7' });
  }

  @Get('promise') promise() {
    return Promise.resolve(this.orders.get({ id: '7' }));
  }

  @UseInterceptors(SlowInterceptor)
  @Get('intercepted')
  async intercepted() {
    return this.orders.get({ id: '7' });
  }

  @Get('first') first() {
    return firstValueFrom(this.orders.get({ id: '7' }));
  }

  @Get('last') async last() {
    return lastValueFrom(from(this.orders.get({ id: '7' })));
  }

  @Get('iterated') async iterated() {
    for await (const order of await this.pass()) return order;
    return undefined;
  }

  @Get('wrong') async wrong() {
    // eslint-disable-next-line @typescript-eslint/await-thenable -- the mistake under test
    const order = await this.orders.get({ id: '7' });
    return order.constructor.name;
  }

  private async pass() {
    return this.orders.get({ id: '7' });
  }
}

const CORRECT = ['direct', 'async', 'promise', 'intercepted', 'first', 'last', 'iterated'];

async function startApp() {
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: { id: '7' } } },
  });
  onTestFinished(() => server.close());
  const log = new CapturedLog();
  const module = await Test.createTestingModule({
    imports: [ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }])],
    controllers: [OrdersController],
  })
    .setLogger(log)
    .compile();
  const app: INestApplication = module.createNestApplication();
  await app.listen(0, '127.0.0.1');
  onTestFinished(() => app.close());
  const url = await app.getUrl();
  const fetched = async (path: string) => (await fetch(`${url}/${path}`)).text();
  const warnings = () => log.lines.filter(({ level, text }) => level === 'warn' && text.includes('awaited'));
  return { server, fetched, warnings };
}

describe('awaited call', () => {
  it('logs an awaited, unsubscribed call once per call site, and no call that a handler returns or reads', async () => {
    const { server, fetched, warnings } = await startApp();
    for (const path of CORRECT) expect(JSON.parse(await fetched(path))).toMatchObject({ id: '7' });
    const { length } = server.calls();
    // The library checks the calls above before this one, so it would log them first.
    expect(await fetched('wrong')).toBe('AwaitableCall');
    await fetched('wrong');
    await waitFor(() => warnings().length > 0, { timeoutMs: 20_000 });
    expect(server.calls()).toHaveLength(length);
    // When the library logs the following call, it has checked all calls above, including that of the second request to `wrong`.
    const app = await startOrdersApp({ url: server.url });
    onTestFinished(() => app.close());
    // eslint-disable-next-line @typescript-eslint/await-thenable -- the mistake under test
    await app.orders.get({ id: '8' });
    await waitFor(() => app.lines.some(({ text }) => text.includes('awaited')), { timeoutMs: 20_000 });
    expect(warnings().map(({ text }) => text)).toEqual([
      expect.stringMatching(
        /^\/orders\.v1\.Orders\/Get: the call at .*awaited-calls\.e2e-spec\.ts:\d+ was awaited but not subscribed to, so it was not made; write await firstValueFrom\(call\)$/,
      ),
    ]);
  });

  it('logs an awaited, unsubscribed call when its application closes', async () => {
    const app = await startOrdersApp({ url: '127.0.0.1:1' });
    // eslint-disable-next-line @typescript-eslint/await-thenable -- the mistake under test
    await app.orders.get({ id: '9' });
    const listeners = process.listenerCount('exit');
    await app.close();
    expect(app.lines.filter(({ text }) => text.includes('awaited'))).toHaveLength(1);
    expect(process.listenerCount('exit')).toBe(listeners - 1);
  });

  it('logs an awaited, unsubscribed call when a short script ends', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT], {
      env: { ...process.env, NO_COLOR: '1' },
    });
    expect(stdout).toMatch(/WARN .*\[ResilientGrpc:orders\] .*Get: the call at .*awaited-script\.mjs:\d+ was awaited/);
  });

  it('adds a `then` property to calls only outside production, to detect awaited calls', async () => {
    vi.stubEnv('NODE_ENV', 'production');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const production = await startOrdersApp({ url: '127.0.0.1:1' });
    onTestFinished(() => production.close());
    expect('then' in production.orders.get({ id: '7' })).toBe(false);
    vi.unstubAllEnvs();
    const development = await startOrdersApp({ url: '127.0.0.1:1' });
    onTestFinished(() => development.close());
    expect('then' in development.orders.get({ id: '7' })).toBe(true);
  });
});
