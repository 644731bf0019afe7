import type { INestApplicationContext } from '@nestjs/common';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { isObservable, type Observable } from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { notes, numbers, received, type Note, type ParityClient } from './client.js';
import { KindsController } from './handlers.js';
import { SERVERS, startServer, type RunningServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const ENHANCERS = ['guard', 'interceptor', 'pipe'] as const;

describe.each(SERVERS)('%s: requests that arrive while enhancers run', (serverKind) => {
  let server: RunningServer;
  let client: ParityClient;
  let busy: (typeof ENHANCERS)[number];
  let release: (() => void) | undefined;
  /** True if the interceptor also subscribes to the requests. */
  let watching = false;

  /** Delays client-streaming and bidi calls until `release()` if `enhancer` is `busy`. */
  const delayIn = async (enhancer: typeof busy, requests: unknown) => {
    if (busy !== enhancer || !isObservable(requests)) return;
    await new Promise<void>((resolve) => {
      release = resolve;
    });
  };

  beforeAll(async () => {
    server = await startServer({
      serverKind,
      controllers: [KindsController],
      inheritAppConfig: true,
      configure: (app) => {
        app.useGlobalGuards({
          canActivate: async (context) => {
            await delayIn('guard', context.switchToRpc().getData());
            return true;
          },
        });
        app.useGlobalInterceptors({
          intercept: async (context, next) => {
            const requests = context.switchToRpc().getData<Observable<Note>>();
            if (watching) requests.subscribe();
            await delayIn('interceptor', requests);
            return next.handle();
          },
        });
        app.useGlobalPipes({
          transform: async (value: unknown) => {
            await delayIn('pipe', value);
            return value;
          },
        });
      },
    });
    ({ client } = server);
  });
  afterEach(() => {
    release = undefined;
    watching = false;
  });
  afterAll(() => server.close());

  /** Sends five requests and resolves after they have arrived. */
  async function sendEarlyRequests(method: string) {
    const call = client.open(method);
    await Promise.all(notes(5).map((note) => call.send(note)));
    await waitFor(() => release !== undefined);
    // grpc-js parses one message of a stream per turn. Ten more calls on the connection give it enough turns to parse all five messages.
    for (let i = 0; i < 10; i++) await client.call('parity.v1.Kinds/Unary');
    return call;
  }

  it.each(ENHANCERS)(
    'delivers the requests to the handler in their original order if they arrive while the %s runs',
    async (enhancer) => {
      busy = enhancer;
      for (const method of ['parity.v1.Kinds/Chat', 'parity.v1.Kinds/Collect']) {
        const call = await sendEarlyRequests(method);
        release?.();
        const { requests } = server.app.get(KindsController);
        await waitFor(() => handled(server.app).length === 5 && handled(server.app) !== requests);
        await call.send({ number: 6 });
        call.finish();
        const answer = await call.ended;
        expect(handled(server.app)).toEqual([1, 2, 3, 4, 5, 6, 'completed']);
        expect(numbers(answer)).toEqual(method.endsWith('Chat') ? [1, 2, 3, 4, 5, 6] : [6]);
      }
    },
  );

  it('delivers all requests to the handler if an interceptor also reads them', async () => {
    busy = 'guard';
    watching = true;
    const call = await sendEarlyRequests('parity.v1.Kinds/Chat');
    release?.();
    await received(call, 5);
    call.finish();
    expect(numbers(await call.ended)).toEqual([1, 2, 3, 4, 5]);
  });
});

function handled(app: INestApplicationContext) {
  return app.get(KindsController).requests;
}
