import { Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { ConnectAttempts } from './connect-attempts.js';

const KEY = '127.0.0.1:1';

function make(timeoutMs: () => number = () => 500) {
  const clock = new BusyClock();
  const attempts = new ConnectAttempts(timeoutMs, clock);
  return { clock, attempts };
}

describe('ConnectAttempts', () => {
  it('aborts the signal of an attempt if TCP does not connect within the connect timeout', () => {
    const { clock, attempts } = make();
    const { signal } = attempts.begin(KEY);
    clock.advance(499);
    expect(signal.aborted).toBe(false);
    clock.advance(1);
    expect(signal.aborted).toBe(true);
    const message = '127.0.0.1:1 does not respond (timed out after 0.5 s)';
    expect(String(signal.reason)).toContain(message);
    expect(attempts.settle(KEY, false)?.failure('')).toEqual({ kind: 'no-response', message });
  });

  it('reports the incomplete step and the age of the oldest attempt to connect', async () => {
    const { clock, attempts } = make(() => 20_000);
    expect(attempts.progress).toBeUndefined();
    const oldest = attempts.begin(KEY);
    clock.advance(1_500);
    attempts.begin('127.0.0.1:2');
    expect(attempts.progress).toBe('connecting for 1.5 s: the peer has not accepted the TCP connection');
    const handshake = oldest.secure(new Socket(), new Promise(() => undefined));
    clock.advance(500);
    expect(attempts.progress).toBe('connecting for 2.0 s: the peer accepted the TCP connection but has not responded');
    attempts.settle(KEY, false);
    expect(attempts.progress).toBe('connecting for 0.5 s: the peer has not accepted the TCP connection');
    oldest.abort('over');
    await expect(handshake).rejects.toThrow('over');
    attempts.abortAll();
  });

  it.each([undefined, 'orders:50051'])(
    'reports credentials-not-ready if an attempt fails before its channel credentials are ready (target of the proxy: %s)',
    async (server) => {
      vi.stubEnv('grpc_proxy', 'http://127.0.0.1:1');
      onTestFinished(() => void vi.unstubAllEnvs());
      const { clock, attempts } = make(() => 2_000);
      const attempt = attempts.begin(KEY, server);
      const prepared = attempt.prepare(new Promise(() => undefined));
      clock.advance(1_500);
      const message = `${server ?? KEY} cannot be contacted until the channel credentials are ready`;
      const kind = 'credentials-not-ready';
      expect(attempts.progress).toBe('connecting for 1.5 s: the channel credentials are not ready');
      expect(attempts.slow).toEqual({ kind, message: `${message} (connecting for 1.5 s)` });
      clock.advance(500);
      await expect(prepared).rejects.toThrow(message);
      expect(attempts.settle(KEY, false)?.failure('')).toEqual({ kind, message: `${message} (timed out after 2.0 s)` });
      const failing = attempts.begin(KEY, server);
      await expect(failing.prepare(Promise.reject(new Error('no certificate')))).rejects.toThrow('no certificate');
      expect(failing.failure('Error: no certificate')).toEqual({ kind, message: `${message} (no certificate)` });
      const next = attempts.begin(KEY, server);
      await next.prepare(Promise.resolve());
      expect(next.failure('x').kind).toBe(server === undefined ? 'other' : 'proxy-failed');
      attempts.abortAll();
    },
  );

  it('does not count a pause of the process toward the connect timeout', () => {
    const { clock, attempts } = make();
    const { signal } = attempts.begin(KEY);
    clock.advance(100);
    clock.block(3_000);
    clock.advance(3_300);
    expect(signal.aborted).toBe(false);
    clock.advance(500);
    expect(signal.aborted).toBe(true);
  });

  it('destroys the socket of an attempt to connect and rejects the handshake if the handshake times out', async () => {
    const { clock, attempts } = make();
    const attempt = attempts.begin(KEY);
    const socket = new Socket();
    const handshake = attempt.secure(socket, new Promise<never>(() => undefined));
    const failure = handshake.catch((error: unknown) => String(error));
    clock.advance(500);
    expect(socket.destroyed).toBe(true);
    const message = '127.0.0.1:1 accepts the connection but does not respond (timed out after 0.5 s)';
    expect(await failure).toContain(message);
    expect(attempts.settle(KEY, false)?.failure('')).toEqual({ kind: 'silent', message });
  });

  it('destroys a socket that connects after the connect timeout', () => {
    const { clock, attempts } = make();
    const attempt = attempts.begin(KEY);
    clock.advance(500);
    const socket = new Socket();
    void attempt.secure(socket, Promise.resolve());
    expect(socket.destroyed).toBe(true);
  });

  it('forwards the result or the error of a connection handshake', async () => {
    const { attempts } = make();
    expect(await attempts.begin(KEY).secure(new Socket(), Promise.resolve('done'))).toBe('done');
    const failure = new Error('bad certificate');
    await expect(attempts.begin(KEY).secure(new Socket(), Promise.reject(failure))).rejects.toBe(failure);
  });

  it('describes an error without a code by its message, and not as a closed connection', async () => {
    const { attempts } = make();
    const attempt = attempts.begin(KEY);
    await attempt.secure(new Socket(), Promise.reject(new Error('pinning failed'))).catch(() => undefined);
    const message = `${KEY} cannot be reached (pinning failed)`;
    expect(attempts.settle(KEY, false)?.failure('pinning failed')).toEqual({ kind: 'other', message });
  });

  it('clears the timer of an attempt to connect when the attempt settles', () => {
    const { clock, attempts } = make();
    attempts.begin(KEY);
    attempts.settle(KEY, false);
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it('returns the socket of an attempt to connect when the attempt settles', () => {
    const { attempts } = make();
    const socket = new Socket();
    void attempts.begin(KEY).secure(socket, Promise.resolve());
    expect(attempts.settle(KEY, false)?.socket).toBe(socket);
  });

  it('creates a signal and a timeout for each attempt to connect', () => {
    const limits = [100, 300];
    const { clock, attempts } = make(() => limits.shift() ?? 0);
    attempts.begin(KEY);
    clock.advance(100);
    attempts.settle(KEY, false);
    const { signal } = attempts.begin(KEY);
    clock.advance(299);
    expect(signal.aborted).toBe(false);
    clock.advance(1);
    expect(signal.aborted).toBe(true);
  });

  it('replaces a running attempt to connect to the same address', () => {
    const { clock, attempts } = make();
    const replaced = attempts.begin(KEY);
    const current = attempts.begin(KEY);
    clock.advance(0);
    expect(clock.pending).toBe(1);
    clock.advance(500);
    expect([replaced.signal.aborted, current.signal.aborted]).toEqual([false, true]);
  });

  it('describes the oldest attempt to connect only if it has been running for 1.5 s and the channel uses it', async () => {
    const { clock, attempts } = make(() => 20_000);
    const attempt = attempts.begin(KEY);
    clock.advance(1_499);
    expect(attempts.slow).toBeUndefined();
    clock.advance(1);
    const message = '127.0.0.1:1 does not respond (connecting for 1.5 s)';
    expect(attempts.slow).toEqual({ kind: 'no-response', message });
    await attempt.secure(new Socket(), Promise.resolve());
    expect(attempts.slow?.kind).toBe('silent');
    attempts.use(KEY, false);
    expect(attempts.slow).toBeUndefined();
  });

  it('keeps the socket of a released connection open for its calls, and destroys the socket if the channel was closed before the release', async () => {
    const { attempts } = make();
    const attempt = attempts.begin(KEY);
    const socket = new Socket();
    await attempt.secure(socket, Promise.resolve());
    attempts.settle(KEY, true);
    attempts.release(attempt);
    expect(socket.destroyed).toBe(false);
    attempts.abortAll();
    attempts.release(attempt);
    expect(socket.destroyed).toBe(true);
  });

  it('aborts an unfinished attempt to connect when it is released', async () => {
    const { attempts } = make();
    const attempt = attempts.begin(KEY);
    const handshake = attempt.secure(new Socket(), new Promise<never>(() => undefined));
    attempts.release(attempt);
    await expect(handshake).rejects.toThrow('the channel was closed');
  });

  it('opens no connection if an attempt to connect starts after the channel was closed', () => {
    const { clock, attempts } = make();
    attempts.abortAll();
    expect(String(attempts.begin(KEY).signal.reason)).toContain('the channel was closed');
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it('aborts running attempts to connect and destroys their sockets when the channel is closed', async () => {
    const { clock, attempts } = make();
    const socket = new Socket();
    const handshake = attempts.begin(KEY).secure(socket, new Promise<never>(() => undefined));
    attempts.begin('127.0.0.1:2');
    attempts.abortAll();
    await expect(handshake).rejects.toThrow('the channel was closed');
    expect(socket.destroyed).toBe(true);
    clock.advance(0);
    expect(clock.pending).toBe(0);
    expect(attempts.settle(KEY, false)).toBeUndefined();
  });
});
