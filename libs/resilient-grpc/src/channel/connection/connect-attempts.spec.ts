import { Socket, connect, type TcpNetConnectOpts } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../testing/busy-clock.js';
import { ConnectAttempts } from './connect-attempts.js';

const ADDRESS = { host: '127.0.0.1', port: 1 };
const KEY = '127.0.0.1:1';

function make(timeoutMs: () => number = () => 500) {
  const clock = new BusyClock();
  const attempts = new ConnectAttempts({ timeoutMs }, clock);
  return { clock, attempts };
}

/** What `net.connect` reads of the address, as it copies its options. */
const signalOf = (address: object) => ({ ...address }) as { signal?: AbortSignal };

describe('an attempt to connect', () => {
  it('that takes too long before TCP stands is ended by the signal of its address', () => {
    const { clock, attempts } = make();
    const address = attempts.abortable(ADDRESS, KEY);
    expect(signalOf(address).signal).toBeUndefined();
    attempts.begin(KEY);
    const { signal } = signalOf(address);
    clock.advance(499);
    expect(signal?.aborted).toBe(false);
    clock.advance(1);
    expect(signal?.aborted).toBe(true);
    expect(String(signal?.reason)).toContain('timed out after 0.5 s: the TCP connection was not accepted');
    expect(attempts.settle(KEY, false)?.timedOut).toBe('timed out after 0.5 s: the TCP connection was not accepted');
  });

  it('shows what the oldest attempt waits for, and for how long', async () => {
    const { clock, attempts } = make(() => 20_000);
    expect(attempts.progress).toBeUndefined();
    const oldest = attempts.begin(KEY);
    clock.advance(1_500);
    attempts.begin('127.0.0.1:2');
    expect(attempts.progress).toBe('connecting for 1.5 s: the TCP connection was not accepted');
    const handshake = oldest.secure(new Socket(), new Promise(() => undefined));
    clock.advance(500);
    expect(attempts.progress).toBe('connecting for 2.0 s: the peer accepted the connection and stayed silent');
    attempts.settle(KEY, false);
    expect(attempts.progress).toBe('connecting for 0.5 s: the TCP connection was not accepted');
    oldest.abort('over');
    await expect(handshake).rejects.toThrow('over');
    attempts.abortAll();
  });

  it('does not take too long where this process stood still', () => {
    const { clock, attempts } = make();
    const { signal } = attempts.begin(KEY);
    clock.advance(100);
    clock.block(3_000);
    clock.advance(3_300);
    expect(signal.aborted).toBe(false);
    clock.advance(500);
    expect(signal.aborted).toBe(true);
  });

  it('that takes too long afterwards ends its socket and its handshake', async () => {
    const { clock, attempts } = make();
    const attempt = attempts.begin(KEY);
    const socket = new Socket();
    const handshake = attempt.secure(socket, new Promise<never>(() => undefined));
    const failure = handshake.catch((error: unknown) => String(error));
    clock.advance(500);
    expect(socket.destroyed).toBe(true);
    expect(await failure).toContain('timed out after 0.5 s: the peer accepted the connection and stayed silent');
    expect(attempts.settle(KEY, false)?.timedOut).toContain('stayed silent');
  });

  it('that was ended while TCP was being made does not use what comes of it', () => {
    const { clock, attempts } = make();
    const attempt = attempts.begin(KEY);
    clock.advance(500);
    const socket = new Socket();
    void attempt.secure(socket, Promise.resolve());
    expect(socket.destroyed).toBe(true);
  });

  it('hands on what the handshake gives, or fails with', async () => {
    const { attempts } = make();
    expect(await attempts.begin(KEY).secure(new Socket(), Promise.resolve('done'))).toBe('done');
    const failure = new Error('bad certificate');
    await expect(attempts.begin(KEY).secure(new Socket(), Promise.reject(failure))).rejects.toBe(failure);
  });

  it('that succeeds or fails by itself leaves no timer', () => {
    const { clock, attempts } = make();
    attempts.begin(KEY);
    expect(attempts.settle(KEY, false)?.timedOut).toBeUndefined();
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it('that succeeds gives the socket its connection stands on', () => {
    const { attempts } = make();
    const socket = new Socket();
    void attempts.begin(KEY).secure(socket, Promise.resolve());
    expect(attempts.settle(KEY, false)?.socket).toBe(socket);
  });

  it('has a signal and a limit of its own', () => {
    const limits = [100, 300];
    const { clock, attempts } = make(() => limits.shift() ?? 0);
    const address = attempts.abortable(ADDRESS, KEY);
    attempts.begin(KEY);
    const first = signalOf(address).signal;
    clock.advance(100);
    attempts.settle(KEY, false);
    attempts.begin(KEY);
    const second = signalOf(address).signal;
    expect(second).not.toBe(first);
    clock.advance(299);
    expect(second?.aborted).toBe(false);
    clock.advance(1);
    expect(second?.aborted).toBe(true);
  });

  it('that begins while another to the same address seems to run takes its place', () => {
    const { clock, attempts } = make();
    attempts.begin(KEY);
    attempts.begin(KEY);
    clock.advance(0);
    expect(clock.pending).toBe(1);
  });

  it('that has succeeded keeps its socket when it is let go of, for calls may run there, until the channel is closed', async () => {
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

  it('that has not is ended when it is let go of', async () => {
    const { attempts } = make();
    const attempt = attempts.begin(KEY);
    const handshake = attempt.secure(new Socket(), new Promise<never>(() => undefined));
    attempts.release(attempt);
    await expect(handshake).rejects.toThrow('the channel was closed');
  });

  it('that grpc-js begins when the channel is closed makes no connection', () => {
    const { clock, attempts } = make();
    const address = attempts.abortable(ADDRESS, KEY);
    attempts.abortAll();
    attempts.begin(KEY);
    expect(() => connect(address as TcpNetConnectOpts)).toThrow('the channel was closed');
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });

  it('is ended with its socket when the channel is closed', async () => {
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

describe('an abortable address', () => {
  it('is otherwise the address it was', () => {
    const { attempts } = make();
    expect({ ...attempts.abortable(ADDRESS, KEY) }).toEqual({ ...ADDRESS, signal: undefined });
    expect({ ...attempts.abortable({ path: '/run/orders.sock' }, '/run/orders.sock') }).toMatchObject({
      path: '/run/orders.sock',
    });
  });
});
