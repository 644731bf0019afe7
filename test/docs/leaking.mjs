// Runs under Vitest and Jest with their globals. The calling test checks that exactly the tests whose names start with "leaks" fail.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { failOnLeaks } from 'nestjs-resilient-grpc/testing';

const leaked = [];
afterAll(() => {
  for (const close of leaked) close();
});
const leakTimer = () => {
  const timer = setInterval(() => {}, 60_000);
  leaked.push(() => clearInterval(timer));
};
const listen = async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

for (const trace of [false, true]) {
  describe(`trace ${trace}`, () => {
    failOnLeaks(beforeEach, afterEach, { trace, timeoutMs: 200 });

    test('passes if a timer has fired before the test ends', () => new Promise((resolve) => setTimeout(resolve, 5)));
    test('leaks a timer', leakTimer);
    test('leaks a second timer', leakTimer);
    test('passes if the test closes its server, even after tests that leaked', async () => (await listen()).close());

    describe('with its own hooks', () => {
      let own;
      beforeEach(async () => (own = await listen()));
      afterEach(() => own.close());

      test('passes if its hooks close the server that they opened', () => {});
      test('leaks a server', async () => {
        const server = await listen();
        leaked.push(() => server.close());
      });
    });
  });
}

// Hooks that open resources before the leak check starts and close them before it ends.
describe('hooks outside the leak check', () => {
  let own;
  beforeEach(async () => (own = await listen()));
  if (globalThis.jest !== undefined) afterEach(() => own.close());
  failOnLeaks(beforeEach, afterEach, { timeoutMs: 200 });
  if (globalThis.jest === undefined) afterEach(() => own.close());

  test('leaks a server that the hooks do not close', async () => {
    const server = await listen();
    leaked.push(() => server.close());
  });
});
