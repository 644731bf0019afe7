import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import { CallSignal } from 'nestjs-resilient-grpc/server';
import { breakCircuit, CircuitBreaker, retryBackoff } from 'nestjs-resilient-grpc/operators';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable, Subject, catchError, concat, defer, lastValueFrom, of, throwError, type Subscriber } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { repeatUntil } from '../../support/repeat-until.js';
import { serveOrders, type OrdersService } from './orders-service.js';

const leaks = captureLeaks();

type Handler = (request: { id: string }, signal: AbortSignal) => unknown;
let handler: Handler;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get(@Payload() request: { id: string }, @CallSignal() signal: AbortSignal): unknown {
    return handler(request, signal);
  }
}

let orders: OrdersService;
/** A server that a test ends. */
let ended: OrdersService;
beforeAll(async () => {
  orders = await serveOrders(OrdersController);
});
beforeEach(() => {
  orders.log.lines.length = 0;
});
afterAll(async () => {
  await orders.close();
  await leaks.settled();
});

function get(deadlineMs?: number): Promise<{ id: string }> {
  return new Promise((resolve, reject) => {
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    orders.client.get({ id: '7' }, options, (error, value) => {
      if (value === undefined) reject(error ?? new Error('neither an error nor a value'));
      else resolve(value);
    });
  });
}

/** An Observable that never emits and counts its subscriptions and unsubscriptions. */
function watched() {
  const seen = { subscribed: 0, unsubscribed: 0 };
  const source = new Observable<never>(() => {
    seen.subscribed += 1;
    return () => (seen.unsubscribed += 1);
  });
  return { seen, source };
}

describe('unary handler', () => {
  it.each<[string, Handler]>([
    ['an Observable of a promise', ({ id }) => of(Promise.resolve({ id }))],
    [
      'an async generator',
      async function* ({ id }) {
        yield { id };
      },
    ],
    [
      'a generator',
      function* ({ id }) {
        yield { id };
      },
    ],
  ])('sends the response of a unary handler that returns %s', async (_what, answer) => {
    handler = answer;
    expect(await get()).toMatchObject({ id: '7' });
  });

  it('responds with the first value of an Observable and keeps the subscription until the Observable completes', async () => {
    const after = new Subject<never>();
    handler = ({ id }) => concat(of({ id }), after);
    expect(await get()).toMatchObject({ id: '7' });
    expect(after.observed).toBe(true);
    expect(orders.server.lingeringHandlers).toBe(1);
    after.complete();
    expect(orders.server.lingeringHandlers).toBe(0);
  });

  it('unsubscribes from the Observable of a unary handler when the client cancels', async () => {
    const { seen, source } = watched();
    handler = () => source;
    const call = orders.client.get({ id: '7' }, {}, () => undefined);
    await waitFor(() => seen.subscribed === 1);
    call.cancel();
    await waitFor(() => seen.unsubscribed === 1);
  });

  it('unsubscribes from the Observable of a unary handler when the deadline passes', async () => {
    const { seen, source } = watched();
    handler = () => source;
    await repeatUntil('the server subscribes to the Observable before the deadline', async () => {
      await expect(get(100)).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
      return seen.subscribed > 0;
    });
    await waitFor(() => seen.unsubscribed >= seen.subscribed);
    expect(seen.unsubscribed).toBe(seen.subscribed);
  });

  it('closes the generator of a unary handler when the client cancels', async () => {
    let [started, ended] = [0, 0];
    handler = async function* (_request, signal) {
      try {
        started += 1;
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve);
        });
        yield {};
      } finally {
        ended += 1;
      }
    };
    const call = orders.client.get({ id: '7' }, {}, () => undefined);
    await waitFor(() => started === 1);
    call.cancel();
    await waitFor(() => ended === 1 && orders.server.lingeringHandlers === 0);
  });

  it('does not subscribe to an Observable that a unary handler returns after the client cancels', async () => {
    const { seen, source } = watched();
    let make: ((source: Observable<never>) => void) | undefined;
    handler = () => new Promise((resolve) => (make = resolve));
    const call = orders.client.get({ id: '7' }, {}, () => undefined);
    await waitFor(() => make !== undefined);
    call.cancel();
    await waitFor(() => orders.server.lingeringHandlers === 1);
    make?.(source);
    await waitFor(() => orders.server.lingeringHandlers === 0);
    expect(seen.subscribed).toBe(0);
  });

  it.each([
    ['the client cancels', async (call: { cancel(): void }) => call.cancel()],
    ['the server shuts down', () => ended.close()],
  ])(
    'aborts the signal with an AbortError if %s, which circuit breakers and retries do not count',
    async (_title, end) => {
      const hanging = createServer(() => undefined);
      await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve));
      const { port } = hanging.address() as AddressInfo;
      const breaker = new CircuitBreaker({ minimumThroughput: 1 });
      ended = await serveOrders(OrdersController, { drain: { timeoutMs: 1 } });
      let attempts = 0;
      let failure: unknown;
      handler = async (_request, signal) => {
        const backend = defer(() => {
          attempts++;
          return fetch(`http://127.0.0.1:${port}`, { signal });
        });
        failure = await lastValueFrom(
          backend.pipe(
            breakCircuit(breaker),
            retryBackoff({ maxAttempts: 3, initialBackoffMs: 1, maxBackoffMs: 1 }),
            catchError((error: unknown) => of(error)),
          ),
        );
        return {};
      };
      const call = ended.client.get({ id: '7' }, {}, () => undefined);
      await waitFor(() => attempts > 0);
      await end(call);
      await waitFor(() => failure !== undefined);
      expect(failure).toMatchObject({ name: 'AbortError' });
      expect([attempts, breaker.state]).toEqual([1, 'closed']);
      await ended.close();
      hanging.closeAllConnections();
      await new Promise((resolve) => hanging.close(resolve));
    },
  );

  it('does not abort the signal of a unary handler after its response', async () => {
    const signals: AbortSignal[] = [];
    handler = (_request, callSignal) => {
      signals.push(callSignal);
      return { id: '7' };
    };
    await get();
    // The server has handled the end of the first call when it responds to the second.
    await get();
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
  });

  it('responds with the first value and logs a warning if a unary handler emits another value later', async () => {
    const values = new Subject<{ id: string }>();
    handler = () => values;
    const answer = get();
    await waitFor(() => values.observed);
    values.next({ id: '1' });
    expect(await answer).toMatchObject({ id: '1' });
    values.next({ id: '2' });
    values.complete();
    expect(orders.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', text: expect.stringContaining('/orders.v1.Orders/Get') }),
    );
  });

  it.each<[string, () => unknown]>([
    ['null', () => throwError(() => null)],
    ['undefined', () => throwError(() => undefined)],
    ['a number', () => throwError(() => 3)],
    ['an error', () => throwError(() => new Error('secret'))],
    ['a rejected promise', () => Promise.reject(new Error('secret'))],
  ])('fails a call with UNKNOWN and hides the details if the handler fails with %s', async (_what, answer) => {
    handler = answer;
    await expect(get()).rejects.toMatchObject({ code: status.UNKNOWN, details: expect.not.stringContaining('secret') });
  });

  it('runs the teardown of each handler Observable that completes, and counts no handler as lingering', async () => {
    let open = 0;
    handler = () =>
      new Observable((subscriber: Subscriber<unknown>) => {
        open += 1;
        subscriber.next({ id: '1' });
        subscriber.complete();
        return () => (open -= 1);
      });
    await Promise.all(Array.from({ length: 50 }, () => get()));
    expect(open).toBe(0);
    expect(orders.server.lingeringHandlers).toBe(0);
  });
});
