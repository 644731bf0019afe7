import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../testing/wait-for.js';
import { ApiServer, permissionRemedy } from './api-server.js';

const UNABORTED_SIGNAL = new AbortController().signal;

/**
 * Starts an HTTP server, and returns an `ApiServer` whose kubeconfig names that server. `setToken` replaces the token file as the kubelet
 * does.
 */
async function startServer(handle: RequestListener) {
  const server = createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const folder = mkdtempSync(join(tmpdir(), 'api-server-'));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const tokenFile = join(folder, 'token');
  const setToken = (token: string): void => {
    writeFileSync(`${tokenFile}-new`, token);
    renameSync(`${tokenFile}-new`, tokenFile);
  };
  setToken('first');
  const kubeconfig = join(folder, 'kubeconfig');
  const config = {
    'current-context': 'here',
    // The client library permits HTTP only with this setting.
    clusters: [{ name: 'here', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'me', user: { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } } }],
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'me' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  return { api: new ApiServer({ kubeconfig }), setToken };
}

/** Opens a watch. Returns its events, its state, and a promise that resolves or rejects when the watch ends. */
function watch(api: ApiServer, silentMs = 60_000) {
  const events: unknown[] = [];
  const state = { isOpen: false };
  const ended = api.watch(
    '/watch',
    UNABORTED_SIGNAL,
    silentMs,
    () => (state.isOpen = true),
    (event) => events.push(event),
  );
  return { events, state, ended };
}

describe('ApiServer', () => {
  it('delivers each event of a Kubernetes watch when its line is complete, even if a chunk ends within a character', async () => {
    let response: ServerResponse | undefined;
    const { api } = await startServer((_, opened) => {
      response = opened;
      opened.flushHeaders();
    });
    const { events, state, ended } = watch(api);
    await waitFor(() => state.isOpen);
    const bytes = Buffer.from('{"name":"a"}\n\n{"name":"größer"}\n{"name":"c"}\n');
    // Each byte is a separate chunk.
    for (const byte of bytes) {
      response!.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await waitFor(() => events.length === 3);
    expect(events).toEqual([{ name: 'a' }, { name: 'größer' }, { name: 'c' }]);
    response!.end();
    await ended;
  });

  it('ends a Kubernetes watch that receives no bytes for the given time, for example on a half-open connection', async () => {
    const { api } = await startServer((_, response) => {
      response.write('{"name":"a"}\n');
    });
    const { events, ended } = watch(api, 100);
    await ended;
    expect(events).toEqual([{ name: 'a' }]);
  });

  it('keeps a Kubernetes watch open while bookmarks arrive', async () => {
    const { api } = await startServer((_, response) => {
      let left = 6;
      const timer = setInterval(() => {
        response.write('{"type":"BOOKMARK"}\n');
        left -= 1;
        if (left > 0) return;
        clearInterval(timer);
        response.end();
      }, 100);
    });
    const { events, ended } = watch(api, 400);
    await ended;
    expect(events).toHaveLength(6);
  });

  it('fails a Kubernetes watch if its connection is reset, or if a line is not JSON', async () => {
    const { api } = await startServer(({ socket }, response) => {
      response.write('{"name":"a"}\n', () => socket.resetAndDestroy());
    });
    await expect(watch(api).ended).rejects.toThrow(/aborted|ECONNRESET/);
    const { api: other } = await startServer((_, response) => response.end('<html>\n'));
    await expect(watch(other).ended).rejects.toThrow(/JSON/);
  });

  it('reads the Kubernetes token again after a 401 response, and strips the line break from the token', async () => {
    let accepted = 'first';
    const tokens: (string | undefined)[] = [];
    const { api, setToken } = await startServer(({ headers }, response) => {
      tokens.push(headers.authorization);
      response.statusCode = headers.authorization === `Bearer ${accepted}` ? 200 : 401;
      response.end('{"message":"Unauthorized"}');
    });
    await api.get('/list', UNABORTED_SIGNAL);
    setToken('second\n');
    accepted = 'second';
    await expect(api.get('/list', UNABORTED_SIGNAL)).rejects.toThrow('401 Unauthorized');
    await api.get('/list', UNABORTED_SIGNAL);
    expect(tokens).toEqual(['Bearer first', 'Bearer first', 'Bearer second']);
  });

  it('fails a Kubernetes request with the status and the message of the response, or with the reason phrase if there is no message', async () => {
    const { api } = await startServer((_, response) => {
      response.writeHead(403).end('{"message":"endpointslices is forbidden"}');
    });
    await expect(api.get('/list', UNABORTED_SIGNAL)).rejects.toThrow('403 endpointslices is forbidden');
    const { api: proxy } = await startServer((_, response) => {
      response.writeHead(502).end('<html>');
    });
    await expect(proxy.get('/list', UNABORTED_SIGNAL)).rejects.toThrow('502 Bad Gateway');
  });
});

describe('permissionRemedy', () => {
  it.each([
    ['system:serviceaccount:shop:gateway', '--serviceaccount=shop:gateway'],
    ['jane', "--user='jane'"],
    ["o'hara", String.raw`--user='o'\''hara'`],
  ])('binds the role for EndpointSlice watches to the user %s', (user, subject) => {
    const message = `endpointslices.discovery.k8s.io is forbidden: User "${user}" cannot list resource`;
    expect(permissionRemedy(message, 'shop')).toBe(
      'grant the permission: kubectl create role grpc-endpoints -n shop --verb=list,watch --resource=endpointslices.discovery.k8s.io ' +
        `&& kubectl create rolebinding grpc-endpoints -n shop --role=grpc-endpoints ${subject}`,
    );
  });
});
