// Run by Vitest and by Jest, each with its globals; which of them fail is looked at from outside: those whose names begin with "leaks".
import { once } from 'node:events';
import { createServer } from 'node:net';
import { failOnLeaks } from 'nestjs-resilient-grpc/testing';

const left = [];
afterAll(() => {
  for (const close of left) close();
});
const leaveTimer = () => {
  const timer = setInterval(() => {}, 60_000);
  left.push(() => clearInterval(timer));
};
const listen = async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

for (const trace of [false, true]) {
  describe(`trace ${trace}`, () => {
    failOnLeaks(beforeEach, afterEach, { trace, timeoutMs: 200 });

    test('clean', () => new Promise((resolve) => setTimeout(resolve, 5)));
    test('leaks a timer', leaveTimer);
    test('leaks another', leaveTimer);
    test('is clean again', async () => (await listen()).close());

    describe('with hooks of its own', () => {
      let own;
      beforeEach(async () => (own = await listen()));
      afterEach(() => own.close());

      test('is clean too', () => {});
      test('leaks a server', async () => {
        const server = await listen();
        left.push(() => server.close());
      });
    });
  });
}

// Hooks that open before the watch begins, and close before it ends.
describe('the other way round', () => {
  let own;
  beforeEach(async () => (own = await listen()));
  if (globalThis.jest !== undefined) afterEach(() => own.close());
  failOnLeaks(beforeEach, afterEach, { timeoutMs: 200 });
  if (globalThis.jest === undefined) afterEach(() => own.close());

  test('leaks what its hooks open', async () => {
    const server = await listen();
    left.push(() => server.close());
  });
});
