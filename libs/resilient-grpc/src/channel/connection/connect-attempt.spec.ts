import { Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { ConnectAttempt } from './connect-attempt.js';

const KEY = '127.0.0.1:1';

function make(timeoutMs = 500, server?: string) {
  const clock = new BusyClock();
  const begin = () => new ConnectAttempt(KEY, timeoutMs, clock, server);
  return { clock, begin, attempt: begin() };
}

describe('ConnectAttempt', () => {
  it('reports the incomplete step and the age of an attempt to connect', async () => {
    const { clock, attempt } = make(20_000);
    clock.advance(1_500);
    expect(attempt.progress).toBe('connecting for 1.5 s: the peer has not accepted the TCP connection');
    const handshake = attempt.secure(new Socket(), new Promise<never>(() => undefined));
    clock.advance(500);
    expect(attempt.progress).toBe('connecting for 2.0 s: the peer accepted the TCP connection but has not responded');
    attempt.abort('over');
    await expect(handshake).rejects.toThrow('over');
  });

  it.each([undefined, 'orders:50051'])(
    'reports credentials-not-ready if an attempt fails before its channel credentials are ready (target of the proxy: %s)',
    async (server) => {
      vi.stubEnv('grpc_proxy', 'http://127.0.0.1:1');
      onTestFinished(() => void vi.unstubAllEnvs());
      const { clock, attempt, begin } = make(2_000, server);
      const prepared = attempt.prepare(new Promise(() => undefined));
      clock.advance(1_500);
      const message = `${server ?? KEY} cannot be contacted until the channel credentials are ready`;
      const kind = 'credentials-not-ready';
      expect(attempt.progress).toBe('connecting for 1.5 s: the channel credentials are not ready');
      expect(attempt.slow).toEqual({ kind, message: `${message} (connecting for 1.5 s)` });
      clock.advance(500);
      await expect(prepared).rejects.toThrow(message);
      expect(attempt.failure('')).toEqual({ kind, message: `${message} (timed out after 2.0 s)` });
      const failing = begin();
      await expect(failing.prepare(Promise.reject(new Error('no certificate')))).rejects.toThrow('no certificate');
      expect(failing.failure('Error: no certificate')).toEqual({ kind, message: `${message} (no certificate)` });
      const next = begin();
      await next.prepare(Promise.resolve());
      expect(next.failure('x').kind).toBe(server === undefined ? 'other' : 'proxy-failed');
    },
  );

  it('does not count a pause of the process toward the connect timeout', () => {
    const { clock, attempt } = make();
    const { signal } = attempt;
    clock.advance(100);
    clock.block(3_000);
    clock.advance(3_300);
    expect(signal.aborted).toBe(false);
    clock.advance(500);
    expect(signal.aborted).toBe(true);
  });

  it('destroys a socket that connects after the connect timeout', () => {
    const { clock, attempt } = make();
    clock.advance(500);
    const socket = new Socket();
    void attempt.secure(socket, Promise.resolve({ socket }));
    expect(socket.destroyed).toBe(true);
  });

  it('forwards the result or the error of a connection handshake', async () => {
    const { begin } = make();
    const secured = { socket: new Socket() };
    expect(await begin().secure(new Socket(), Promise.resolve(secured))).toBe(secured);
    const failure = new Error('bad certificate');
    await expect(begin().secure(new Socket(), Promise.reject(failure))).rejects.toBe(failure);
  });

  it('describes an error without a code by its message, and not as a closed connection', async () => {
    const { attempt } = make();
    await attempt.secure(new Socket(), Promise.reject(new Error('pinning failed'))).catch(() => undefined);
    const message = `${KEY} cannot be reached (pinning failed)`;
    expect(attempt.failure('pinning failed')).toEqual({ kind: 'other', message });
  });

  it.each([
    ['127.0.0.1:1', 'refused'],
    ['127.0.0.1:1#2', 'refused'],
    ['/run/orders.sock', 'socket-refused'],
  ])('reports how %s refused the connection by the code of the error', (key, kind) => {
    const error = Object.assign(new Error('connect'), { code: 'ECONNREFUSED', syscall: 'connect' });
    expect(new ConnectAttempt(key, 500, new BusyClock()).failure(error).kind).toBe(kind);
  });

  it('describes an attempt to connect only if it has been running for 1.5 s', async () => {
    const { clock, attempt } = make(20_000);
    clock.advance(1_499);
    expect(attempt.slow).toBeUndefined();
    clock.advance(1);
    const message = '127.0.0.1:1 does not respond (connecting for 1.5 s)';
    expect(attempt.slow).toEqual({ kind: 'no-response', message });
    await attempt.secure(new Socket(), Promise.resolve({ socket: new Socket() }));
    expect(attempt.slow?.kind).toBe('silent');
  });
});
