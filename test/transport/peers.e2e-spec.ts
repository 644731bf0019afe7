import { type Metadata } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, Subject, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { failureOf, startClient, upTo, type EchoService, type EchoStub } from '../calls/support.js';
import { CallLoad } from '../support/call-load.js';
import { Peer, PEERS } from './peers.js';

/** Number of calls that are cancelled at once. Node's server ends a connection on which a client resets 1,000 streams at once. */
const CANCELLED = 2_000;
const CANCELLED_ON_NODE = 900;

async function echoOf(url: string): Promise<EchoStub> {
  return (await startClient({ url })).getService<EchoService>('Echo');
}

describe.each(PEERS)('$name', (kind) => {
  const leaks = captureLeaks();
  const missing = kind.missing();
  let peer: Peer;
  beforeAll(async () => {
    if (missing === undefined) peer = await Peer.start(kind);
  }, 300_000);
  afterAll(async () => {
    if (missing === undefined) await peer.close();
    await leaks.settled();
  });

  it('completes all kinds of calls, also at the same time', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const echo = await echoOf(peer.url);
    const payload = Buffer.alloc(1_000_000, 'abc');
    const large = await firstValueFrom(echo.unary({ text: 'large', payload }));
    expect(large.text).toBe('large');
    expect(payload.equals(large.payload)).toBe(true);
    const small = await Promise.all(upTo(300).map(({ number }) => firstValueFrom(echo.unary({ number }))));
    expect(small.map(({ number }) => number)).toEqual(upTo(300).map(({ number }) => number));
    expect(await firstValueFrom(echo.clientStream(upTo(100)))).toMatchObject({ number: 100 });
    expect(await lastValueFrom(echo.serverStream({ number: 5_000 }).pipe(toArray()))).toHaveLength(5_000);
    expect(await lastValueFrom(echo.bidi(upTo(100)).pipe(toArray()))).toMatchObject(upTo(100));
  });

  it('passes large metadata, statuses without headers, and deadlines', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const echo = await echoOf(peer.url);
    const text = 'm'.repeat(7_000);
    const seen: Metadata[] = [];
    await firstValueFrom(echo.unary({}, { metadata: { 'x-echo': text }, onHeaders: (headers) => seen.push(headers) }));
    expect(seen.map((headers) => headers.get('x-echo'))).toEqual([[text]]);
    expect(await failureOf(echo.unary({}, { metadata: { 'x-status': '5' } }))).toMatchObject({
      code: 5,
      details: 'no such é',
      reason: 'server',
    });
    const late = await failureOf(echo.serverStream({}, { metadata: { 'x-wait': '1' }, timeoutMs: 300 }));
    expect(late).toMatchObject({ code: 4, reason: 'deadline' });
  });

  it('loses no other call when many are cancelled at once', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const echo = await echoOf(peer.url);
    const requests = new Subject<{ text: string }>();
    const texts: string[] = [];
    const beside = new Promise((resolve) => {
      echo
        .bidi(requests)
        .subscribe({ next: ({ text }) => texts.push(text), error: resolve, complete: () => resolve('complete') });
    });
    const says = async (text: string): Promise<void> => {
      requests.next({ text });
      await waitFor(() => texts.at(-1) === text, { timeoutMs: 20_000 });
    };
    await says('before');
    const abort = new AbortController();
    const options = { signal: abort.signal, metadata: { 'x-wait': '1' }, timeoutMs: 60_000 };
    const count = kind.name === 'grpc-js' ? CANCELLED_ON_NODE : CANCELLED;
    const cancelled = Array.from({ length: count }, () => failureOf(echo.unary({}, options)));
    // Follows the requests of the calls on their connection.
    await says('during');
    abort.abort();
    for (const { code } of await Promise.all(cancelled)) expect(code).toBe(1);
    await says('after');
    requests.complete();
    expect(await beside).toBe('complete');
    await firstValueFrom(echo.unary({}));
  });

  it('fails no call that may be repeated when it restarts', async ({ skip }) => {
    skip(missing !== undefined, `not run: ${missing}`);
    const echo = await echoOf(peer.url);
    await firstValueFrom(echo.unary({}));
    const load = CallLoad.start(100, (number) => echo.unary({ number }, { timeoutMs: 30_000 }));
    onTestFinished(() => load.stop());
    await waitFor(() => load.succeeded.length >= 20);
    await peer.restart();
    const before = load.calls.length;
    await waitFor(() => load.calls.slice(before).filter(({ endedAt }) => endedAt !== undefined).length >= 20, {
      timeoutMs: 20_000,
    });
    await load.stop(30_000);
    expect(load.failed.map(({ error }) => String(error))).toEqual([]);
  });
});
