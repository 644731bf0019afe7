import { Client, ServerCredentials, credentials } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { serveOrders, startServers, warningsOf } from './served-orders.js';
import { pem } from './parity/places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

describe('server that requires client certificates', () => {
  it('logs one warning per rejection reason, with the address, cause, and remedy, and none for an accepted client', async () => {
    const pair = { private_key: pem('server-key'), cert_chain: pem('server') };
    const security = ServerCredentials.createSsl(pem('ca'), [pair], true);
    const { log, server } = await startServers(await serveOrders({ url: '127.0.0.1:0', credentials: security }));
    const connect = (certificate?: string): Client => {
      const pairOfClient = certificate === undefined ? [] : [pem(`${certificate}-key`), pem(certificate)];
      const client = new Client(
        `localhost:${String(server.port)}`,
        credentials.createSsl(pem('ca'), ...pairOfClient),
        // Each client needs its own connections.
        { 'grpc.use_local_subchannel_pool': 1, 'grpc.initial_reconnect_backoff_ms': 100 },
      );
      onTestFinished(() => {
        client.close();
      });
      client.getChannel().getConnectivityState(true);
      return client;
    };
    await new Promise<void>((resolve, reject) => {
      connect('client').waitForReady(Date.now() + 20_000, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
    const warnings = () => warningsOf(log);
    expect(warnings()).toEqual([]);
    // Each of these clients reconnects until it is closed, but may cause only one warning.
    for (const certificate of [undefined, 'expired', 'untrusted']) {
      const before = warnings().length;
      connect(certificate);
      await waitFor(() => warnings().length > before);
    }
    const from = String.raw`^connection from (127\.0\.0\.1|::1|::ffff:127\.0\.0\.1):\d+ rejected in the TLS handshake: `;
    expect(warnings()).toEqual([
      expect.stringMatching(
        new RegExp(`${from}the client sent no certificate .*; set a certificate and a key in the client`),
      ),
      expect.stringMatching(
        new RegExp(`${from}the certificate of the client, or of its authority, has expired .*; renew the certificate`),
      ),
      expect.stringMatching(
        new RegExp(`${from}the certificate of the client is from an unknown authority .*; add the authority`),
      ),
    ]);
  });
});
