import { Metadata, credentials, type CallCredentials } from '@grpc/grpc-js';
import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { hedged } from './service-configs.js';
import { EACH_METHOD, callOnce, failureOf, scene, turns, type ClientSettings } from './support.js';
import { block } from '../support/block.mjs';

const forever = (): Promise<never> => new Promise(() => undefined);

/** A promise that the test resolves. */
function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Creates credentials that respond when `respond` is called. */
function slowCredentials() {
  const requested = { times: 0 };
  const waiting: (() => void)[] = [];
  const plugin: CallCredentials = credentials.createFromMetadataGenerator((_, callback) => {
    requested.times += 1;
    waiting.push(() => callback(null, new Metadata()));
  });
  const respond = (): void => {
    for (const callback of waiting) callback();
  };
  return { plugin, requested, respond };
}

const TOKEN = async () => ({ authorization: 'token' });
const NO_CREDENTIALS = 'the call credentials did not respond; check their metadata generator';
const HEDGED = hedged('0.05s', 2);
const HANGING: readonly [string, ClientSettings, string][] = [
  ['a metadata function', { metadata: forever }, 'the metadata function'],
  ['an onAttempt interceptor', { interceptors: [{ onAttempt: forever }] }, 'an interceptor'],
  [
    'an onAttempt interceptor after a metadata function',
    { metadata: TOKEN, interceptors: [{ onAttempt: forever }] },
    'an interceptor',
  ],
];
const SLOW: readonly [string, (opened: Promise<void>) => ClientSettings][] = [
  ['a metadata function', (opened) => ({ metadata: () => opened.then(() => ({ a: 'b' })) })],
  ['an onAttempt interceptor', (opened) => ({ interceptors: [{ onAttempt: () => opened }] })],
];

describe.each(HANGING)('a call that waits for %s', (_, settings, name) => {
  it.each(EACH_METHOD)(
    `names ${name} that a %s call waits for, and reports reachedServer no, if the deadline of the call passes`,
    async (method) => {
      const { echo, server, client } = await scene(settings);
      await client.waitForReady();
      const error = await failureOf(callOnce(echo, method, { timeoutMs: 500 }));
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no', attempts: [] });
      expect(error.details).toMatch(new RegExp(`^Deadline exceeded after [\\d.]+s, waiting for ${name}$`));
      expect(server.counts().calls).toBe(0);
    },
  );
});

describe.each(SLOW)('a call that waits for %s', (_, settings) => {
  const ENDS: readonly [string, (client: ResilientGrpcClient, abort: AbortController) => void][] = [
    ['the signal of the call aborts', (_client, abort) => abort.abort()],
    ['an entry of activeCalls() cancels the call', (client) => client.activeCalls()[0]?.cancel()],
    ['the client drains', (client) => void client.drain({ timeoutMs: 1 })],
    ['the client closes', (client) => client.close()],
  ];

  it.each(ENDS)(
    'never sends an attempt that waits for its metadata, and reports reachedServer no, if %s',
    async (_end, end) => {
      const { opened, open } = gate();
      const { echo, server, client } = await scene(settings(opened));
      await client.waitForReady();
      const abort = new AbortController();
      const failure = failureOf(callOnce(echo, 'unary', { signal: abort.signal }));
      await turns();
      end(client, abort);
      expect(await failure).toMatchObject({ reachedServer: 'no', attempts: [] });
      open();
      await turns();
      expect(server.counts().calls).toBe(0);
    },
  );
});

describe('a call that waits for the metadata of a further attempt', () => {
  it('keeps reachedServer and the record of a failed attempt if the call ends while it waits for the metadata of the next attempt', async () => {
    let calls = 0;
    const { echo, server } = await scene({ metadata: () => ((calls += 1) === 1 ? TOKEN() : forever()) });
    server.script('Unary', { status: 'UNAVAILABLE' });
    const error = await failureOf(callOnce(echo, 'unary', { timeoutMs: 1_000 }));
    expect(error).toMatchObject({ code: 4, reachedServer: 'maybe', attempts: [{ number: 1, code: 14 }] });
    expect(error.details).toMatch(/, waiting for the metadata function$/);
  });

  it('reports reachedServer maybe if a call is cancelled while one hedged attempt is in flight and another waits for its metadata', async () => {
    let calls = 0;
    const { echo, server } = await scene({
      metadata: () => ((calls += 1) === 1 ? TOKEN() : forever()),
      ...HEDGED,
    });
    server.script('Unary', { never: true });
    const abort = new AbortController();
    const failure = failureOf(callOnce(echo, 'unary', { signal: abort.signal }));
    await waitFor(() => calls === 2 && server.counts().calls === 1);
    abort.abort();
    expect(await failure).toMatchObject({ reachedServer: 'maybe' });
  });

  it('reports reachedServer no if all hedged attempts wait for their metadata', async () => {
    let calls = 0;
    const metadata = (): Promise<never> => {
      calls += 1;
      return forever();
    };
    const { echo, server } = await scene({ metadata, ...HEDGED });
    const abort = new AbortController();
    const failure = failureOf(callOnce(echo, 'unary', { signal: abort.signal }));
    await waitFor(() => calls === 2);
    abort.abort();
    expect(await failure).toMatchObject({ reachedServer: 'no', attempts: [] });
    expect(server.counts().calls).toBe(0);
  });
});

describe('a call that waits for call credentials', () => {
  it('is not sent if the deadline passes, and the credentials respond, while the event loop is blocked', async () => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    const { plugin, respond, requested } = slowCredentials();
    const failure = failureOf(callOnce(echo, 'unsafeUnary', { credentials: plugin, timeoutMs: 100 }));
    await waitFor(() => requested.times === 1);
    // Due after the deadline.
    setTimeout(respond, 120);
    block(300);
    expect(await failure).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no' });
    expect(server.counts().calls).toBe(0);
  });

  it.each(EACH_METHOD)(
    'reports reachedServer no and the cause if the deadline of a %s call passes while it waits for call credentials',
    async (method) => {
      const { echo, server, client } = await scene();
      await client.waitForReady();
      const { plugin, respond, requested } = slowCredentials();
      const error = await failureOf(callOnce(echo, method, { credentials: plugin, timeoutMs: 200 }));
      expect(requested.times).toBe(1);
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no' });
      expect(error.message).toContain(NO_CREDENTIALS);
      respond();
      await turns();
      expect(server.counts().calls).toBe(0);
    },
  );

  it.each(EACH_METHOD)(
    'names the call credentials that a %s call with interceptors waits for if the deadline passes',
    async (method) => {
      const { echo, client } = await scene({ interceptors: [{ onAttempt: () => undefined }] });
      await client.waitForReady();
      const { plugin } = slowCredentials();
      const error = await failureOf(callOnce(echo, method, { credentials: plugin, timeoutMs: 200 }));
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no' });
      expect(error.message).toMatch(
        /, waiting for call credentials \(timeoutMs 200 of the call\)$|the call credentials did not respond/,
      );
    },
  );

  it.each(EACH_METHOD)(
    'reports reachedServer no and never sends a %s call that is cancelled while it waits for call credentials',
    async (method) => {
      const { echo, server, client } = await scene();
      await client.waitForReady();
      const { plugin, respond, requested } = slowCredentials();
      const abort = new AbortController();
      const failure = failureOf(callOnce(echo, method, { credentials: plugin, signal: abort.signal }));
      await waitFor(() => requested.times === 1);
      abort.abort();
      expect(await failure).toMatchObject({ code: 1, reachedServer: 'no', attempts: [] });
      respond();
      await turns();
      expect(server.counts().calls).toBe(0);
    },
  );

  it('reports reachedServer no and the cause if attemptTimeoutMs passes before call credentials respond, and keeps the circuit closed', async () => {
    const { echo, client, server } = await scene({
      methods: {
        '*': {
          attemptTimeoutMs: 50,
          circuitBreaker: { failureRatio: 0.1, minimumThroughput: 2 },
        },
      },
    });
    await client.waitForReady();
    for (let call = 0; call < 4; call++) {
      const { plugin } = slowCredentials();
      const error = await failureOf(callOnce(echo, 'unsafeUnary', { credentials: plugin }));
      expect(error).toMatchObject({ code: 4, reason: 'attempt-timeout', reachedServer: 'no' });
      expect(error.message).toContain(NO_CREDENTIALS);
    }
    expect(server.counts().calls).toBe(0);
  });
});
